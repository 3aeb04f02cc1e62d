"""What the next pass does about a job."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.explain.facts import Facts, NextPass, Unknown
from orchestrator.explain.next_pass import next_pass
from orchestrator.explain.reference import JobReference
from orchestrator.explain.verdict import Verdict
from orchestrator.reconcile.findings import Findings, JobState, Recorded, WaitingJobFinding

NOW = datetime(2026, 11, 27, 12, 5, tzinfo=UTC)
PERIOD = timedelta(minutes=5)
LAST = NOW - timedelta(minutes=3)


def job(state: JobState, *, number: int = 7, due_at: datetime | None = None) -> WaitingJobFinding:
    """Return a job that the last pass left in some state."""
    return WaitingJobFinding(
        job=number, run=1, repository="acme/app", profile="gpu", state=state, reason="because", due_at=due_at
    )


def told(findings: Findings, verdict: Verdict = Verdict.RUNNER_FAILED) -> str:
    """Return what is told of the next pass for job 7."""
    coming = NextPass.of(Recorded(LAST, findings), PERIOD)
    return next_pass(Facts(NOW, JobReference(7, "acme/app"), next_pass=coming), verdict) or ""


@pytest.mark.parametrize(
    ("state", "due_at", "does"),
    [
        (JobState.PAUSED, NOW + PERIOD, "starts a runner at 12:10 UTC or soon after if the job still waits"),
        (
            JobState.DELIVERY_EXPECTED,
            NOW,
            "starts a runner after 12:05 UTC if the job still waits and nothing serves it",
        ),
        (JobState.IDLE_RUNNER, None, "starts a runner after its time if the job still waits"),
        (JobState.NOT_STARTED, None, "tries again to start a runner if the job still waits"),
        (JobState.OVER_QUOTA, None, "starts a runner if the quota has room by then"),
        (JobState.NOT_ALLOWED, None, "starts no runner while the job may have none"),
        (JobState.WAITS_FOR_SLOT, None, "starts a runner if the job still waits and nothing serves it"),
    ],
)  # fmt: skip
def test_by_what_the_last_one_found(state: JobState, due_at: datetime | None, does: str) -> None:
    """The last pass's own word on the job comes before what its verdict alone would tell; its age stands with it."""
    line = told(Findings(at=LAST, jobs=(job(JobState.STARTED, number=8), job(state, due_at=due_at))))
    assert line == (
        f"a pass, every 5 minutes, {does}; the last one ended at 2026-11-27 12:02:00Z, 3 min ago; "
        f"at 12:02:00Z the job was {state}: because"
    )


def test_a_job_that_is_over() -> None:
    """Nothing is told of the queue once the job runs."""
    line = told(Findings(at=LAST, jobs=(job(JobState.PAUSED),)), Verdict.RUNNING)
    ended = "the last one ended at 2026-11-27 12:02:00Z, 3 min ago"
    assert line == f"a pass, every 5 minutes, has nothing to do for this job; {ended}"


def test_the_last_pass_could_not_look() -> None:
    """What an earlier pass found is told with its own time, and why the last one found nothing."""
    earlier = LAST - timedelta(minutes=5)
    findings = Findings(at=earlier, jobs=(job(JobState.NO_TIME),)).not_renewed("Batch does not answer")
    line = told(findings)
    assert "3 min ago, and could not look: Batch does not answer; at 11:57:00Z the job was no-time: because" in line


def test_without_a_record() -> None:
    """Without a record the period alone is told; without a period nothing is."""
    facts = Facts(NOW, JobReference(7), next_pass=NextPass.of(None, PERIOD))
    assert next_pass(facts, Verdict.COMPLETED) == "a pass, every 5 minutes, has nothing to do for this job"
    assert next_pass(Facts(NOW, JobReference(7)), Verdict.COMPLETED) is None


def test_a_record_that_cannot_be_read() -> None:
    """Why nothing is known of the last pass is told."""
    facts = Facts(NOW, JobReference(7), next_pass=NextPass.of(Unknown("the storage is silent"), PERIOD))
    line = next_pass(facts, Verdict.COMPLETED) or ""
    assert line.endswith("; what the last one found is not known: the storage is silent")


def test_a_moment_ago() -> None:
    """Up to two minutes are told in seconds; a clock that was set back makes none of them negative."""
    for last, age in ((NOW - timedelta(seconds=119), "119 s"), (NOW + timedelta(seconds=5), "0 s")):
        facts = Facts(NOW, JobReference(7), next_pass=NextPass(last, PERIOD))
        assert (next_pass(facts, Verdict.RUNNING) or "").endswith(f"{age} ago")
