"""Which of the runners that a pass would start are started."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.action import (
    Action,
    EndTask,
    Hold,
    Pause,
    ReplaceTask,
    StartRunner,
    Wait,
)
from orchestrator.reconcile.selection import select
from orchestrator.reconcile.view import WaitingJob
from orchestrator.runners.task import TaskState
from tests.builders import settings
from tests.unit.quotas.builders import GPU, job_event, task_of, with_profiles
from tests.unit.runners.fakes import NOW

LIMITED = with_profiles(GPU, RunnerScope="repository", MaxRunnersPerRepository="2")


def waiting(number: int, full_name: str = "acme/app", *, age: float = 10, configured: Settings = LIMITED) -> WaitingJob:
    """Return a job that has waited for some minutes."""
    queued_at = (NOW - timedelta(minutes=age)).isoformat()
    event: WorkflowJobEvent = job_event(number, full_name, "self-hosted", "gpu", created_at=queued_at)
    return WaitingJob(event, configured.profiles[0], frozenset({"self-hosted", "gpu"}))


def start(number: int, full_name: str = "acme/app", **changes: Any) -> StartRunner:
    """Return the start of a job's runner."""
    return StartRunner(waiting(number, full_name, **changes), 0, "no runner was started for it")


def replacement(number: int, full_name: str = "acme/app", *, task: TaskState | None = None) -> ReplaceTask:
    """Return the replacement of a job's task, or of another job's."""
    old = task or task_of(number, full_name, state="waiting")
    return ReplaceTask(old, waiting(number, full_name), 1, "its registration is about to expire")


def selected(*actions: Action, tasks: Sequence[TaskState] = (), configured: Settings | None = None) -> list[Action]:
    """Select, without quotas unless some are given."""
    return select(actions, tasks, configured or settings(), NOW)


def jobs(actions: Sequence[Action]) -> list[int]:
    """Return the jobs whose runners are started or replaced, in this order."""
    return [action.job.event.workflow_job.id for action in actions if isinstance(action, (StartRunner, ReplaceTask))]


class TestTurns:
    """Starts and replacements go by turns between repositories."""

    def test_starts(self) -> None:
        """Repositories take turns, whatever scope decided first; within one the oldest job is first."""
        greedy = [start(number, "acme/greedy", age=60 - number) for number in (1, 2, 3)]
        modest = [start(number, "acme/modest", age=20 - number) for number in (12, 11)]
        assert jobs(selected(*greedy, *modest)) == [1, 11, 2, 12, 3]

    def test_who_has_least(self) -> None:
        """A repository that has no runner goes before one that has some, although its job is younger."""
        tasks = [task_of(8, "acme/greedy"), task_of(9, "acme/greedy")]
        assert jobs(selected(start(1, "acme/greedy", age=60), start(2, "acme/modest"), tasks=tasks)) == [2, 1]

    def test_a_pass_is_not_used_up(self) -> None:
        """A repository with very many jobs does not stand before the others: the time of a pass may not be enough."""
        greedy = [start(number, "acme/greedy", age=60) for number in range(1, 100)]
        assert jobs(selected(*greedy, start(100), start(101)))[:4] == [1, 100, 2, 101]

    def test_replacements(self) -> None:
        """Replacements take turns as well, before all starts."""
        greedy = [replacement(number, "acme/greedy") for number in range(1, 3)]
        found = selected(start(50, age=99), *greedy, replacement(20, "acme/modest"))
        assert jobs(found) == [1, 20, 2, 50]
        assert [type(action) for action in found] == [ReplaceTask] * 3 + [StartRunner]


class TestReports:
    """What is only reported."""

    def test_after_the_starts(self) -> None:
        """Reports come after what starts runners."""
        failing = [Pause([waiting(number, "acme/greedy")], alert=True, reason="they failed") for number in (1, 2)]
        starts = [start(number) for number in (201, 202)]
        assert selected(*failing, *starts) == [*starts, *failing]

    def test_everything_else(self) -> None:
        """What neither starts nor gives up is done as it was decided."""
        end, wait = EndTask(task_of(1), "more runners wait than jobs"), Wait(waiting(2), task_of(2), "no slot")
        assert selected(end, wait) == [end, wait]


class TestQuotas:
    """A pass starts no more runners than a quota allows."""

    def test_held(self) -> None:
        """The oldest jobs are started; all others are reported in one line, with who has the slots."""
        actions = [start(number, age=30 - number) for number in (1, 2, 3, 4)]
        found = selected(*actions, start(9, "acme/other"), tasks=[task_of(7)], configured=LIMITED)
        assert jobs(found) == [9, 1]
        hold = found[-1]
        assert isinstance(hold, Hold)
        assert hold.reason == "acme/app has 2 of 2 runners (MaxRunnersPerRepository): runner-7-1, runner-1-1"
        assert hold.ids == {"job": 2, "repository": "acme/app", "jobs": 3}

    def test_held_jobs_use_up_no_start(self) -> None:
        """Jobs that are held are no starts, and none is left out of the report."""
        held = [start(number, "acme/full", age=60) for number in range(1, 50)]
        tasks = [task_of(70, "acme/full"), task_of(71, "acme/full")]
        found = selected(*held, start(101), start(102), tasks=tasks, configured=LIMITED)
        assert jobs(found) == [101, 102]
        assert isinstance(found[-1], Hold)
        assert len(found[-1].jobs) == 49

    def test_a_replacement_takes_the_slot_of_its_task(self) -> None:
        """A full quota does not keep its own tasks from being replaced."""
        tasks = [task_of(number, state="waiting") for number in (1, 2)]
        found = selected(replacement(1), replacement(2), start(3), tasks=tasks, configured=LIMITED)
        assert jobs(found) == [1, 2]
        assert isinstance(found[-1], Hold)

    def test_a_replacement_for_another_repository(self) -> None:
        """A task that is replaced for another repository's job gives its slot back, and needs one of the other."""
        old = task_of(5, "acme/other", state="waiting")
        tasks = [old, task_of(6, "acme/other"), task_of(7), task_of(8)]
        found = selected(replacement(1, task=old), start(9, "acme/other"), tasks=tasks, configured=LIMITED)
        assert jobs(found) == [9]
        assert isinstance(found[-1], Hold)

    def test_above_the_limit(self) -> None:
        """After a limit was lowered, tasks beyond it are not replaced."""
        tasks = [task_of(number, state="waiting") for number in (1, 2, 3)]
        found = selected(*map(replacement, (1, 2, 3)), tasks=tasks, configured=LIMITED)
        assert len(jobs(found)) == 2

    def test_a_task_that_does_not_say(self) -> None:
        """A task that does not say which job it was started for is replaced within its job's quota."""
        known = task_of(1, state="waiting")
        silent = type(known)(known.task_id, known.pool, known.state, known.created_at)
        assert jobs(selected(replacement(1, task=silent), tasks=[silent], configured=LIMITED)) == [1]

    def test_a_profile(self) -> None:
        """The runners of a profile are shared by turns."""
        configured = with_profiles(GPU | {"maxRunners": 3}, RunnerScope="repository")
        actions = [start(number, "acme/greedy", age=60, configured=configured) for number in range(1, 9)]
        actions += [start(number, "acme/modest", configured=configured) for number in (11, 12)]
        found = selected(*actions, configured=configured)
        assert jobs(found) == [1, 11, 2]
