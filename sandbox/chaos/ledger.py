"""What is known of each job, and what must be true of all of them."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sandbox.chaos.virtual_time import START
from sandbox.github.model import Event, Job, Runner

# Jobs that the same runners serve: where those register, and the label that tells the profiles apart.
type Key = tuple[str, str]

# Seconds in which a runner that lost its purpose is gone: its start, ten idle minutes or two passes, and a retry.
ORPHAN_LIFE = 40 * 60.0
# Runners above the jobs queued, per kind of runner, that need no cause: three, and one for every eight jobs that were
# taken lately. A pass asks for jobs and runners one after the other, and a request in the queue is older than the
# truth: both may start a runner for a job that was just taken by another one.
SLACK, SHARE = 3, 8
LATELY = 15 * 60.0
# What the names of our tasks and runners begin with: the job's id and attempt.
_OURS = re.compile(r"runner-(\d+)-\d+")


@dataclass
class Record:
    """One attempt of one job.

    Attributes:
        is_untold: whether GitHub never sends the delivery that tells of it.
    """

    job_id: int
    key: Key
    wanted: bool
    queued_at: float | None = None
    task_at: float | None = None
    taken_at: float | None = None
    ended_at: float | None = None
    is_untold: bool = False
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether it is queued and shall have a runner of ours."""
        return self.wanted and self.queued_at is not None and self.taken_at is None and self.ended_at is None


@dataclass(frozen=True)
class Violation:
    """A broken invariant, with the story of the job that shows it."""

    invariant: str
    what: str
    at: float
    story: tuple[tuple[float, str], ...] = ()


class Ledger:
    """Keeps the books while the simulation runs."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.violations: list[Violation] = []
        self.surplus_peak = 0
        self.surplus_seconds = 0.0
        self.last_taken_at = 0.0
        self._waiting: Counter[Key] = Counter()
        self._orphans: dict[Key, deque[float]] = {}
        self._taken: dict[Key, deque[float]] = {}
        self._broken: Counter[str] = Counter()

    def record_of(self, name: str) -> Record | None:
        """Return the record of the job that a task or runner of this name was made for, None if there is none."""
        found = _OURS.match(name)
        return self.records.get(int(found[1])) if found else None

    # What happens ----------------------------------------------------------------------------------------------------

    def tell(self, job_id: int, at: float, text: str) -> None:
        """Add a line to a job's story."""
        record = self.records.get(job_id)
        if record is not None:
            record.lines.append((at - START, text))

    def untold(self, job_id: int) -> None:
        """GitHub never sends the delivery that a job is queued."""
        record = self.records.get(job_id)
        if record is not None:
            record.is_untold = True

    def tell_of_task(self, task_id: str, at: float, text: str) -> None:
        """Add a line to the story of the job that a task or runner was made for."""
        record = self.record_of(task_id)
        if record is not None:
            self.tell(record.job_id, at, text)

    def task_created(self, task_id: str, at: float) -> None:
        """A task came to be."""
        self.tell_of_task(task_id, at, f"task {task_id} created")
        record = self.record_of(task_id)
        if record is None:
            self.violate("nothing for nobody", f"the task {task_id} is for no job that there is", at)
            return
        if not record.wanted:
            self.violate("nothing for nobody", f"{task_id} is for a job that is not served", at, record)
        if record.task_at is None:
            record.task_at = at

    def job_event(self, event: Event, *, key: Key, wanted: bool) -> None:
        """GitHub says what became of a job."""
        job = event.job
        if job is None:
            return
        record = self.records.setdefault(job.id, Record(job.id, key, wanted))
        self.tell(job.id, event.at, _told(event, job))
        waited = record.waits
        if event.kind == "queued" and record.queued_at is None:
            record.queued_at = event.at
        elif event.kind == "in_progress":
            record.taken_at = self.last_taken_at = event.at
            self._taken.setdefault(record.key, deque()).append(event.at)
            self._orphan_unless_ours(record, event.runner, event.at)
        elif event.kind == "completed":
            record.ended_at = event.at
            if waited:
                self._orphan(record.key, event.at)
                if job.conclusion == "failure":
                    self.violate("every queued job is served", f"job {job.id} waited for 24 hours", event.at, record)
        if record.waits != waited:
            self._waiting[record.key] += 1 if record.waits else -1

    def node_lost(self, keys: Iterable[Key], at: float) -> None:
        """Tasks start again elsewhere, whose runners may have had a job already."""
        for key in keys:
            self._orphan(key, at)

    def _orphan_unless_ours(self, record: Record, runner: Runner | None, at: float) -> None:
        ours = runner is not None and is_ours(runner.name)
        if record.wanted and not ours:
            self._orphan(record.key, at)
        if ours and not record.wanted:
            self.violate("nothing for nobody", f"job {record.job_id} is not served, yet a runner took it", at, record)

    def _orphan(self, key: Key, at: float) -> None:
        self._orphans.setdefault(key, deque()).append(at)

    # What must be true -----------------------------------------------------------------------------------------------

    def violate(self, invariant: str, what: str, at: float, record: Record | None = None) -> None:
        """Note that an invariant is broken; of each the first few are kept."""
        self._broken[invariant] += 1
        if self._broken[invariant] <= 3:  # noqa: PLR2004 - enough to understand
            story = tuple(record.lines) if record is not None else ()
            self.violations.append(Violation(invariant, what, at - START, story))

    @property
    def broken(self) -> Mapping[str, int]:
        """How often each invariant was broken."""
        return dict(self._broken)

    def look(self, unused: Mapping[Key, list[str]], at: float, since: float, pardon: float) -> None:
        """Compare the runners that could take a job with the jobs that wait for one.

        Args:
            unused: the tasks that wait, start or idle, by what they serve.
            at: now.
            since: when the last look was.
            pardon: seconds of outages that nobody could have done anything in, within an orphan's life.
        """
        surplus = 0
        for key, tasks in unused.items():
            above = len(tasks) - self._waiting[key]
            surplus += max(0, above)
            orphans = _since(at - ORPHAN_LIFE - pardon, self._orphans.get(key, deque()))
            taken = _since(at - LATELY - pardon, self._taken.get(key, deque()))
            if above > orphans + SLACK + taken // SHARE:
                self.violate(
                    "no more runners than jobs",
                    f"{len(tasks)} unused runners of {'/'.join(key)} for {self._waiting[key]} jobs, "
                    f"{orphans} lost their job, {taken} jobs were taken lately: {', '.join(tasks[:5])} ...",
                    at,
                    self._story_of(tasks),
                )
        self.surplus_peak = max(self.surplus_peak, surplus)
        self.surplus_seconds += surplus * (at - since)

    def _story_of(self, tasks: Iterable[str]) -> Record | None:
        for task in tasks:
            record = self.record_of(task)
            if record is not None and not record.waits:
                return record
        return None

    # Figures ---------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> list[Record]:
        """The jobs that wait for a runner of ours."""
        return [record for record in self.records.values() if record.waits]

    def of_owner(self, owner: str) -> list[Record]:
        """Return the jobs of an account that a runner has taken."""
        return [
            record
            for record in self.records.values()
            if record.taken_at is not None and record.key[0].partition("/")[0] == owner
        ]

    def waits_for_task(self, *, untold: bool = False) -> list[float]:
        """Return the seconds from queued to the job's task (or to a runner made for another job), ascending.

        Args:
            untold: only of the jobs that no delivery told of.
        """
        found = []
        for record in self.records.values():
            ends = [at for at in (record.task_at, record.taken_at) if at is not None]
            if record.wanted and record.queued_at is not None and ends and (record.is_untold or not untold):
                found.append(max(0.0, min(ends) - record.queued_at))
        return sorted(found)


def is_ours(name: str) -> bool:
    """Whether a task or runner has a name that the application gives."""
    return _OURS.match(name) is not None


def _since(moment: float, times: deque[float]) -> int:
    """Forget the times before a moment, and count the others."""
    while times and times[0] < moment:
        times.popleft()
    return len(times)


def _told(event: Event, job: Job) -> str:
    parts = [f"GitHub: {event.kind}"]
    if event.kind == "queued":
        parts.append(
            f"(run {job.run_id} attempt {job.run_attempt}, {job.repository.full_name}, {', '.join(job.labels)})"
        )
    if event.runner is not None:
        parts.append(f"(runner {event.runner.name})")
    if event.kind == "completed":
        parts.append(f"({job.conclusion})")
    return " ".join(parts)
