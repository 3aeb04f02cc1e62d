"""What is missing and what is left over: demand against supply, scope by scope (pure).

A webhook is for speed; this is for correctness. It compares what GitHub and Batch say now and knows nothing of what was
delivered, tried or decided before, so whatever went wrong in between, the next pass mends it.

Runners are counted, not bound: GitHub hands a job to any idle runner that offers all of its labels. So jobs are matched
with what could serve them (as many as can be), and only what stays unmatched on either side is acted upon.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.config.profiles import Profile
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.matching import match
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState, replacement_of, task_id, task_of_runner

# A younger job is in flight: its delivery, or the request in the queue, will see to it.
IN_FLIGHT = timedelta(minutes=2)
# A container that was started so long ago and is no runner yet will not become one.
STARTING = timedelta(minutes=10)
# An idle runner that has not taken a job for so long may not take it (its group does not let it).
UNWILLING = timedelta(minutes=15)
# By then a cold pool has a node: a job that waits longer is reported, with what it waits for.
LONG = timedelta(minutes=15)
# GitHub was asked long enough after a task of this age was created: what it serves would have been seen.
SETTLED = timedelta(minutes=5)
# Beyond its wall-clock limit Batch itself ends a task; this long after, it has not.
OVERDUE = timedelta(minutes=15)
# How often a job's runner is started anew after one that never ran a job, and at all.
FAILURES = 3
RUNNERS_PER_JOB = 10
# What one pass does at most, so that it ends, and so that a mistake stays small.
STARTS = 100
REPLACEMENTS = 500  # the tasks of one burst share a token, and with it the minute in which it ends
DELETIONS = 200
REMOVALS = 60
REPORTS = 10


@dataclass(frozen=True)
class WaitingJob:
    """A queued job that a profile serves.

    Attributes:
        event: what GitHub says of it.
        profile: serves it.
        labels: the job's, in lower case.
    """

    event: WorkflowJobEvent
    profile: Profile
    labels: frozenset[str]

    @property
    def job_key(self) -> str:
        """The id of its first task."""
        return task_id(self.event.workflow_job)

    def age(self, now: datetime) -> timedelta:
        """How long it has waited, as far as GitHub says."""
        created_at = self.event.workflow_job.created_at
        return now - created_at if created_at is not None else IN_FLIGHT

    def may_go_to(self, supply: "Runner | TaskState", now: datetime) -> bool:
        """Whether this runner, or the runner that this task becomes, would take the job."""
        if isinstance(supply, Runner) and self.age(now) >= UNWILLING:
            return False
        return self.labels <= supply.labels


@dataclass(frozen=True)
class ScopeView:
    """What GitHub and Batch say of one place where runners register.

    Attributes:
        access: the place.
        url: the same as a runner knows it.
        jobs: the queued jobs of its repositories in view.
        runners: every runner registered there.
        tasks: the runner tasks of that url.
        others: the jobs' tasks of other urls. A job may have had its runners there, before a setting or a name changed.
        complete: whether every repository that has tasks here was looked at, so that what nobody needs is known.
        period: the time between two passes.
    """

    access: ScopeAccess
    url: str
    jobs: Sequence[WaitingJob]
    runners: Sequence[Runner]
    tasks: Sequence[TaskState]
    others: Sequence[TaskState]
    complete: bool
    period: timedelta


@dataclass(frozen=True)
class StartRunner:
    """Start a runner for a job."""

    job: WaitingJob
    replacement: int
    reason: str


@dataclass(frozen=True)
class ReplaceTask:
    """Start a runner for a job, then end the task whose place it takes."""

    task: TaskState
    job: WaitingJob
    replacement: int
    reason: str


@dataclass(frozen=True)
class EndTask:
    """End a task: one that waits, or (`running`) one that is overdue."""

    task: TaskState
    reason: str


@dataclass(frozen=True)
class DeleteTask:
    """Forget a finished task."""

    task: TaskState
    reason: str


@dataclass(frozen=True)
class RemoveRunner:
    """Remove a runner of ours from GitHub."""

    access: ScopeAccess
    runner: Runner
    reason: str


@dataclass(frozen=True)
class GiveUp:
    """Start no more runners for a job, and say so."""

    job: WaitingJob
    reason: str


@dataclass(frozen=True)
class Wait:
    """Do nothing for a job that waits long but say what it waits for."""

    job: WaitingJob
    task: TaskState
    reason: str


type Action = StartRunner | ReplaceTask | EndTask | DeleteTask | RemoveRunner | GiveUp | Wait


def decide(view: ScopeView, now: datetime, most: int = STARTS) -> list[Action]:
    """Return what to do in one scope, what starts runners first.

    Args:
        view: what is known of it.
        now: the time.
        most: how many runners may be started for jobs that have none.
    """
    runners = _Runners(view, now)
    jobs = sorted(view.jobs, key=lambda job: job.age(now), reverse=True)
    ready = [task for task in view.tasks if runners.may_serve(task)]
    lives = [(task, runners.life(task)) for task in view.tasks if task.state == "waiting"]
    soon = 2 * view.period + timedelta(minutes=2)  # so that one pass may fail
    lasting = [task for task, life in lives if life > soon]
    expiring = [task for task, life in lives if timedelta(0) < life <= soon]
    expired = [task for task, life in lives if life <= timedelta(0)]

    # Idle runners last: one that has just taken a job still looks idle, and the task that is needed instead must stay.
    pairs = match(
        jobs,
        _tiers([*lasting, *ready, *runners.foreign], expiring),
        fits=lambda job, supply: job.may_go_to(supply, now),
        kind=lambda job: (job.labels, job.age(now) >= UNWILLING),
        key=lambda job: job.job_key,
        meant_for=lambda supply: supply.job_key if isinstance(supply, TaskState) else None,
    )
    history = _History([*view.tasks, *view.others])
    hurried = {task.task_id for task in expiring}
    replacements: list[Action] = []
    starts: list[Action] = []
    waits: list[Action] = []
    for index, job in enumerate(jobs):
        supply = pairs.get(index)
        if isinstance(supply, TaskState) and supply.task_id in hurried:
            replacements.append(ReplaceTask(supply, job, history.next(job), "its registration is about to expire"))
        elif supply is None and job.age(now) >= IN_FLIGHT:
            starts += _start(job, history, now)
        elif isinstance(supply, TaskState) and job.age(now) >= LONG:
            waits.append(Wait(job, supply, _waits_for(supply)))
    taken = {supply.task_id for supply in pairs.values() if isinstance(supply, TaskState)}
    return [
        *replacements[:REPLACEMENTS],
        *starts[:most],
        *(EndTask(task, "its registration has expired") for task in expired),
        *(
            EndTask(task, "more runners wait than jobs")
            for task in (*lasting, *expiring)
            if view.complete and task.task_id not in taken and now - task.created_at >= SETTLED
        ),
        *_removals(view, now),
        *waits[:REPORTS],
    ]


def clean_up(tasks: Iterable[TaskState], places: Container[str], now: datetime, retention: timedelta) -> list[Action]:
    """Return what to do about tasks that have outlived their time, wherever their runners belong.

    Args:
        tasks: all runner tasks that Batch told of.
        places: the urls that are looked after by `decide`.
        now: the time.
        retention: how long a finished task is kept, to recognise its job.
    """
    overdue: list[Action] = []
    expired: list[Action] = []
    old: list[Action] = []
    for task in tasks:
        if task.state == "running" and task.started_at is not None and task.max_hours is not None:
            if now - task.started_at >= timedelta(hours=task.max_hours) + OVERDUE:
                overdue.append(EndTask(task, "it is past its wall-clock limit"))
        elif task.state == "waiting" and task.notes.url not in places:
            if task.notes.expires_at is not None and now >= task.notes.expires_at:
                expired.append(EndTask(task, "its registration has expired"))
        elif task.state == "finished" and task.ended_at is not None and now - task.ended_at >= retention:
            old.append(DeleteTask(task, "it is past its retention"))
    return overdue + expired + old[:DELETIONS]


def _tiers(*tiers: Sequence[Runner | TaskState]) -> Sequence[Sequence[Runner | TaskState]]:
    return tiers


class _Runners:
    """What GitHub's list of runners says about our tasks, and about runners of others."""

    def __init__(self, view: ScopeView, now: datetime) -> None:
        self._now = now
        self._own: dict[str, Runner] = {}
        own = {task.task_id for task in view.tasks}
        foreign = []
        for runner in view.runners:
            task = task_of_runner(runner.name)
            if task in own:
                # A try that got no further than its registration leaves a second one that never comes online.
                if runner.online or task not in self._own:
                    self._own[task] = runner
            elif runner.online and not runner.busy:
                foreign.append(runner)
        self.foreign = foreign

    def may_serve(self, task: TaskState) -> bool:
        """Whether a running task is a runner without a job, or may yet become one."""
        if task.state != "running":
            return False
        runner = self._own.get(task.task_id)
        if runner is not None and runner.online:
            return not runner.busy
        return task.started_at is None or self._now - task.started_at < STARTING

    def life(self, task: TaskState) -> timedelta:
        """How much longer a waiting task can become a runner; one that does not say, for ever."""
        if (
            task.notes.registration == "jit"
            and task.task_id not in self._own
            and self._now - task.created_at >= SETTLED
        ):
            return timedelta(0)
        return task.notes.expires_at - self._now if task.notes.expires_at is not None else timedelta.max


class _History:
    """The tasks that each job has had."""

    def __init__(self, tasks: Iterable[TaskState]) -> None:
        self._tasks: dict[str, list[TaskState]] = {}
        for task in tasks:
            self._tasks.setdefault(task.job_key, []).append(task)

    def of(self, job: WaitingJob) -> Sequence[TaskState]:
        """Every known task that was started for the job."""
        return self._tasks.get(job.job_key, [])

    def next(self, job: WaitingJob) -> int:
        """The number of the job's next task."""
        return max((replacement_of(task.task_id) + 1 for task in self.of(job)), default=0)


def _start(job: WaitingJob, history: _History, now: datetime) -> list[Action]:
    """Start a runner for a job that nothing will serve, unless that was tried often enough."""
    tasks = history.of(job)
    failed = [task for task in tasks if task.failed]
    spent = [task for task in tasks if task.failed or task.ran_a_job]
    if len(failed) > FAILURES or len(spent) >= RUNNERS_PER_JOB:
        last = max((task.ended_at for task in spent if task.ended_at is not None), default=now)
        # Said in the passes after the last one ended, not for as long as the job waits.
        return [GiveUp(job, _given_up(failed, len(spent)))] if now - last < UNWILLING else []
    reason = "no runner was started for it"
    if failed:
        reason = f"its runner ended without a job ({_ended(failed[-1])})"
    elif tasks:
        reason = "its runner is gone"
    return [StartRunner(job, history.next(job), reason)]


def _given_up(failed: Sequence[TaskState], spent: int) -> str:
    last = f", the last one with {_ended(failed[-1])}" if failed else ""
    return f"{spent} runners were started for it, {len(failed)} ended without a job{last}"


def _waits_for(task: TaskState) -> str:
    if task.state == "waiting":
        return f"its runner waits for a free slot on {task.pool}"
    return "its runner has started, and has not taken it yet"


def _ended(task: TaskState) -> str:
    return f"exit code {task.exit_code}" if task.exit_code is not None else "no exit code"


def _removals(view: ScopeView, now: datetime) -> list[Action]:
    """Remove runners of ours whose task is over and which did not take themselves away.

    A runner is ours when it is named like a task that Batch knows; whatever else is registered is left alone.
    """
    over = {
        task.task_id
        for task in view.tasks
        if task.state == "finished" and task.ended_at is not None and now - task.ended_at >= SETTLED
    }
    found = [r for r in view.runners if not r.online and not r.busy and task_of_runner(r.name) in over]
    return [RemoveRunner(view.access, runner, "its task is over") for runner in found[:REMOVALS]]
