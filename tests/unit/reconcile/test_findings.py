"""What passes record for whoever asks between them."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.reconcile.findings import (
    Findings,
    Gap,
    JobState,
    Recorded,
    Sample,
    WaitingJobFinding,
    counts_on,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MOST_AGE = timedelta(minutes=10)


def sample(age: timedelta) -> Sample:
    """Return what a pass saw so long ago."""
    return Sample(int((NOW - age).timestamp()), 7, {"batchLinux": (2, 5)})


def test_round_trip() -> None:
    """What is written is read again, as it was."""
    job = WaitingJobFinding(
        job=2**62,
        run=1,
        repository="acme/app",
        profile="ubuntu-latest",
        queued_at=NOW,
        state=JobState.PAUSED,
        reason="its runner failed",
        due_at=NOW + MOST_AGE,
    )
    found = Findings(at=NOW, jobs=(job,), unserved={"ubuntu-latest": 1}, samples=(sample(MOST_AGE),))
    assert Findings.model_validate(found.model_dump(mode="json", exclude_defaults=True)) == found


def test_long_reasons_are_cut() -> None:
    """A reason of a service may be of any length, and the record is bounded."""
    assert len(Gap(what="organization acme", skipped=True, reason="x" * 5000).reason) == 300
    assert len(Findings().not_renewed("x" * 5000).problem or "") == 300


def test_samples_of_a_day() -> None:
    """The samples of a day are kept, the oldest first, and never more than one for each five minutes of it."""
    day = [sample(timedelta(hours=hours)) for hours in (30, 24, 23, 1)]
    new = Findings(at=NOW, samples=(sample(timedelta()),))
    assert new.after(Findings(samples=tuple(day))).samples == (*day[2:], *new.samples)
    often = [sample(timedelta(seconds=30 * step)) for step in range(4000, 0, -1)]
    kept = new.after(Findings(samples=tuple(often))).samples
    assert len(kept) == 289
    assert (kept[-2], kept[-1]) == (often[-1], new.samples[0])
    assert Findings(samples=new.samples).after(Findings(samples=kept)).samples == kept


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (None, False),
        (Recorded(NOW, Findings(unserved={"gpu": 1})), False),
        (Recorded(NOW, Findings(at=NOW, unserved={"gpu": 1})), True),
        (Recorded(NOW, Findings(at=NOW, unserved={"other": 1})), False),
        (Recorded(NOW, Findings(at=NOW, unserved={"gpu": 0})), False),
        (Recorded(NOW, Findings(at=NOW - MOST_AGE, unserved={"gpu": 1})), False),
    ],
)
def test_whether_a_job_is_unserved(recorded: Recorded | None, expected: bool) -> None:
    """Only a fresh look at the jobs says that one of a profile has no runner; a record that was renewed does not."""
    assert counts_on(recorded, "gpu", "runner-1-1", NOW, MOST_AGE) is expected


COUNTS: list[tuple[int, str | None, bool]] = [
    (1, "runner-1-1", False), (11, "runner-1-1", True), (2, "runner-1-1", True), (2, "runner-3-1", False),
    (2, None, False),
]  # fmt: skip


@pytest.mark.parametrize(("job", "task", "expected"), COUNTS)
def test_whether_a_job_counts_on_a_task(job: int, task: str | None, expected: bool) -> None:
    """A job that a pass left to a task needs its runner; the job that the task was started for tells nothing more."""
    found = WaitingJobFinding(
        job=job,
        run=1,
        repository="acme/app",
        profile="gpu",
        state=JobState.WAITS_FOR_SLOT,
        reason="it waits",
        task=task,
    )
    recorded = Recorded(NOW, Findings(at=NOW, jobs=(found,)))
    assert counts_on(recorded, "gpu", "runner-1-1", NOW, MOST_AGE) is expected
