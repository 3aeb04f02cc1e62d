"""The comparison of demand with supply: look, decide scope by scope, act.

Queued jobs are looked for in `orchestrator.reconcile.job_search`; what to do is decided in
`orchestrator.reconcile.plan`. This module carries out what was decided, as far as the time of a pass allows. What is
left is decided anew by the next pass. If nothing is known of the runners of a scope, nothing is decided there.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import CallsSpent, OrchestratorError, TransientError, UpstreamError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
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
from orchestrator.reconcile.at_once import AtOnce
from orchestrator.reconcile.findings import Findings, Gap
from orchestrator.reconcile.node_slots import node_slots
from orchestrator.reconcile.pass_ import Pass, ScopeFacts, Settled
from orchestrator.reconcile.plan import clean_up, decide
from orchestrator.reconcile.progress import Progress
from orchestrator.reconcile.selection import select
from orchestrator.reconcile.skipped import skipped
from orchestrator.reconcile.survey import survey
from orchestrator.reconcile.time_left import TimeLeft
from orchestrator.reconcile.view import WaitingJob
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import WithinQuota
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState, events_of

log = Log(__name__)

# The time of a pass, in periods: GitHub is asked until the first moment, and things are done until the second. A task
# whose registration is about to expire is replaced by one of two passes. Flex Consumption ends a function after 30
# minutes, and the longest period is 10.
ASKS_FOR, ACTS_FOR = 0.6, 2.0
# How many runners are asked for by name where they cannot be listed: those of the tasks that started last.
ASKED_BY_NAME = 60

# Looks for queued jobs: `JobSearch.run`.
type SearchJobs = Callable[[Pass, Progress], None]
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

    def named(self, access: ScopeAccess, names: Iterable[str]) -> Sequence[Runner]:
        """Return those of some names."""

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove one."""


class Accounts(Protocol):
    """Tells which accounts may have runners: `runners.boundary.Boundary`."""

    def account_rule(self, events: Iterable[WorkflowJobEvent] = ()) -> AccountRule:
        """Return which accounts' jobs may have runners; the events may tell to which enterprise accounts belong."""


class Reconciler:
    """Compares demand with supply, and starts, ends and removes what the comparison asks for.

    Args:
        settings: the app settings.
        tasks: ends and deletes runner tasks.
        search_jobs: looks for queued jobs.
        runners: lists and removes runners.
        start: starts runners.
        accounts: tells which accounts may have runners.
        within_quota: starts a runner if there is room for it.
        held: is called with each job that a quota holds.
        retention: how long a finished task is kept.
        clock: tells how long a pass took.
        time_left: how long a pass may go on.
        at_once: does several things at a time.
        requests_left: returns how many requests GitHub has left for this hour; None if that is not known.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a pass needs
        self,
        settings: Settings,
        *,
        tasks: TaskControl,
        search_jobs: SearchJobs,
        runners: RunnerRegistry,
        start: RunnerStart,
        accounts: Accounts,
        retention: timedelta,
        clock: Clock,
        time_left: TimeLeft,
        at_once: AtOnce,
        within_quota: WithinQuota,
        held: Callable[[WorkflowJobEvent, Profile], None],
        requests_left: Callable[[], int | None],
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._search_jobs = search_jobs
        self._runners = runners
        self._start = start
        self._accounts = accounts
        self._retention = retention
        self._clock = clock
        self._time_left = time_left
        self._at_once = at_once
        self._within_quota = within_quota
        self._held = held
        self._requests_left = requests_left

    def run(self, tasks: Sequence[TaskState], now: datetime, progress: Progress) -> Findings:
        """Make one pass, and return what it found; what fails is reported and left for the next.

        Args:
            tasks: all runner tasks that live, ended lately, or are past their retention.
            now: the time.
            progress: how far earlier passes have come; it is brought up to date.
        """
        with about(**{"pass": "reconciliation"}):
            began, period = self._clock(), timedelta(minutes=self._settings.reconcile_minutes)
            self._time_left.ends_at(began + ASKS_FOR * period)
            current = Pass(self._settings, tasks, now, self._account_rule(tasks))
            # List runners before jobs. If a runner takes a job between the two calls, it counts as idle, and no runner
            # is started although its job is gone from the list. The other order would start one too many.
            self._at_once.each(current.listed_first(), lambda facts: self._list_runners(facts, current))
            self._search_jobs(current, progress)
            current.node_slots = node_slots(tasks, now, self._tasks.slots_per_node)
            decided = [action for facts in current.scopes.values() for action in self._decide(current, facts)]
            self._time_left.ends_at(began + ACTS_FOR * period)
            self._carry_out(current, select(decided, tasks, self._settings, now))
            self._carry_out(current, clean_up(tasks, current.scopes, now, self._retention, period))
            took = self._clock() - began
            log(logging.INFO, Line.PASS, result=Result.DONE, **current.summary(), ms=round(took.total_seconds() * 1000))
            return survey(current, self._settings, self._requests_left())

    def _account_rule(self, tasks: Sequence[TaskState]) -> AccountRule:
        """Return which accounts are looked after; none while GitHub does not say who owns the App."""
        try:
            return self._accounts.account_rule(events_of(tasks))
        except UpstreamError as error:
            skipped(log, error, what="whose jobs may have runners")
            return AccountRule(frozenset())

    def _list_runners(self, facts: ScopeFacts, current: Pass) -> None:
        """List the runners of a scope. Where that is not possible, ask for those of the tasks that run, by name."""
        try:
            facts.runners = self._runners.listed(facts.access)
        except TransientError as error:
            facts.problem = str(error)
        except UpstreamError as error:
            facts.problem = str(error)
            return
        if facts.problem is None:
            return
        tasks = [task for task in current.view(facts, ()).tasks if task.state == "running" and task.started_at]
        tasks.sort(key=lambda task: task.started_at or current.now, reverse=True)
        names = [_runner_name(task) for task in tasks[:ASKED_BY_NAME]]
        try:
            facts.runners = self._runners.named(facts.access, names)
        except UpstreamError:
            return
        reason = f"{facts.problem}; {len(names)} were asked for by name"
        skipped(log, reason, what=f"the runners of {facts.scope}")
        facts.all_runners, facts.problem = False, None

    def _decide(self, current: Pass, facts: ScopeFacts) -> Sequence[Action]:
        """Decide what to do in one scope."""
        if facts.runners is None and facts.problem is None:
            if not facts.jobs:
                return ()  # no task lives there, and no job waits
            self._list_runners(facts, current)
        if facts.runners is None or facts.problem is not None:
            skipped(log, facts.problem, scope=str(facts.scope))
            current.counts["skipped"] += 1
            current.gaps.append(Gap(what=str(facts.scope), skipped=True, reason=facts.problem or ""))
            return ()
        actions, prospects = decide(current.view(facts, facts.runners), current.now)
        current.prospects.update(prospects)
        return actions

    def _carry_out(self, current: Pass, actions: Sequence[Action]) -> None:
        """Do several things at once, begun in their order, while there is time; count them."""
        done: list[str] = []
        self._at_once.each(actions, lambda action: done.append(self._try(action, current.settled.append)))
        current.counts.update(done)

    def _try(self, action: Action, settle: Callable[[Settled], None]) -> str:
        """Do one thing, log it with its reason, and settle it; return what it counts as."""
        if self._time_left.is_over and not isinstance(action, (Pause, Hold, Wait)):
            settle(Settled(action, None, action.reason))
            return "left"
        with about(**action.ids):
            while True:
                try:
                    result = self._do(action)
                except CallsSpent as error:
                    if self._time_left.wait(error.retry_after):
                        continue
                    settle(Settled(action, None, str(error)))
                    return "left"
                except OrchestratorError as error:
                    settle(Settled(action, Result.FAILED, str(error)))
                    reasons = {"why": action.reason, "reason": str(error)}
                    log(logging.WARNING, Line.ACTION, result=Result.FAILED, action=action.name, **reasons)
                    return "failed"
                settle(Settled(action, result, action.reason))
                log(_level(action), Line.ACTION, result=result, action=action.name, reason=action.reason)
                return action.name

    def _do(self, action: Action) -> Result:  # noqa: PLR0911 - one per action
        match action:
            case StartRunner(job, replacement):
                return self._start_within(job, replacement)
            case ReplaceTask(task, job, replacement):
                return self._replace(task, job, replacement)
            case EndTask(task) if task.state == "waiting":
                return Result.ENDED if self._tasks.end_waiting(*_place(task)) else Result.LEFT
            case EndTask(task, _, unless_online):
                return self._end_running(task, unless_online)
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

    def _end_running(self, task: TaskState, unless_online: ScopeAccess | None) -> Result:
        """End a task that runs, unless its runner has come online since the runners were listed: it may have a job.

        Where Batch ran a claiming task again, its runner may have another name, which is not asked for.
        """
        if unless_online is not None:
            named = self._runners.named(unless_online, [_runner_name(task)])
            if any(runner.online or runner.busy for runner in named):
                return Result.LEFT
        self._tasks.end(*_place(task))
        return Result.ENDED

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


def _level(action: Action) -> int:
    """How much an action needs a person's attention."""
    if isinstance(action, Pause):
        return logging.CRITICAL if action.alert else logging.WARNING
    return logging.WARNING if isinstance(action, (Wait, Hold)) else logging.INFO


def _runner_name(task: TaskState) -> str:
    """Return what GitHub knows a task's runner by, as a rule."""
    return task.notes.name or task.task_id


def _place(task: TaskState) -> tuple[str, str, str | None]:
    """Return what a task is found by."""
    return task.pool, task.task_id, task.batch_job or None
