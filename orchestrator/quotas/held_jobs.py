"""Jobs that a quota holds are started when others end.

A held job is stored nowhere: GitHub keeps it. When a job under a quota ends, GitHub is asked which jobs of its
repository wait, and the oldest is started. The control loop starts what is not started so.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from orchestrator.clock import LONG_AGO
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError, UpstreamError, UpstreamRefused
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.quotas.control import QuotaControl
from orchestrator.quotas.rule import Quota, Slot, quotas_of
from orchestrator.quotas.turns import by_turns
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import task_id, task_of_runner
from orchestrator.runtime import MakeLock

log = Log(__name__)

# Seconds between the end of a job and the look for the next one. The container ends meanwhile, and the jobs of a matrix
# that end together lead to one look.
LOOK_AFTER = 5.0
# What one look does at most, so that it ends.
REPOSITORIES_PER_LOOK = 10
CALLS_PER_REPOSITORY = 30
STARTS_PER_LOOK = 20
# How many places with held jobs are remembered.
REMEMBERED_PLACES = 1000

# Yields the queued jobs of a repository, call by call; takes its full name and the GitHub App's installation.
type QueuedJobs = Callable[[str, int | None], Iterator[Sequence[WorkflowJobEvent]]]


class Held(NamedTuple):
    """A job that a quota holds, or that had a runner under a quota: it says where to look for held jobs.

    Attributes:
        event: what GitHub says about it.
        profile: the profile that serves it.
    """

    event: WorkflowJobEvent
    profile: Profile

    @property
    def repository(self) -> str:
        """Whose job it is, in lower case."""
        return self.event.repository.full_name.lower()


class HeldPlaces:
    """Where jobs are held, by repository and profile. Which jobs these are, GitHub knows. Safe under threads.

    Args:
        lock: makes a lock.
    """

    def __init__(self, *, lock: MakeLock = threading.Lock) -> None:
        self._lock = lock()
        self._places: dict[tuple[str, str], Held] = {}

    def remember(self, event: WorkflowJobEvent, profile: Profile) -> None:
        """Take note that a job is held."""
        job = Held(event, profile)
        with self._lock:
            self._places.setdefault((job.repository, profile.name), job)
            if len(self._places) > REMEMBERED_PLACES:
                del self._places[next(iter(self._places))]

    def forget(self, repositories: Iterable[str]) -> None:
        """Take note that these repositories have no held jobs."""
        gone = frozenset(repositories)
        with self._lock:
            self._places = {place: job for place, job in self._places.items() if place[0] not in gone}

    def all(self) -> Sequence[Held]:
        """Return one job of each place."""
        with self._lock:
            return list(self._places.values())


class HeldJobs:
    """Starts held jobs when others end. Safe under threads.

    Args:
        settings: the app settings.
        quotas: starts runners as far as quotas allow.
        places: where jobs are held.
        account_refusal: returns why a job's account may have no runners; None if it may.
        handle: does what an admitted job needs.
        start: starts a job's first runner.
        queued_jobs: asks GitHub for the queued jobs of a repository.
        start_timer: calls an action after some seconds, without waiting for it.
        lock: makes a lock.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a look needs
        self,
        settings: Settings,
        quotas: QuotaControl,
        places: HeldPlaces,
        *,
        account_refusal: Callable[[WorkflowJobEvent], str | None],
        handle: Callable[[WorkflowJobEvent, Profile], Outcome],
        start: Callable[[WorkflowJobEvent, Profile], Outcome],
        queued_jobs: QueuedJobs,
        start_timer: Callable[[float, Callable[[], None]], None],
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._settings = settings
        self._quotas = quotas
        self._places = places
        self._account_refusal = account_refusal
        self._handle = handle
        self._start = start
        self._queued_jobs = queued_jobs
        self._start_timer = start_timer
        self._lock = lock()
        self._ended: list[Held] = []

    def handle(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        """Do what an admitted job needs; if it has ended under a quota, look soon for one that is held.

        Raises:
            OrchestratorError: as `Provisioner.handle`.
        """
        if event.action == "completed":
            self._job_ended(event, profile)
            if event.workflow_job.had_runner:
                return Outcome(Result.LEFT, task_id(event.workflow_job), profile, "the job had its runner")
        return self._handle(event, profile)

    def _job_ended(self, event: WorkflowJobEvent, profile: Profile) -> None:
        if not quotas_of(event, profile, self._settings) or self._account_refusal(event) is not None:
            return
        task = task_of_runner(event.workflow_job.runner_name or "")
        if task is not None:
            self._quotas.ended(task)
        with self._lock:
            self._ended.append(Held(event, profile))
            is_first = len(self._ended) == 1
        if is_first:
            self._look_soon()

    def _look_soon(self) -> None:
        try:
            self._start_timer(LOOK_AFTER, self._look)
        except Exception:  # such as no more threads
            log.exception(message="held jobs are left for the next pass")
            with self._lock:
                self._ended.clear()

    def _look(self) -> None:
        """Start held jobs. It never fails: an error is logged, and the next pass goes on."""
        with about(step="held jobs"):
            with self._lock:
                ended, self._ended = self._ended, []
            try:
                self._start_held(ended)
            except UpstreamError as error:
                log(logging.WARNING, Line.HELD_JOB, result=Result.SKIPPED, reason=str(error))
            except Exception:  # a mistake of ours must not end in a thread that nobody watches
                log.exception(message="held jobs are left for the next pass")

    def _start_held(self, ended: Sequence[Held]) -> None:
        slots = self._quotas.slots()
        self._remember_full(ended, slots)
        full = {quota for job in self._places.all() for quota in self._quotas_of(job) if quota.reason(slots)}
        with_room = {job.repository: job for job in self._places.all() if not full & self._quotas_of(job)}
        has = Counter(slot.repository for slot in slots)
        asked = sorted(with_room, key=lambda repository: has[repository])[:REPOSITORIES_PER_LOOK]
        waiting = [job for repository in asked for job in self._waiting(with_room[repository], slots)]
        left: list[Held] = []
        troubled: set[str] = set()
        starts = 0
        for job in by_turns(waiting, lambda job: job.repository, has):
            if starts == STARTS_PER_LOOK or job.repository in troubled or full & self._quotas_of(job):
                left.append(job)
                continue
            result = self._start_within(job)
            if result == Result.WAITS:
                full |= self._quotas_of(job)
                left.append(job)
            elif result == Result.FAILED:
                troubled.add(job.repository)
                left.append(job)
            else:
                starts += 1
        for job in left:
            self._places.remember(*job)

    def _remember_full(self, ended: Sequence[Held], slots: Sequence[Slot]) -> None:
        """Remember the repositories whose quota was full until now: another process may hold their jobs."""
        ends = Counter(quota for job in ended for quota in self._quotas_of(job))
        for job in ended:
            if any(sum(map(quota.counts, slots)) + ends[quota] >= quota.limit for quota in self._quotas_of(job)):
                self._places.remember(*job)

    def _waiting(self, place: Held, slots: Sequence[Slot]) -> list[Held]:
        """Return a repository's queued jobs that have no runner of their own, the oldest first.

        One repository's trouble stays its own: it is logged, and what is known is returned. The repository is forgotten
        if all of its jobs are known, or if GitHub refuses to list them.
        """
        served = {slot.job_key for slot in slots}
        found: list[Held] = []
        is_over = False
        with about(repository=place.repository):
            try:
                known = place.event
                calls = self._queued_jobs(known.repository.full_name, known.installation_id)
                for number, events in enumerate(calls, start=1):
                    found += (job for job in self._admitted(events) if task_id(job.event.workflow_job) not in served)
                    if number == CALLS_PER_REPOSITORY:
                        break
                else:
                    is_over = True
            except UpstreamError as error:
                is_over = isinstance(error, UpstreamRefused)
                log(logging.WARNING, Line.HELD_JOB, result=Result.SKIPPED, reason=str(error))
        if is_over:
            self._places.forget([place.repository])
        return sorted(found, key=lambda job: job.event.workflow_job.created_at or LONG_AGO)

    def _admitted(self, events: Iterable[WorkflowJobEvent]) -> Iterator[Held]:
        for event in events:
            admission = admit(event, self._settings)
            if isinstance(admission, Admitted):
                yield Held(event, admission.profile)

    def _start_within(self, job: Held) -> Result:
        workflow_job, repository = job.event.workflow_job, job.event.repository.full_name
        with about(job=workflow_job.id, repository=repository):
            try:
                outcome = self._quotas.within(job.event, job.profile, lambda: self._start(job.event, job.profile))
            except OrchestratorError as error:
                log(logging.WARNING, Line.HELD_JOB, result=Result.FAILED, reason=str(error))
                return Result.FAILED
            log(logging.INFO, Line.HELD_JOB, result=outcome.result, task=outcome.task_id, pool=outcome.pool)
        return outcome.result

    def _quotas_of(self, job: Held) -> frozenset[Quota]:
        return frozenset(quotas_of(job.event, job.profile, self._settings))
