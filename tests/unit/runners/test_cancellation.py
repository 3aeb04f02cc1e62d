"""A job that ended without ever having had a runner needs its runner task no more."""

import json
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.result import Result
from orchestrator.runners.cancellation import MOST_REPLACEMENTS
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings, task_state
from tests.unit.runners.fakes import NOW, OWN, Registry, TaskList, provisioner


def state(name: str, state: Any = "waiting", **changes: Any) -> TaskState:
    """Return a task of the pool; all are alike."""
    return task_state(name, "batchLinux", state, NOW, url="u", labels=("a",), **changes)


def cancel(*states: TaskState, times: int = 1) -> tuple[TaskList, list[Outcome]]:
    """Handle the event, each time in a process of its own; return the tasks and what was done."""
    registry, tasks = Registry(), TaskList()
    tasks.states = {task.task_id: task for task in states}
    event = workflow_job_event(json.dumps(queued_job(action="completed")).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    done = [provisioner(registry, tasks).handle(event, admission.profile) for _ in range(times)]
    assert not registry.asked
    assert not tasks.added
    return tasks, done


def test_its_own_task() -> None:
    """The job's own waiting task is ended, and no other."""
    tasks, (done,) = cancel(state("runner-1-1"), state(OWN), state(f"{OWN}2"), state("runner-2-1"))
    assert (done.result, done.task_id, done.pool) == (Result.REMOVED, OWN, "batchLinux")
    assert tasks.ended == [OWN]


@pytest.mark.parametrize("before", [("finished", {"exit_code": 75}), ("running", {})])
def test_its_replacement(before: tuple[str, dict[str, Any]]) -> None:
    """Where the first task is over or runs, the waiting one that took its place is ended."""
    first = state(OWN, before[0], **before[1])
    tasks, (done,) = cancel(first, state(f"{OWN}-r1", "finished"), state(f"{OWN}-r2"), state("runner-1-1"))
    assert (done.result, done.task_id) == (Result.REMOVED, f"{OWN}-r2")
    assert tasks.ended == [f"{OWN}-r2"]


@pytest.mark.parametrize(
    "own", [None, ("running", {}), ("finished", {"exit_code": 0}), ("finished", {"exit_code": 75})]
)
def test_no_task_of_others(own: tuple[str, dict[str, Any]] | None) -> None:
    """Where no task of the job waits, tasks of other jobs are left to the control loop, however often it is told."""
    known = [] if own is None else [state(OWN, own[0], **own[1])]
    tasks, done = cancel(state("runner-1-1"), state("runner-2-1"), *known, times=5)
    assert [(found.result, found.task_id) for found in done] == [(Result.LEFT, OWN)] * 5
    assert tasks.ended == []


@pytest.mark.parametrize(
    ("own", "looked_up"), [([], [OWN]), ([state(OWN)], []), ([state(OWN, "running")], [OWN, f"{OWN}-r1"])]
)
def test_what_it_costs(own: list[TaskState], looked_up: list[str]) -> None:
    """Only the job's own tasks are looked up, one more than it has, however many others wait."""
    others = [state(f"runner-{number}-1") for number in range(1, 101)]
    assert cancel(*others, *own)[0].looked_up == looked_up


def test_cancelled_again() -> None:
    """A repeated delivery, here or in another process, ends nothing more."""
    tasks, done = cancel(state(OWN), state("runner-1-1"), times=3)
    assert [found.result for found in done] == [Result.REMOVED, Result.LEFT, Result.LEFT]
    assert tasks.ended == [OWN]


def test_a_task_that_starts_in_between() -> None:
    """A task that starts before it can be ended is left alone."""
    tasks = TaskList()
    tasks.states = {OWN: state(OWN)}
    tasks.starts_before_it_ends = True
    event = workflow_job_event(json.dumps(queued_job(action="completed")).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    done = provisioner(Registry(), tasks).handle(event, admission.profile)
    assert (done.result, tasks.ended) == (Result.LEFT, [])


def test_no_more_tasks_than_a_job_has() -> None:
    """However many tasks a job had, only so many are asked about."""
    names = [OWN, *(f"{OWN}-r{number}" for number in range(1, MOST_REPLACEMENTS + 2))]
    tasks, (done,) = cancel(*(state(name, "finished") for name in names[:-1]), state(names[-1]))
    assert (done.result, tasks.ended) == (Result.LEFT, [])
