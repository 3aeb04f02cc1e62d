"""What the status page is made of, and what of it needs a person (pure)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from orchestrator.explain.facts import PoolFacts, Unknown
from orchestrator.health.finding import Finding, State
from orchestrator.reconcile.findings import Findings, JobState, Recorded, WaitingJobFinding

# A pass takes up to two periods. One that has not ended so long after that is missing.
_GRACE = timedelta(minutes=5)
# So few requests of GitHub's hour are worth a word.
_FEW_REQUESTS = 250


class Level(StrEnum):
    """How much something needs a person."""

    OK = "ok"
    ATTENTION = "attention"
    PROBLEM = "problem"


class Remark(NamedTuple):
    """One thing that a person should know.

    Attributes:
        level: how much it needs a person.
        says: what it is, in one sentence.
    """

    level: Level
    says: str


@dataclass(frozen=True)
class Status:
    """Everything that the page shows.

    Attributes:
        now: when it was put together.
        recorded: what the last pass recorded; None if there is no record.
        period: the time between two passes.
        pools: what Batch says of each pool, by its id; None where there is no such pool.
        warnings: what a look at the set-up found that is not as it should be.
        checked_at: when that look was; None if only the settings were looked at.
        account: the name of the Batch account.
        web_url: GitHub's address for people, without a trailing slash.
        version: this function's.
    """

    now: datetime
    recorded: Recorded | Unknown | None
    period: timedelta
    pools: Mapping[str, PoolFacts | Unknown | None]
    warnings: tuple[Finding, ...]
    checked_at: datetime | None
    account: str
    web_url: str
    version: str

    @property
    def findings(self) -> Findings:
        """What the last pass found that could look."""
        return self.recorded.findings if isinstance(self.recorded, Recorded) else Findings()

    @property
    def last_pass_at(self) -> datetime | None:
        """When the last pass ended; None if that is not known."""
        return self.recorded.written_at if isinstance(self.recorded, Recorded) else None

    @property
    def next_pass_at(self) -> datetime:
        """When the next pass begins: passes begin with the hour, and then after each period of it."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        following = hour + self.period * ((self.now - hour) // self.period + 1)
        return min(following, hour + timedelta(hours=1))

    @property
    def reported(self) -> list[WaitingJobFinding]:
        """The jobs that the log reports, alerts first."""
        return sorted((job for job in self.findings.jobs if job.reported), key=lambda job: not job.alert)

    def address(self, job: WaitingJobFinding) -> str:
        """Return a job's address at GitHub."""
        return f"{self.web_url}/{job.repository}/actions/runs/{job.run}/job/{job.job}"


def remarks(status: Status) -> list[Remark]:
    """Return what a person should know, the most urgent first; one that says that all is well if there is nothing.

    Args:
        status: what is known.
    """
    found = [remark for source in _SOURCES for remark in source(status)]
    urgency = [Level.PROBLEM, Level.ATTENTION]
    return sorted(found, key=lambda one: urgency.index(one.level)) or [Remark(Level.OK, "Nothing needs attention")]


def span(time: timedelta) -> str:
    """Return a time as people say it: at most two units, never negative."""
    seconds = max(0, round(time.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def counted(count: int, one: str, more: str | None = None) -> str:
    """Return a number with its noun.

    Args:
        count: how many.
        one: the noun for one.
        more: the noun for any other number; `one` with an s if it is not given.
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _of_the_pass(status: Status) -> Iterator[Remark]:
    if isinstance(status.recorded, Unknown):
        yield Remark(Level.PROBLEM, f"What the last pass recorded cannot be read: {status.recorded.reason}")
        return
    if status.recorded is None:
        yield Remark(Level.PROBLEM, "No pass of the control loop has left a record")
        return
    age = status.now - status.recorded.written_at
    if age > 2 * status.period + _GRACE:
        yield Remark(Level.PROBLEM, f"No pass of the control loop has ended for {span(age)}")
    if status.findings.problem is not None:
        yield Remark(Level.ATTENTION, f"The last pass could not look: {status.findings.problem}")
    for gap in status.findings.gaps:
        if gap.skipped:
            yield Remark(Level.ATTENTION, f"Nothing could be decided for {gap.what}: {gap.reason}")
    left = status.findings.requests_left
    if left is not None and left < _FEW_REQUESTS:
        yield Remark(Level.ATTENTION, f"GitHub takes only {counted(left, 'more request')} in this hour")


def _of_jobs(status: Status) -> Iterator[Remark]:
    alerts = sum(job.alert for job in status.findings.jobs)
    if alerts:
        yield Remark(Level.PROBLEM, f"Runners for {counted(alerts, 'job')} end again and again without the job")
    unserved = sum(status.findings.unserved.values())
    if unserved:
        yield Remark(Level.ATTENTION, f"{counted(unserved, 'waiting job')} {_have(unserved)} no runner yet")
    refused = sum(job.state == JobState.NOT_ALLOWED for job in status.findings.jobs)
    if refused:
        yield Remark(Level.ATTENTION, f"{counted(refused, 'waiting job')} may have no runner here")


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _of_pools(status: Status) -> Iterator[Remark]:
    for name, pool in status.pools.items():
        if pool is None:
            yield Remark(Level.PROBLEM, f"Batch has no pool {name}")
        elif isinstance(pool, Unknown):
            yield Remark(Level.ATTENTION, f"Pool {name} could not be asked: {pool.reason}")
        elif pool.formula_error is not None:
            yield Remark(Level.PROBLEM, f"The autoscale formula of {name} fails: {pool.formula_error}")
        elif pool.resize_errors and pool.nodes < pool.target:
            yield Remark(Level.PROBLEM, f"{name} gets no more nodes: {'; '.join(map(str, pool.resize_errors))}")


def _of_the_set_up(status: Status) -> Iterator[Remark]:
    for state, level, noun in ((State.FAIL, Level.PROBLEM, "failure"), (State.WARN, Level.ATTENTION, "warning")):
        count = sum(one.state == state for one in status.warnings)
        if count:
            yield Remark(level, f"{counted(count, noun)} of the set-up, see below")


_SOURCES: tuple[Callable[[Status], Iterator[Remark]], ...] = (_of_the_pass, _of_jobs, _of_pools, _of_the_set_up)
