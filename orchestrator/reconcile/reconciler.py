"""The comparison of demand with supply: ask GitHub, decide scope by scope, act.

What to do is decided in `orchestrator.reconcile.plan`. This module asks, and carries out what was decided. If the
runners of a scope could not be listed, nothing is decided there. If the jobs of a repository could not, or not all, the
other repositories go on, and the tasks of that one stay. The log says so.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, OrchestratorError, TransientError, UpstreamError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.log import Log, about
from orchestrator.reconcile.action import (
    Action,
    DeleteTask,
    EndTask,
    Hold,
    Pause,
    RemoveRunner,
    ReplaceTask,
    StartRunner,
    Wait,
)
from orchestrator.reconcile.node_slots import node_slots
from orchestrator.reconcile.pass_ import Pass, ScopeFacts
from orchestrator.reconcile.plan import clean_up, decide
from orchestrator.reconcile.selection import select
from orchestrator.reconcile.view import WaitingJob
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import WithinQuota, without_quota
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState

log = Log(__name__)

# How many repositories one pass asks GitHub about. Each costs at least one call.
REPOSITORIES_PER_PASS = 60
# How many of these are chosen in rotation, if there are more repositories than that.
ROTATED_PER_PASS = 20
# With so many calls a pass looks into one repository. What is left is looked into by the next passes.
CALLS_PER_REPOSITORY = 60
# After so many refusals in a row (404, 403) a repository no longer keeps tasks of others from being ended as surplus.
# That is an hour with the default period.
REFUSALS_HEEDED = 12
# How long a repository is looked at after its last task has disappeared.
REPOSITORY_REMEMBERED_FOR = timedelta(hours=24)

# Yields the queued jobs of a repository, call by call; takes its full name and the GitHub App's installation.
type QueuedJobs = Callable[[str, int | None], Iterator[Sequence[WorkflowJobEvent]]]
# Returns the repositories that the credentials give access to, each with the GitHub App's installation. Takes
# what tells by its login whether an account is asked after.
type InstalledRepositories = Callable[[Callable[[str], bool]], Mapping[str, int]]
# Starts a runner for a job; takes the number of the replacement, 0 for the job's first runner.
type RunnerStart = Callable[[WorkflowJobEvent, Profile, int], Outcome]


class TaskControl(Protocol):
    """The runner tasks on Batch."""

    def end_waiting(self, pool: str, task_id: str, batch_job: str | None = None) -> bool:
        """End a task that still waits; return False if there is none that does."""

    def end(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """End a task, whatever it does."""

    def delete(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """Delete a task."""

    def slots_per_node(self, pool: str) -> int:
        """Return how many slots a node of the pool has."""


class RunnerRegistry(Protocol):
    """The runners registered with GitHub."""

    def listed(self, access: ScopeAccess) -> Sequence[Runner]:
        """Return all runners of a scope."""

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove one."""


class JobBoundary(Protocol):
    """Tells which jobs may have no runner: `runners.boundary.Boundary`."""

    def account_rule(self, events: Iterable[WorkflowJobEvent] = ()) -> AccountRule:
        """Return which accounts' jobs may have runners; the events may tell to which enterprise accounts belong."""

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why a job may have no runner of a profile; None if it may."""


def _forget(_event: WorkflowJobEvent, _profile: Profile) -> None:
    """Without quotas nothing follows from a held job."""


class Reconciler:
    """Compares demand with supply, and starts, ends and removes what the comparison asks for.

    Args:
        settings: the app settings.
        tasks: ends and deletes runner tasks.
        queued_jobs: asks GitHub for queued jobs.
        runners: lists and removes runners.
        start: starts runners.
        boundary: tells which jobs may have no runner.
        installed: tells which repositories the credentials give access to.
        within_quota: starts a runner if there is room for it.
        held: is called with each job that a quota holds.
        retention: how long a finished task is kept.
        clock: tells how long a pass took.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a pass needs
        self,
        settings: Settings,
        *,
        tasks: TaskControl,
        queued_jobs: QueuedJobs,
        runners: RunnerRegistry,
        start: RunnerStart,
        boundary: JobBoundary,
        installed: InstalledRepositories,
        retention: timedelta,
        clock: Clock,
        within_quota: WithinQuota = without_quota,
        held: Callable[[WorkflowJobEvent, Profile], None] = _forget,
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._queued_jobs = queued_jobs
        self._runners = runners
        self._start = start
        self._boundary = boundary
        self._installed = installed
        self._retention = retention
        self._clock = clock
        self._within_quota = within_quota
        self._held = held
        self._remembered: dict[str, tuple[WorkflowJobEvent, datetime]] = {}
        self._refusals: dict[str, int] = {}

    def run(self, tasks: Sequence[TaskState], now: datetime) -> None:
        """Make one pass; what fails is reported and left for the next.

        Args:
            tasks: all runner tasks that live, ended lately, or are past their retention.
            now: the time.
        """
        with about(**{"pass": "reconciliation"}):
            began = self._clock()
            current = Pass(self._settings, tasks, now, self._account_rule(tasks))
            known_events = self._remember(current)
            # List runners before jobs. If a runner takes a job between the two calls, it counts as idle, and no runner
            # is started although its job is gone from the list. The other order would start one too many.
            for facts in current.scopes.values():
                self._list_runners(facts)
            self._list_jobs(current, known_events)
            current.node_slots = node_slots(tasks, now, self._tasks.slots_per_node)
            decided = [action for facts in current.scopes.values() for action in self._decide(current, facts)]
            for action in select(decided, tasks, self._settings, now):
                self._carry_out(current, action)
            for action in clean_up(tasks, current.scopes, now, self._retention):
                self._carry_out(current, action)
            took = self._clock() - began
            log(logging.INFO, result=Result.DONE, **current.summary(), ms=round(took.total_seconds() * 1000))

    def _account_rule(self, tasks: Sequence[TaskState]) -> AccountRule:
        """Return which accounts are looked after; none while GitHub does not say who owns the App."""
        try:
            return self._boundary.account_rule(task.notes.origin.event for task in tasks if task.notes.origin)
        except UpstreamError as error:
            log(logging.WARNING, result=Result.SKIPPED, what="whose jobs may have runners", reason=str(error))
            return AccountRule(frozenset())

    def _remember(self, current: Pass) -> Mapping[str, WorkflowJobEvent]:
        """Return a job of each repository that has tasks, or had tasks in an earlier pass: the latter come last.

        Someone may have deleted the Batch job with all its tasks. Only *where to look* is remembered, never what to do.
        """
        latest = current.latest_events
        self._remembered = {
            repository: (event, seen_at)
            for repository, (event, seen_at) in self._remembered.items()
            if current.now - seen_at < REPOSITORY_REMEMBERED_FOR
        }
        self._remembered |= {repository: (event, current.now) for repository, event in latest.items()}
        earlier = {repository: event for repository, (event, _) in self._remembered.items() if repository not in latest}
        return latest | earlier

    def _list_runners(self, facts: ScopeFacts) -> None:
        try:
            facts.runners = self._runners.listed(facts.access)
        except UpstreamError as error:
            facts.problem = str(error)

    def _list_jobs(self, current: Pass, known_events: Mapping[str, WorkflowJobEvent]) -> None:
        """Ask GitHub for the queued jobs of the repositories in view, with one call each in turn.

        So a repository with many runs takes no calls from the others.
        """
        installed = self._list_installed(current.rule)
        named = dict.fromkeys([*known_events, *self._settings.reconcile_repositories, *installed])
        in_view = [repository for repository in named if current.rule.admits(repository.partition("/")[0])]
        chosen = rotation(in_view, int(current.now.timestamp()) // 60 // self._settings.reconcile_minutes)
        self._refusals = {name: count for name, count in self._refusals.items() if name in in_view}
        looks: deque[_Look] = deque()
        for repository in in_view:
            known_event = known_events.get(repository)
            if repository in chosen:
                installation = known_event.installation_id if known_event else None
                # What GitHub says now counts before a task's notes: an App that is installed again has a new id.
                events = self._queued_jobs(repository, installed.get(repository) or installation)
                looks.append(_Look(repository, known_event, events))
            elif known_event is not None:
                current.leave_open(repository, known_event)
        while looks:
            look = looks.popleft()
            if self._go_on(current, look):
                looks.append(look)
                continue
            for reason, jobs in look.refused.items():
                log(logging.WARNING, result=Result.REFUSED, repository=look.repository, jobs=jobs, reason=reason)

    def _go_on(self, current: Pass, look: "_Look") -> bool:
        """Look into a repository with one call more; return whether there is more to do."""
        try:
            events = next(look.events, None)
            for event in self._admitted(look, events or ()):
                current.add_job(event)
        except GitHubRefused as error:
            self._refused(current, look, error)
            return False
        except UpstreamError as error:
            self._leave_open(current, look, str(error))
            return False
        if events is None:
            self._refusals.pop(look.repository, None)
            return False
        look.calls += 1
        if look.calls > CALLS_PER_REPOSITORY:
            self._leave_open(current, look, f"it takes more than {CALLS_PER_REPOSITORY} calls; the next pass goes on")
            return False
        return True

    def _refused(self, current: Pass, look: "_Look", error: GitHubRefused) -> None:
        """Take note of a refusal. It may be for good: the repository is gone, or the credentials do not reach it."""
        count = self._refusals.get(look.repository, 0) + 1
        self._refusals[look.repository] = count
        if count < REFUSALS_HEEDED:
            self._leave_open(current, look, str(error))
            return
        if count == REFUSALS_HEEDED:
            reason = f"{error}; after {count} refusals it holds up no other repository any more"
            log(logging.WARNING, result=Result.SKIPPED, repository=look.repository, reason=reason)
        current.leave_open(look.repository, look.known_event, may_need_others=False)

    def _leave_open(self, current: Pass, look: "_Look", reason: str) -> None:
        log(logging.WARNING, result=Result.SKIPPED, repository=look.repository, reason=reason)
        current.leave_open(look.repository, look.known_event)

    def _admitted(self, look: "_Look", events: Iterable[WorkflowJobEvent]) -> Iterator[WorkflowJobEvent]:
        """Leave out the jobs that may have no runner, and take note why."""
        for event in events:
            admission = admit(event, self._settings)
            refusal = self._boundary.refusal(event, admission.profile) if isinstance(admission, Admitted) else None
            if refusal is None:
                yield event
            else:
                look.refused[refusal] += 1

    def _list_installed(self, rule: AccountRule) -> Mapping[str, int]:
        try:
            return self._installed(rule.admits)
        except UpstreamError as error:
            log(logging.WARNING, result=Result.SKIPPED, what="the App's installations", reason=str(error))
            return {}

    def _decide(self, current: Pass, facts: ScopeFacts) -> Sequence[Action]:
        """Decide what to do in one scope."""
        if facts.runners is None and facts.problem is None:
            self._list_runners(facts)  # the scope came into view by its jobs: it has no tasks
        if facts.runners is None or facts.problem is not None:
            log(logging.WARNING, result=Result.SKIPPED, scope=str(facts.scope), reason=facts.problem)
            current.counts["skipped"] += 1
            return ()
        return decide(current.view(facts, facts.runners), current.now)

    def _carry_out(self, current: Pass, action: Action) -> None:
        """Do one thing, log it with its reason, and count it."""
        with about(**action.ids):
            try:
                result = self._do(action)
            except OrchestratorError as error:
                reasons = {"why": action.reason, "reason": str(error)}
                log(logging.WARNING, result=Result.FAILED, action=action.name, **reasons)
                current.counts["failed"] += 1
                return
            log(_level(action), result=result, action=action.name, reason=action.reason)
            current.counts[action.name] += 1

    def _do(self, action: Action) -> Result:  # noqa: PLR0911 - one per action
        match action:
            case StartRunner(job, replacement):
                return self._start_within(job, replacement)
            case ReplaceTask(task, job, replacement):
                return self._replace(task, job, replacement)
            case EndTask(task) if task.state == "waiting":
                return Result.ENDED if self._tasks.end_waiting(*_place(task)) else Result.LEFT
            case EndTask(task):
                self._tasks.end(*_place(task))
                return Result.ENDED
            case DeleteTask(task):
                self._tasks.delete(*_place(task))
                return Result.DELETED
            case RemoveRunner(access, runner):
                self._runners.remove(access, runner.id)
                return Result.REMOVED
            case Pause():
                return Result.PAUSED
            case Hold(jobs):
                return self._hold(jobs)
            case Wait():
                return Result.WAITS
            case _:
                assert_never(action)

    def _hold(self, jobs: Sequence[WaitingJob]) -> Result:
        for job in jobs:
            self._held(job.event, job.profile)
        return Result.WAITS

    def _start_within(self, job: WaitingJob, replacement: int) -> Result:
        """Start a runner, unless deliveries have used up the quota since the tasks were listed."""
        outcome = self._within_quota(job.event, job.profile, lambda: self._start(job.event, job.profile, replacement))
        if outcome.result == Result.WAITS:
            raise TransientError(outcome.reason or "a quota holds it")
        return outcome.result

    def _replace(self, task: TaskState, job: WaitingJob, replacement: int) -> Result:
        """Start the new task before the old one is ended, so that there is always one.

        If the old task has started in between, it stays, and the new one is ended.
        """
        started = self._start(job.event, job.profile, replacement)
        if started.result in (Result.REFUSED, Result.WAITS):
            return started.result
        if self._tasks.end_waiting(*_place(task)):
            return Result.REPLACED
        self._tasks.end_waiting(started.pool, started.task_id)
        return Result.LEFT


@dataclass
class _Look:
    """A repository that a pass looks into.

    Attributes:
        repository: its full name.
        known_event: a job of it, if one is known.
        events: yields its queued jobs, call by call.
        calls: how many were made.
        refused: how many of its jobs may have no runner, by the reason.
    """

    repository: str
    known_event: WorkflowJobEvent | None
    events: Iterator[Sequence[WorkflowJobEvent]]
    calls: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def _level(action: Action) -> int:
    """How much an action needs a person's attention."""
    if isinstance(action, Pause):
        return logging.CRITICAL if action.alert else logging.WARNING
    return logging.WARNING if isinstance(action, (Wait, Hold)) else logging.INFO


def _place(task: TaskState) -> tuple[str, str, str | None]:
    """Return what a task is found by."""
    return task.pool, task.task_id, task.batch_job or None


def rotation(repositories: Sequence[str], turn: int) -> frozenset[str]:
    """Return the repositories that one pass asks about: always the first 40; of the rest, 20 per pass in rotation.

    Args:
        repositories: those in view, the most important first.
        turn: the number of the pass.
    """
    always = repositories[: REPOSITORIES_PER_PASS - ROTATED_PER_PASS]
    rest = repositories[REPOSITORIES_PER_PASS - ROTATED_PER_PASS :]
    begin = turn * ROTATED_PER_PASS % len(rest) if rest else 0
    return frozenset([*always, *[*rest, *rest][begin : begin + ROTATED_PER_PASS]])
