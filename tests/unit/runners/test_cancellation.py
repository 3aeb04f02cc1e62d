"""A job that ended without ever having had a runner leaves one runner task too many."""

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.result import Result
from orchestrator.runners.cancellation import REMEMBERED_JOBS, Cancellation
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings
from tests.unit.runners.fakes import NOW, OWN, Registry, TaskList, provisioner


class TestAJobThatEndedWithoutARunner:
    """`completed`, and no runner ever had the job."""

    def cancel(self, *states: TaskState, times: int = 1) -> tuple[TaskList, list[Outcome]]:
        """Handle the event; return the tasks and what was done."""
        registry, tasks = Registry(), TaskList()
        tasks.states = {state.task_id: state for state in states}
        event = workflow_job_event(json.dumps(queued_job(action="completed")).encode())
        admission = admit(event, settings())
        assert isinstance(admission, Admitted)
        worker = provisioner(registry, tasks)
        done = [worker.handle(event, admission.profile) for _ in range(times)]
        assert not registry.asked
        assert not tasks.added
        return tasks, done

    def state(self, name: str, state: Any = "waiting", **changes: Any) -> TaskState:
        """Return a task of the pool."""
        return TaskState(name, "batchLinux", state, NOW, notes=TaskNotes(url="u", labels=("a",)), **changes)

    @pytest.mark.parametrize("own", [OWN, f"{OWN}-r2"])
    def test_its_own_task_first(self, own: str) -> None:
        """The job's own waiting task is ended, and no other."""
        tasks, (done,) = self.cancel(self.state("runner-1-1"), self.state(own), self.state("runner-2-1"))
        assert (done.result, done.task_id, done.pool) == (Result.REMOVED, own, "batchLinux")
        assert tasks.ended == [own]

    @pytest.mark.parametrize("taken", [("running", {}), ("finished", {"exit_code": 0})])
    def test_another_took_its_runner(self, taken: tuple[str, dict[str, Any]]) -> None:
        """Where another job has its runner, that one's task is left over: the youngest of the same labels is ended."""
        state, changes = taken
        others = [self.state("runner-1-1"), self.state("runner-2-1")]
        foreign = replace(self.state("runner-3-1"), notes=TaskNotes(url="u", labels=("b",)))
        tasks, (done,) = self.cancel(self.state(OWN, state, **changes), *others, foreign)
        assert (done.result, done.task_id) == (Result.REMOVED, "runner-2-1")
        assert tasks.ended == ["runner-2-1"]

    @pytest.mark.parametrize("own", [None, ("finished", {"exit_code": 75}), ("finished", {"ended_by_request": True})])
    def test_no_runner_was_lost(self, own: tuple[str, dict[str, Any]] | None) -> None:
        """A job whose runner never came leaves nothing over: the tasks of others are left alone."""
        known = [] if own is None else [self.state(OWN, own[0], **own[1])]
        tasks, (done,) = self.cancel(self.state("runner-1-1"), *known)
        assert (done.result, done.task_id) == (Result.LEFT, OWN)
        assert tasks.ended == []

    def test_nothing_waits(self) -> None:
        """A runner that starts already leaves by itself."""
        _, (done,) = self.cancel(self.state(OWN, "running"))
        assert done.result == Result.LEFT

    def test_the_same_delivery_twice(self) -> None:
        """A repeated delivery ends no second task."""
        others = [self.state("runner-1-1"), self.state("runner-2-1")]
        tasks, done = self.cancel(self.state(OWN, "running"), *others, times=2)
        assert [one.result for one in done] == [Result.REMOVED, Result.LEFT]
        assert tasks.ended == ["runner-2-1"]

    def test_memory(self) -> None:
        """Only so many cancelled jobs are remembered."""
        cancellation = Cancellation(TaskList())
        assert all(cancellation._is_first_time(f"runner-{number}-1") for number in range(REMEMBERED_JOBS + 5))
        assert len(cancellation._seen) == REMEMBERED_JOBS
