"""A task's id, and how it ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.jobs.event import WorkflowJob
from orchestrator.runners.task import (
    TaskState,
    is_task_id,
    job_key_of,
    replacement_of,
    task_id,
    task_of_runner,
)
from tests.builders import task_state

JOB = WorkflowJob(id=7, run_id=1, run_attempt=2, labels=())


@pytest.mark.parametrize(("replacement", "name"), [(0, "runner-7-2"), (1, "runner-7-2-r1"), (12, "runner-7-2-r12")])
def test_task_ids(replacement: int, name: str) -> None:
    """A task's id tells the job, the attempt and the replacement, and is read back."""
    assert task_id(JOB, replacement) == name
    assert is_task_id(name)
    assert job_key_of(name) == "runner-7-2"
    assert replacement_of(name) == replacement


@pytest.mark.parametrize("name", ["", "runner-7", "runner-7-2-r", "runner-7-2-x1", "my-runner-7-2", "runner-7-2\n"])
def test_ids_of_others(name: str) -> None:
    """What is not named like a runner's task is none."""
    assert not is_task_id(name)
    assert job_key_of(name) == name
    assert replacement_of(name) == 0


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("runner-7-2", "runner-7-2"),
        ("runner-7-2-00ff", "runner-7-2"),
        ("runner-7-2-r3", "runner-7-2-r3"),
        ("runner-7-2-r3-0a1b", "runner-7-2-r3"),
        ("runner-7-2-build", None),
        ("their-vm", None),
    ],
)
def test_runner_names(name: str, task: str | None) -> None:
    """A runner's name leads to its task, also where the name had been taken and got an ending."""
    assert task_of_runner(name) == task


@pytest.mark.parametrize(
    ("state", "ran", "failed"),
    [
        (TaskState("runner-1-1", "p", "waiting", datetime.now(UTC)), False, False),
        (TaskState("runner-1-1", "p", "running", datetime.now(UTC)), False, False),
        (TaskState("runner-1-1", "p", "finished", datetime.now(UTC), exit_code=0), True, False),
        (TaskState("runner-1-1", "p", "finished", datetime.now(UTC), exit_code=75), False, True),
        (TaskState("runner-1-1", "p", "finished", datetime.now(UTC)), False, True),
        (TaskState("runner-1-1", "p", "finished", datetime.now(UTC), ended_by_request=True), False, False),
    ],
)
def test_how_it_ended(state: TaskState, *, ran: bool, failed: bool) -> None:
    """A task ran a job if its exit code says so; it failed if it ended by itself in any other way."""
    assert (state.ran_a_job, state.failed) == (ran, failed)


@pytest.mark.parametrize(
    ("exit_code", "minutes", "ran"),
    [(71, 1, True), (137, 25, True), (None, 25, True), (143, 24, False), (None, 24, False), (75, 25, False)],
)
def test_a_job_that_was_broken_off(exit_code: int | None, minutes: float, *, ran: bool) -> None:
    """A task whose job was broken off is no failure of the job it was started for, as far as one can tell."""
    started = datetime(2026, 11, 25, 12, tzinfo=UTC)
    times = {"started_at": started, "ended_at": started + timedelta(minutes=minutes, seconds=1)}
    state = task_state("runner-1-1", "p", "finished", started, exit_code=exit_code, idle_minutes=5, **times)
    assert (state.ran_a_job, state.failed) == (ran, not ran)


def test_the_images_default_idle_limit() -> None:
    """A task that does not say its idle limit has the image's."""
    started = datetime(2026, 11, 25, 12, tzinfo=UTC)
    for minutes, ran in ((30, False), (31, True)):
        state = task_state("runner-1-1", "p", "finished", started, started_at=started,
                           ended_at=started + timedelta(minutes=minutes))  # fmt: skip
        assert state.ran_a_job is ran


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        ({"exit_code": 75, "failure": "FailureExitCode: it failed"}, "exit code 75"),
        ({"failure": "DiskFull: no space"}, "DiskFull: no space"),
        ({}, "no exit code"),
    ],
)
def test_ending(values: dict[str, Any], ending: str) -> None:
    """The image's exit code says how a task ended; where there is none, Batch does."""
    assert TaskState("runner-1-1", "p", "finished", datetime.now(UTC), **values).ending == ending
