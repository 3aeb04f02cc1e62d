"""What of the status needs a person."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.explain.facts import PoolFacts, ServiceError, Unknown
from orchestrator.health.finding import fail, warn
from orchestrator.reconcile.findings import Findings, Gap, JobState, Recorded
from orchestrator.status.facts import Level, counted, remarks, span
from tests.status_samples import LOOKED_AT, NOW, PERIOD, quiet_status, status, waiting_job

POOL = PoolFacts("linux", slots_per_node=1, nodes=1, target=1, steady=True)
ERROR = ServiceError("AccountCoreQuotaReached", "no more")


def said(found: Findings | None = None, **changes: Any) -> list[tuple[Level, str]]:
    """Return what is remarked of a deployment that is well but for this."""
    quiet = quiet_status()
    recorded = Recorded(LOOKED_AT, found) if found is not None else quiet.recorded
    return [(remark.level, remark.says) for remark in remarks(replace(quiet, **{"recorded": recorded, **changes}))]


def test_all_is_well() -> None:
    """Where nothing needs a person, that is said, and nothing else."""
    assert said() == [(Level.OK, "Nothing needs attention")]


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (Findings(at=NOW).not_renewed("silence"), Level.ATTENTION, "The last pass could not look: silence"),
        (Findings(requests_left=1), Level.ATTENTION, "GitHub takes only 1 more request in this hour"),
        (
            Findings(gaps=(Gap(what="organization acme", skipped=True, reason="403"),)),
            Level.ATTENTION,
            "Nothing could be decided for organization acme: 403",
        ),
        (Findings(unserved={"a": 1, "b": 2}), Level.ATTENTION, "3 waiting jobs have no runner yet"),
        (Findings(unserved={"a": 1}), Level.ATTENTION, "1 waiting job has no runner yet"),
        (
            Findings(jobs=(waiting_job(1, JobState.NOT_ALLOWED),)),
            Level.ATTENTION,
            "1 waiting job may have no runner here",
        ),
        (
            Findings(jobs=(waiting_job(1, JobState.PAUSED, alert=True),)),
            Level.PROBLEM,
            "Runners for 1 job end again and again without the job",
        ),
    ],
)  # fmt: skip
def test_of_a_pass(found: Findings, level: Level, words: str) -> None:
    """What a pass found that needs a person is one sentence."""
    assert said(found) == [(level, words)]


@pytest.mark.parametrize(
    "found",
    [
        Findings(requests_left=250),
        Findings(gaps=(Gap(what="repository acme/app", skipped=False, reason="502"),)),
        Findings(jobs=(waiting_job(1, JobState.WAITS_FOR_SLOT, reported=True),)),
    ],
)
def test_what_needs_nobody(found: Findings) -> None:
    """What goes on by itself is no remark."""
    assert [level for level, _ in said(found)] == [Level.OK]


def test_a_pass_that_is_missing() -> None:
    """Passes that do not come are a problem, first when one is surely overdue."""
    late = 2 * PERIOD + timedelta(minutes=5)
    assert said(recorded=Recorded(NOW - late, Findings()))[0][0] == Level.OK
    assert said(recorded=Recorded(NOW - late - timedelta(seconds=1), Findings())) == [
        (Level.PROBLEM, "No pass of the control loop has ended for 15 min")
    ]
    assert said(recorded=None) == [(Level.PROBLEM, "No pass of the control loop has left a record")]


def test_a_record_that_cannot_be_read() -> None:
    """A storage that refuses is a problem of its own, told with its reason."""
    assert said(recorded=Unknown("it answers 403", refused=True)) == [
        (Level.PROBLEM, "What the last pass recorded cannot be read: it answers 403")
    ]


@pytest.mark.parametrize(
    ("pool", "level", "words"),
    [
        (None, Level.PROBLEM, "Batch has no pool linux"),
        (Unknown("silence"), Level.ATTENTION, "Pool linux could not be asked: silence"),
        (replace(POOL, formula_error=ERROR), Level.PROBLEM, f"The autoscale formula of linux fails: {ERROR}"),
        (replace(POOL, target=2, resize_errors=(ERROR,)), Level.PROBLEM, f"linux gets no more nodes: {ERROR}"),
        (replace(POOL, resize_errors=(ERROR,)), Level.OK, "Nothing needs attention"),
    ],
)
def test_of_a_pool(pool: PoolFacts | Unknown | None, level: Level, words: str) -> None:
    """A pool that is missing, silent, or gets no nodes is told with Azure's own reason."""
    assert said(pools={"linux": pool}) == [(level, words)]


def test_of_the_set_up() -> None:
    """Failures and warnings of the set-up are counted, and stand further below."""
    found = said(warnings=(warn("a", "b", "c"), fail("d", "e", "f"), warn("g", "h", "i")))
    assert found == [
        (Level.PROBLEM, "1 failure of the set-up, see below"),
        (Level.ATTENTION, "2 warnings of the set-up, see below"),
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (5400, "1 h 30 min"),
        (86400, "1 d 0 h"), (200000, "2 d 7 h"),
    ],
)  # fmt: skip
def test_spans(seconds: float, words: str) -> None:
    """A time is told in at most two units."""
    assert span(timedelta(seconds=seconds)) == words


def test_counted() -> None:
    """A noun has its number."""
    assert [counted(1, "job"), counted(2000, "job"), counted(0, "entry", "entries")] == [
        "1 job",
        "2,000 jobs",
        "0 entries",
    ]


@pytest.mark.parametrize(
    ("now", "minutes", "expected"),
    [("12:00:00", 5, "12:05"), ("12:04:59", 5, "12:05"), ("12:57:00", 7, "13:00"), ("23:59:30", 10, "00:00")],
)
def test_the_next_pass(now: str, minutes: int, expected: str) -> None:
    """Passes begin with the hour and after each period of it, as the timer's schedule says."""
    at = datetime.combine(NOW, datetime.strptime(f"{now}+0000", "%H:%M:%S%z").time(), UTC)
    known = replace(status(), now=at, period=timedelta(minutes=minutes))
    assert f"{known.next_pass_at:%H:%M}" == expected


def test_reported_and_addresses() -> None:
    """Alerts stand first among the reported jobs; each job has its address at GitHub."""
    jobs = status().reported
    assert [(job.repository, job.alert) for job in jobs] == [("acme/payments", True), ("acme/web", False)]
    assert status().address(jobs[1]) == "https://github.com/acme/web/actions/runs/10743561234/job/29679449528"
