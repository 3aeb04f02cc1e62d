"""What is missing and what is left over: demand against supply, scope by scope (pure).

Webhook deliveries make it fast; this makes it correct. The decision compares what GitHub and Batch say now. It does not
use what was delivered, tried or decided before, so the next pass corrects whatever went wrong in between.

Runners are counted, not bound: GitHub gives a job to any idle runner that has all of its labels. So as many jobs as
possible are matched with what could serve them, and only the jobs and tasks that stay unmatched are acted upon.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple

from orchestrator.clock import LONG_AGO
from orchestrator.reconcile.action import (
    Action,
    DeleteTask,
    EndTask,
    Pause,
    RemoveRunner,
    ReplaceTask,
    StartRunner,
    Wait,
)
from orchestrator.reconcile.expiry import EXPIRED, EXPIRES_SOON, MAY_WAIT, has_expired, to_renew, waiting_tasks
from orchestrator.reconcile.findings import JobState, Prospect
from orchestrator.reconcile.matching import assign
from orchestrator.reconcile.view import (
    DELIVERY_EXPECTED_WITHIN,
    REPORT_WAIT_AFTER,
    TASK_SEEN_AFTER,
    ScopeView,
    WaitingJob,
)
from orchestrator.runners.exit_codes import ImageExitCode
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState, replacement_of, task_of_runner

# A container that started this long ago and whose runner is still not online will not become a runner.
RUNNER_START_LIMIT = timedelta(minutes=10)
# The same where it claims its registration: with its image there, it goes on asking for ten minutes (`GHR_CLAIM_WAIT`).
CLAIM_START_LIMIT = timedelta(minutes=15)
# If a job has waited this long beside an idle runner that we did not start, that runner may not take it: the job's
# repository may not be in the runner's group.
IDLE_RUNNER_TRUSTED_FOR = timedelta(minutes=15)
# If a job has waited this long, it no longer counts on a task that waits for a node of another pool than its profile's:
# that pool may get no nodes, while its own does.
OTHER_POOLS_TRUSTED_FOR = timedelta(minutes=15)
# Batch should end a task at its time limit. If the task still runs this long after, we end it.
TIME_LIMIT_GRACE = timedelta(minutes=15)
# How long after the end of its last runner a job gets the next one: after its first runner that ended without a job,
# after its second, and so on. The last pause is repeated for as long as GitHub lists the job as queued, because an
# outage may have been the reason.
PAUSES = (timedelta(0), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=30))
# So many runners of a job that other jobs take are replaced at once; each further one counts like one without a job.
TAKEN_WITHOUT_PAUSE = 6
# A job's first longest pause is an alert for so long, so that a few passes may fail.
ALERT_FOR = timedelta(minutes=15)
# What passes do at most beside what jobs need, so that a mistake stays small. More tasks are deleted in a day than a
# deployment starts.
DELETIONS_PER_DAY = 100_000
REMOVALS_PER_PASS = 60
WAIT_REPORTS_PER_PASS = 10


class Decision(NamedTuple):
    """What was decided about one scope.

    Attributes:
        actions: what to do, what starts runners first.
        prospects: what each queued job can count on, by job key.
    """

    actions: list[Action]
    prospects: Mapping[str, Prospect]


def decide(view: ScopeView, now: datetime) -> Decision:
    """Return what to do in one scope, and what its jobs can count on.

    In which order runners are started, over all scopes, is for `orchestrator.reconcile.selection`.

    Args:
        view: what is known of the scope.
        now: the time.
    """
    runners = _RunnerIndex(view, now)
    starting = [task for task in view.tasks if runners.may_serve(task)]
    waiting = waiting_tasks(view, runners.registered, now)

    jobs = sorted(view.jobs, key=lambda job: job.age(now), reverse=True)
    # What may be queued keeps its own task, so that no other job counts on it, but gets nothing new.
    unserved_keys = {task.job_key for task in (*waiting.valid, *starting, *waiting.expiring, *waiting.expired)}
    assumed = [job for job in view.assumed if job.job_key in unserved_keys]
    # Match waiting tasks before idle runners. A runner that has just taken a job still looks idle. If another job were
    # matched with it, the waiting task that this other job needs would be ended.
    sources: list[TaskState | Runner] = [*waiting.valid, *starting, *runners.foreign]
    assigned = assign(
        [
            *(_demand(job, now) for job in jobs),
            *(_Demand(job, may_use_idle=False) for job in assumed),
        ],
        [[_Supply(source) for source in sources], [_Supply(task, expiring=True) for task in waiting.expiring]],
    )
    history = _History([*view.tasks, *view.others])
    replacements: list[Action] = []
    starts: list[Action] = []
    pauses: list[tuple[WaitingJob, _Attempts]] = []
    wait_reports: list[Action] = []
    for index, job in enumerate(jobs):
        supply = assigned.get(index)
        if supply is None:
            if job.age(now) < DELIVERY_EXPECTED_WITHIN:
                continue
            attempts = _Attempts(history.of(job))
            if now >= attempts.next_at:
                starts.append(StartRunner(job, history.next_replacement(job), attempts.why_another))
            else:
                pauses.append((job, attempts))
        elif isinstance(supply.source, Runner):
            continue
        elif supply.expiring:
            number = history.next_replacement(job)
            replacements.append(ReplaceTask(supply.source, job, number, EXPIRES_SOON))
        elif job.age(now) >= REPORT_WAIT_AFTER:
            wait_reports.append(Wait(job, supply.source, _waits_for(supply.source, view.node_slots)))
    assumed_supplies = [(job, assigned.get(len(jobs) + index)) for index, job in enumerate(assumed)]
    unsure = [
        (job, None if supply is None else supply.source)
        for job, supply in assumed_supplies
        if supply is None or supply.expiring
    ]
    renewed = {task.key: (task, job) for task, job in to_renew(unsure, waiting.expired)}
    replacements += (ReplaceTask(task, job, history.next_replacement(job), MAY_WAIT) for task, job in renewed.values())
    needed = {supply.task_key for supply in assigned.values()}
    actions = [
        *replacements,
        *starts,
        *(EndTask(task, EXPIRED) for task in waiting.expired if task.key not in renewed),
        *(
            EndTask(task, "more runners wait than jobs")
            for task in (*waiting.valid, *waiting.expiring)
            if view.complete and task.key not in needed and now - task.created_at >= TASK_SEEN_AFTER
        ),
        *_run_again(view, needed, runners, now),
        *_removals(view, now),
        *_report(pauses, now),
        *wait_reports[:WAIT_REPORTS_PER_PASS],
    ]
    prospects = {
        job.job_key: _unserved(job, _Attempts(history.of(job)), now)
        if supply is None
        else _served(job, supply.source, view.node_slots, now)
        for job, supply in ((job, assigned.get(index)) for index, job in enumerate(jobs))
    }
    return Decision(actions, prospects)


def clean_up(
    tasks: Iterable[TaskState], scopes: Container[str], now: datetime, retention: timedelta, period: timedelta
) -> list[Action]:
    """Return what to do about tasks that have outlived their time, in whatever scope their runners register.

    Args:
        tasks: all runner tasks that Batch listed.
        scopes: the addresses of the scopes that `decide` looks after.
        now: the time.
        retention: how long a finished task is kept, to recognise its job.
        period: the time between two passes.
    """
    overdue: list[Action] = []
    expired: list[Action] = []
    old: list[Action] = []
    for task in tasks:
        if task.state == "running" and task.started_at is not None and task.max_hours is not None:
            if now - task.started_at >= timedelta(hours=task.max_hours) + TIME_LIMIT_GRACE:
                overdue.append(EndTask(task, "it is past its wall-clock limit"))
        elif task.state == "waiting" and task.notes.url not in scopes:
            if has_expired(task, now):
                expired.append(EndTask(task, EXPIRED))
        elif task.state == "finished" and task.ended_at is not None and now - task.ended_at >= retention:
            old.append(DeleteTask(task, "it is past its retention"))
    return overdue + expired + old[: ceil(DELETIONS_PER_DAY * (period / timedelta(days=1)))]


def may_start(task: TaskState, now: datetime) -> bool:
    """Whether a task that runs, and whose runner is not online, may still become one."""
    limit = CLAIM_START_LIMIT if task.notes.registration == "claim" else RUNNER_START_LIMIT
    return task.started_at is None or now - task.started_at < limit


@dataclass(frozen=True)
class _Supply:
    """What may take one job.

    Attributes:
        source: an idle runner that we did not start, or a task of ours that is or becomes a runner.
        expiring: whether the task's registration is about to expire, so that the task must be replaced if needed.
    """

    source: TaskState | Runner
    expiring: bool = False

    @property
    def made_for(self) -> str | None:
        """The key of the job that a task was started for."""
        return self.source.job_key if isinstance(self.source, TaskState) else None

    @property
    def task_key(self) -> tuple[str, str, str] | None:
        """Tells a task from all others."""
        return self.source.key if isinstance(self.source, TaskState) else None


@dataclass(frozen=True)
class _Demand:
    """A job that needs a runner.

    Attributes:
        job: the job.
        may_use_idle: whether an idle runner that we did not start is still expected to take it.
        pool: the only pool whose waiting tasks count for it; None if those of all pools do.
    """

    job: WaitingJob
    may_use_idle: bool
    pool: str | None = None

    @property
    def key(self) -> str:
        """Names the job."""
        return self.job.job_key

    @property
    def kind(self) -> tuple[frozenset[str], frozenset[str], bool, str | None]:
        """Everything that `accepts` depends on."""
        return self.job.labels, self.job.closed_groups, self.may_use_idle, self.pool

    def accepts(self, supply: _Supply, /) -> bool:
        """Whether this runner, or the runner that this task becomes, is expected to take the job."""
        source = supply.source
        if isinstance(source, Runner):
            return self.may_use_idle and self.job.labels <= source.labels
        if self.pool not in (None, source.pool) and source.state == "waiting":
            return False
        return (source.notes.group or "").lower() not in self.job.closed_groups and self.job.labels <= source.labels


def _demand(job: WaitingJob, now: datetime) -> _Demand:
    """Return what a queued job needs; the longer it has waited, the less it counts on."""
    age = job.age(now)
    pool = None if age < OTHER_POOLS_TRUSTED_FOR else job.profile.pool
    return _Demand(job, may_use_idle=age < IDLE_RUNNER_TRUSTED_FOR, pool=pool)


class _RunnerIndex:
    """What GitHub's list of runners says about our tasks, and about runners that we did not start.

    Attributes:
        foreign: the idle ones that we did not start.
    """

    def __init__(self, view: ScopeView, now: datetime) -> None:
        self._now = now
        self._by_task: dict[str, Runner] = {}
        self.foreign: list[Runner] = []
        known_tasks = {task.task_id for task in view.tasks}
        for runner in view.runners:
            task = task_of_runner(runner.name)
            if task in known_tasks:
                # If an attempt to create the task failed after its registration, the next one registered again. The
                # first registration never comes online.
                if runner.online or task not in self._by_task:
                    self._by_task[task] = runner
            elif runner.online and not runner.busy:
                self.foreign.append(runner)

    def of(self, task: TaskState) -> Runner | None:
        """The task's runner, if it is registered."""
        return self._by_task.get(task.task_id)

    def may_serve(self, task: TaskState) -> bool:
        """Whether a running task is a runner without a job, or may yet become one."""
        if task.state != "running":
            return False
        runner = self.of(task)
        if runner is not None and runner.online:
            return not runner.busy
        return may_start(task, self._now)

    @property
    def registered(self) -> Collection[str]:
        """The ids of the tasks that GitHub knows a runner of."""
        return self._by_task.keys()


class _History:
    """The tasks that each job has had."""

    def __init__(self, tasks: Iterable[TaskState]) -> None:
        self._tasks: dict[str, list[TaskState]] = {}
        for task in tasks:
            self._tasks.setdefault(task.job_key, []).append(task)

    def of(self, job: WaitingJob) -> Sequence[TaskState]:
        """Every known task that was started for the job."""
        return self._tasks.get(job.job_key, [])

    def next_replacement(self, job: WaitingJob) -> int:
        """The number of the job's next task, see `task_id`."""
        return max((replacement_of(task.task_id) + 1 for task in self.of(job)), default=0)


class _Attempts:
    """The runners that one job has had, none of which serves it.

    Args:
        tasks: those that were started for it.
    """

    def __init__(self, tasks: Sequence[TaskState]) -> None:
        self._tasks = tasks
        self._failed = sorted((task for task in tasks if task.failed), key=lambda task: task.end)
        taken = sum(task.ran_a_job for task in tasks)
        self._unsuccessful = len(self._failed) + max(0, taken - TAKEN_WITHOUT_PAUSE)
        used = [task.end for task in tasks if task.failed or task.ran_a_job]
        self._last_end = max(used, default=LONG_AGO)

    @property
    def next_at(self) -> datetime:
        """When the job gets its next runner."""
        pause = PAUSES[min(self._unsuccessful, len(PAUSES)) - 1] if self._unsuccessful else timedelta(0)
        return self._last_end + pause

    @property
    def why_another(self) -> str:
        """Why the job gets another runner."""
        if self._failed:
            return f"its runner ended without a job ({self._failed[-1].ending})"
        return "its runner is gone" if self._tasks else "no runner was started for it"

    @property
    def summary(self) -> str:
        """What became of the job's runners, and when the next one is started."""
        last = f", the last one with {self._failed[-1].ending}" if self._failed else ""
        used = sum(task.failed or task.ran_a_job for task in self._tasks)
        return (
            f"{used} runners were started for it, {len(self._failed)} ended without a job{last}; "
            f"the next one is started at {self.next_at.astimezone(UTC):%H:%M} UTC or soon after"
        )

    def is_alert(self, now: datetime) -> bool:
        """Whether the job has just come to its longest pause."""
        return self._unsuccessful == len(PAUSES) and now - self._last_end < ALERT_FOR


def _report(pauses: Sequence[tuple[WaitingJob, _Attempts]], now: datetime) -> list[Action]:
    """Return one report for all jobs whose next runner is started later, about one that is an alert if there is any."""
    ordered = sorted(pauses, key=lambda pause: not pause[1].is_alert(now))
    return [Pause([job for job, _ in ordered], attempts.is_alert(now), attempts.summary) for _, attempts in ordered[:1]]


def _unserved(job: WaitingJob, attempts: _Attempts, now: datetime) -> Prospect:
    """Return what a job can count on that nothing serves."""
    young_for = DELIVERY_EXPECTED_WITHIN - max(job.age(now), timedelta(0))
    if young_for > timedelta(0):
        reason = "its delivery, or its request in the queue, is probably still being handled"
        return Prospect(JobState.DELIVERY_EXPECTED, reason, now + young_for)
    if now >= attempts.next_at:
        return Prospect(JobState.NO_TIME, attempts.why_another)
    return Prospect(JobState.PAUSED, attempts.summary, attempts.next_at)


def _served(job: WaitingJob, source: TaskState | Runner, node_slots: Mapping[str, int], now: datetime) -> Prospect:
    """Return what a job can count on that something serves."""
    if isinstance(source, Runner):
        reason = f"the runner {source.name} is idle, and was not started here: it is expected to take the job"
        return Prospect(JobState.IDLE_RUNNER, reason, now + IDLE_RUNNER_TRUSTED_FOR - max(job.age(now), timedelta(0)))
    state = JobState.WAITS_FOR_SLOT if source.state == "waiting" else JobState.RUNNER_STARTING
    return Prospect(state, _waits_for(source, node_slots), task=source.task_id)


def _waits_for(task: TaskState, node_slots: Mapping[str, int]) -> str:
    if task.state != "waiting":
        return "its runner has started, and has not taken it yet"
    slots = node_slots.get(task.pool, task.slots)
    if task.slots > slots:
        return f"its runner needs {task.slots} slots, and a node of {task.pool} has {slots}"
    return f"its runner waits for a free slot on {task.pool}"


def _run_again(view: ScopeView, needed: Container[object], runners: _RunnerIndex, now: datetime) -> Iterator[Action]:
    """End the spare tasks that Batch ran again after their node was lost, and whose job does not wait any more.

    The runner may get a job at this moment. So it is removed from GitHub, which refuses if it has one; its container
    then ends by itself. Only a task whose runner has had time to come online, and has not, is ended.
    """
    if not view.complete:
        return
    queued = {job.job_key for job in view.jobs}
    reason = "Batch ran it again after its node was lost, and its job no longer waits"
    for task in view.tasks:
        if task.state == "running" and task.runs_before and task.key not in needed and task.job_key not in queued:
            runner = runners.of(task)
            if runner is not None and runner.busy:
                continue
            if runner is not None and runner.online:
                yield RemoveRunner(view.access, runner, reason)
            elif not may_start(task, now):
                yield EndTask(task, reason, view.access)


def _removals(view: ScopeView, now: datetime) -> list[Action]:
    """Remove our runners that are offline and still registered, where their task is over or has another runner online.

    A runner is ours if it is named like a task that Batch knows. All other runners are left alone. A task that claims
    its registration has two where an answer was lost, or where Batch ran the task again: one of them never comes back.
    Which one is known when the last start is long ago: GitHub notices late that the runner of a lost node is gone.

    A runner that is online is removed only where the task's container found its claim used: it runs somewhere else.
    """
    over = {
        task.task_id
        for task in view.tasks
        if task.state == "finished" and task.ended_at is not None and now - task.ended_at >= TASK_SEEN_AFTER
    }
    claiming = {
        task.task_id
        for task in view.tasks
        if task.state == "running" and task.notes.registration == "claim" and not may_start(task, now)
    }
    doubled = claiming & {task_of_runner(runner.name) for runner in view.runners if runner.online}
    stolen = {
        task.task_id for task in view.tasks if task.state == "finished" and task.exit_code == ImageExitCode.CLAIM_USED
    }
    reasons = (
        dict.fromkeys(over, "its task is over")
        | dict.fromkeys(doubled, "its task has another runner")
        | dict.fromkeys(stolen, "its claim was used by somebody else")
    )
    removable = [
        (runner, reason)
        for runner in view.runners
        if not runner.busy
        and (reason := reasons.get(task := task_of_runner(runner.name) or ""))
        and (not runner.online or task in stolen)
    ]
    return [RemoveRunner(view.access, runner, reason) for runner, reason in removable[:REMOVALS_PER_PASS]]
