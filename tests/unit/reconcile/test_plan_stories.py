"""Random stories of one scope: whatever happens, no job is forgotten and nothing is left over."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator.reconcile.action import (
    Action,
    EndTask,
    Pause,
    RemoveRunner,
    ReplaceTask,
    StartRunner,
)
from orchestrator.reconcile.plan import (
    IDLE_RUNNER_TRUSTED_FOR,
    PAUSES,
    RUNNER_START_LIMIT,
    TAKEN_WITHOUT_PAUSE,
    decide,
)
from orchestrator.reconcile.view import DELIVERY_EXPECTED_WITHIN, TASK_SEEN_AFTER, ScopeView, WaitingJob
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.task import TaskState, task_id
from tests.builders import task_state
from tests.fakes import ManualClock
from tests.unit.reconcile.builders import waiting_job

MINUTE = timedelta(minutes=1)
PERIOD = 5 * MINUTE
# How long a registration token is valid.
VALID_FOR = 60 * MINUTE
# The labels of a job decide which runners may take it; no runner of this test serves both.
KINDS = ("ubuntu-latest", "windows-latest")
# Runners that we did not start. The last one is named like one of ours, but its task is not known.
FOREIGN = ("their-vm-1", "their-vm-2", "runner-999-1")
ACME = ScopeAccess(Scope("organization", "acme"), None)

choices = st.integers(0, 11)
counts = st.integers(1, 3)
kinds = st.sampled_from(KINDS)


def chosen[T](candidates: Sequence[T], choice: int) -> T:
    """Return one of the candidates."""
    return candidates[choice % len(candidates)]


@functools.cache
def runner_labels(kind: str) -> frozenset[str]:
    """Return the labels of a runner that serves a kind of job."""
    job = waiting_job(1, "self-hosted", kind, queued_at=None)
    return frozenset(label.lower() for label in job.profile.runner_labels(sorted(job.labels)))


class ScopeStory(RuleBasedStateMachine):
    """One scope: its jobs, tasks and runners, and a pass every five minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(datetime(2026, 11, 25, 12, tzinfo=UTC))
        self.jobs: dict[str, WaitingJob] = {}
        self.tasks: dict[str, TaskState] = {}
        self.runners: dict[str, Runner] = {}
        self.queued = 0
        self.jit = False
        self.complete = True
        self.passes_to_fail = 0

    # What happens

    @initialize(jit=st.booleans())
    def choose_registration(self, *, jit: bool) -> None:
        """Runners register by token when they start, or are registered beforehand."""
        self.jit = jit

    @rule(kind=kinds, count=counts, delivered=st.booleans())
    def queue_jobs(self, kind: str, count: int, *, delivered: bool) -> None:
        """Jobs are queued; their deliveries start runners, or are lost."""
        for _ in range(count):
            self.queued += 1
            job = waiting_job(self.queued, "self-hosted", kind, queued_at=self.clock())
            self.jobs[job.job_key] = job
            if delivered:
                self.start(job, 0)

    @precondition(lambda self: self.jobs)
    @rule(choice=choices, count=counts)
    def cancel_jobs(self, choice: int, count: int) -> None:
        """Jobs are cancelled, or taken by runners that we cannot see."""
        for _ in range(min(count, len(self.jobs))):
            del self.jobs[chosen(list(self.jobs), choice)]

    @precondition(lambda self: self.with_state("waiting"))
    @rule(choice=choices)
    def start_container(self, choice: int) -> None:
        """A waiting task gets a slot."""
        self.change(chosen(self.with_state("waiting"), choice), state="running", started_at=self.clock())

    @precondition(lambda self: self.starting())
    @rule(choice=choices)
    def come_online(self, choice: int) -> None:
        """A container becomes a runner."""
        self.bring_online(chosen(self.starting(), choice))

    @precondition(lambda self: self.takers())
    @rule(choice=choices)
    def take_job(self, choice: int) -> None:
        """An idle runner takes a job, of ours or not."""
        self.take(chosen(self.takers(), choice))

    @precondition(lambda self: self.with_state("running"))
    @rule(choice=choices, dies=st.booleans())
    def end_container(self, choice: int, *, dies: bool) -> None:
        """A container ends, after its job or without one; or it dies, and its runner stays registered."""
        self.finish(chosen(self.with_state("running"), choice), dies=dies)

    @rule(name=st.sampled_from(FOREIGN), kind=kinds, online=st.booleans(), busy=st.booleans())
    def foreign_runner(self, name: str, kind: str, *, online: bool, busy: bool) -> None:
        """A runner that we did not start comes or changes."""
        self.runners[name] = Runner(FOREIGN.index(name), name, online, online and busy, runner_labels(kind))

    @precondition(lambda self: self.runners)
    @rule(choice=choices)
    def forget_runner(self, choice: int) -> None:
        """GitHub removes a runner that is offline."""
        name = chosen(list(self.runners), choice)
        if not self.runners[name].online:
            del self.runners[name]

    @rule(minutes=st.integers(10, 40))
    def fail_every_container(self, minutes: int) -> None:
        """For a while every container fails at once, as with a broken image."""
        for _ in range(minutes):
            for task in self.with_state("waiting"):
                self.change(task, state="running", started_at=self.clock())
            for task in self.starting():
                self.finish(task, dies=False)
            self.next_minute()

    @precondition(lambda self: not self.passes_to_fail)
    @rule()
    def fail_next_pass(self) -> None:
        """GitHub does not answer the next pass."""
        self.passes_to_fail = 1

    @rule(minutes=st.sampled_from((1, 5, 15, 40)), complete=st.booleans())
    def pass_time(self, minutes: int, *, complete: bool) -> None:
        """Time passes, and passes are made, which can ask about all repositories or not."""
        self.complete = complete
        for _ in range(minutes):
            self.next_minute()

    def teardown(self) -> None:
        """In the end everything works: then each job is served, and nothing is left over."""
        self.complete, self.passes_to_fail = True, 0
        for _ in range(150):
            if self.is_over():
                return
            for task in self.with_state("running"):
                runner = self.runners.get(task.task_id)
                if task in self.starting():
                    self.bring_online(task)
                elif runner not in self.takers():
                    self.finish(task, dies=False)
            for task in self.with_state("waiting"):
                self.change(task, state="running", started_at=self.clock())
            for name in self.runners:
                if name not in FOREIGN and self.runners[name] in self.takers():
                    self.take(self.runners[name])
            self.next_minute()
        raise AssertionError("some job is forgotten, or something is left over")

    def is_over(self) -> bool:
        """Whether there is nothing to do."""
        return not self.jobs and not self.with_state("waiting", "running") and set(self.runners) <= set(FOREIGN)

    # A pass

    def next_minute(self) -> None:
        """Move the clock on; every five minutes a pass is made."""
        self.clock.advance(MINUTE)
        if self.clock().minute % 5 == 0:
            if self.passes_to_fail:
                self.passes_to_fail -= 1
            else:
                self.make_pass()

    def make_pass(self) -> None:
        """Decide, check the decision, carry it out, and check that nothing more is to be done."""
        actions, prospects = decide(self.view(), self.clock())
        assert set(prospects) == {job.job_key for job in self.jobs.values()}
        self.check(actions)
        for action in actions:
            self.carry_out(action)
        self.check_what_is_left()
        repeated = decide(self.view(), self.clock()).actions
        assert not [action for action in repeated if isinstance(action, ReplaceTask | EndTask | RemoveRunner)]
        # A job whose next runner comes later still counts as demand: it may take what was started for another job.
        starts = [action for action in repeated if isinstance(action, StartRunner)]
        assert len(starts) <= sum(self.has_to_pause(job) for job in self.jobs.values())

    def view(self) -> ScopeView:
        """Return what GitHub and Batch say."""
        return ScopeView(
            access=ACME,
            jobs=list(self.jobs.values()),
            runners=list(self.runners.values()),
            tasks=list(self.tasks.values()),
            others=(),
            complete=self.complete,
            period=PERIOD,
        )

    def check(self, actions: Sequence[Action]) -> None:
        """Check a decision against what is known."""
        assert all(action.reason for action in actions)
        started_for = [action.job.job_key for action in actions if isinstance(action, StartRunner | ReplaceTask)]
        assert len(set(started_for)) == len(started_for)
        for action in actions:
            if isinstance(action, EndTask | ReplaceTask):
                assert action.task.state == "waiting"
            if isinstance(action, StartRunner):
                assert not self.has_to_pause(action.job)
            if isinstance(action, RemoveRunner):
                assert action.runner.name not in FOREIGN
                assert self.tasks[action.runner.name].state == "finished"
                assert not action.runner.online
            if isinstance(action, Pause):
                assert all(self.has_to_pause(job) for job in action.jobs)
        ended = [action.task for action in actions if isinstance(action, EndTask)]
        assert self.complete or not any(self.is_usable(task) for task in ended)
        for kind in KINDS:
            self.check_kind(kind, actions, [task for task in self.tasks.values() if task not in ended])

    def check_kind(self, kind: str, actions: Sequence[Action], kept: Iterable[TaskState]) -> None:
        """Check a decision about the jobs of one kind.

        Args:
            kind: which jobs.
            actions: the decision.
            kept: the tasks that are not ended.
        """
        starts = [a for a in actions if isinstance(a, StartRunner) and kind in a.job.labels]
        reported = [job for a in actions if isinstance(a, Pause) for job in a.jobs if kind in job.labels]
        lacking = self.lacking(kind, self.tasks.values())
        # Never more starts than jobs without supply; nothing that a job needs is ended.
        assert len(starts) <= lacking
        assert self.lacking(kind, kept) == lacking
        # A job without supply is left to its delivery, or its pause is reported.
        jobs = [job for job in self.jobs.values() if kind in job.labels]
        in_flight = [job for job in jobs if job.age(self.clock()) < DELIVERY_EXPECTED_WITHIN]
        assert lacking - len(starts) <= len(in_flight) + len(reported)

    def check_what_is_left(self) -> None:
        """Check the tasks that wait when a decision was carried out."""
        assert all(self.is_usable(task) for task in self.with_state("waiting"))
        # What is needed can still become a runner if the next pass fails.
        window = self.clock() + 2 * PERIOD
        lasting = [
            t
            for t in self.tasks.values()
            if t.state != "waiting" or (t.notes.expires_at and t.notes.expires_at > window)
        ]
        for kind in KINDS:
            assert self.lacking(kind, lasting) == self.lacking(kind, self.tasks.values())
            waiting = [task for task in self.with_state("waiting") if kind in task.labels]
            seen = [task for task in waiting if self.clock() - task.created_at >= TASK_SEEN_AFTER]
            assert not self.complete or len(seen) <= sum(kind in job.labels for job in self.jobs.values())

    def lacking(self, kind: str, tasks: Iterable[TaskState]) -> int:
        """Return how many jobs of a kind have no supply, with these tasks.

        Jobs that wait for long beside an idle foreign runner do not count on it.
        """
        ages = [job.age(self.clock()) for job in self.jobs.values() if kind in job.labels]
        old = sum(age >= IDLE_RUNNER_TRUSTED_FOR for age in ages)
        own = sum(self.is_usable(task) for task in tasks if kind in task.labels)
        foreign = sum(self.is_idle(self.runners[name]) for name in self.foreign() if kind in self.runners[name].labels)
        return max(0, old - own) + max(0, len(ages) - old - foreign - max(0, own - old))

    def carry_out(self, action: Action) -> None:
        """Do what was decided, as Batch and GitHub would."""
        if isinstance(action, StartRunner | ReplaceTask):
            self.start(action.job, action.replacement)
        if isinstance(action, EndTask | ReplaceTask):
            self.change(action.task, state="finished", ended_at=self.clock(), ended_by_request=True)
        if isinstance(action, RemoveRunner):
            del self.runners[action.runner.name]

    # What is known

    def with_state(self, *states: str) -> list[TaskState]:
        """Return the tasks of some states."""
        return [task for task in self.tasks.values() if task.state in states]

    def starting(self) -> list[TaskState]:
        """Return the running tasks that may still become a runner."""
        return [
            task
            for task in self.with_state("running")
            if task.notes.expires_at is not None
            and task.notes.expires_at > self.clock()
            and (not self.runners[task.task_id].online if task.task_id in self.runners else not self.jit)
        ]

    def takers(self) -> list[Runner]:
        """Return the idle runners that some job may go to."""
        return [
            runner
            for runner in self.runners.values()
            if self.is_idle(runner) and any(job.labels <= runner.labels for job in self.jobs.values())
        ]

    def foreign(self) -> list[str]:
        """Return the names of the foreign runners that there are."""
        return [name for name in FOREIGN if name in self.runners]

    def is_idle(self, runner: Runner) -> bool:
        """Whether a runner takes a job at once."""
        return runner.online and not runner.busy

    def is_usable(self, task: TaskState) -> bool:
        """Whether a task is a runner without a job, or may become one."""
        runner = self.runners.get(task.task_id)
        if task.state == "waiting":
            forgotten = (
                task.notes.registration == "jit"
                and runner is None
                and self.clock() - task.created_at >= TASK_SEEN_AFTER
            )
            return task.notes.expires_at is not None and task.notes.expires_at > self.clock() and not forgotten
        if task.state == "running" and task.started_at is not None:
            if runner is not None and runner.online:
                return not runner.busy
            return self.clock() - task.started_at < RUNNER_START_LIMIT
        return False

    def used(self, job: WaitingJob) -> list[TaskState]:
        """Return the tasks of a job that ran a job, or failed."""
        tasks = [task for task in self.tasks.values() if task.job_key == job.job_key]
        return [task for task in tasks if task.failed or task.ran_a_job]

    def has_to_pause(self, job: WaitingJob) -> bool:
        """Whether the last runner of a job ended less than its pause ago."""
        used = self.used(job)
        failed = sum(task.failed for task in used)
        unsuccessful = failed + max(0, len(used) - failed - TAKEN_WITHOUT_PAUSE)
        pause = PAUSES[min(unsuccessful, len(PAUSES)) - 1] if unsuccessful else timedelta(0)
        return any(task.ended_at and self.clock() - task.ended_at < pause for task in used)

    # How it changes

    def start(self, job: WaitingJob, replacement: int) -> None:
        """Create a task, and register its runner where that is done beforehand."""
        name = task_id(job.event.workflow_job, replacement)
        assert name not in self.tasks
        kind = next(kind for kind in KINDS if kind in job.labels)
        now = self.clock()
        self.tasks[name] = task_state(
            name,
            job.profile.pool,
            "waiting",
            now,
            labels=tuple(runner_labels(kind)),
            expires_at=now + VALID_FOR,
            registration="jit" if self.jit else "token",
        )
        if self.jit:
            self.runners[name] = Runner(100, name, online=False, busy=False, labels=runner_labels(kind))

    def change(self, task: TaskState, **changes: object) -> None:
        """Change a task."""
        self.tasks[task.task_id] = replace(task, **changes)  # type: ignore[arg-type]

    def bring_online(self, task: TaskState) -> None:
        """Register a task's runner, and let it wait for jobs."""
        self.runners[task.task_id] = Runner(100, task.task_id, online=True, busy=False, labels=task.labels)

    def take(self, runner: Runner) -> None:
        """Give a runner the first job that it may take."""
        key = next(key for key, job in self.jobs.items() if job.labels <= runner.labels)
        del self.jobs[key]
        self.runners[runner.name] = replace(runner, busy=True)

    def finish(self, task: TaskState, *, dies: bool) -> None:
        """End a container."""
        runner = self.runners.get(task.task_id)
        ran_a_job = runner is not None and runner.busy and not dies
        self.change(task, state="finished", ended_at=self.clock(), exit_code=0 if ran_a_job else 75)
        if runner is not None:
            if dies or not runner.online:
                self.runners[task.task_id] = replace(runner, online=False, busy=False)
            else:
                del self.runners[task.task_id]


TestScopeStory = ScopeStory.TestCase
TestScopeStory.settings = settings(max_examples=80, stateful_step_count=40, derandomize=True)
