"""A job that ended without ever having had a runner leaves one runner task too many: it is ended.

Runners are counted, not bound: GitHub hands a job to any idle runner that matches. So a job that ends after it had a
runner is no reason to end a waiting task, whichever job that task was started for.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from orchestrator.config.profiles import Profile
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import TaskState, task_id

# Cancelled jobs that are remembered, see `Cancellation._is_first_time`.
REMEMBERED_JOBS = 10_000


class WaitingTasks(Protocol):
    """The runner tasks on Batch, as far as they wait for a node."""

    def state(self, pool: str, task_id: str) -> TaskState | None:
        """Return what is known of a task; None if there is none."""

    def waiting(self, pool: str) -> Iterable[TaskState]:
        """Return the tasks that wait for a node, the oldest first."""

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits for a node; return False if there is none that does."""


class Cancellation:
    """Ends the waiting task of a job that needs no runner any more. Safe under threads.

    Args:
        tasks: Batch's.
        lock: makes a lock.
    """

    def __init__(
        self, tasks: WaitingTasks, *, lock: Callable[[], AbstractContextManager[object]] = threading.Lock
    ) -> None:
        self._tasks = tasks
        self._lock = lock()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def cancel(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        """End one waiting task for a job that ended without ever having had a runner: the job's own first.

        The task ends but stays known, so that a late or repeated `queued` does not start it again. A task whose
        container starts already is left alone: its runner may serve another job, and leaves by itself if none comes.

        Raises:
            UpstreamError: Batch does not answer.
        """
        first_task = task_id(event.workflow_job)
        waiting = list(self._tasks.waiting(profile.pool))
        for task in waiting:
            if task.job_key == first_task and self._tasks.end_waiting(profile.pool, task.task_id):
                return Outcome(Result.REMOVED, task.task_id, profile)
        ended = self._cancel_similar(first_task, waiting, profile)
        return Outcome(Result.LEFT, first_task, profile) if ended is None else Outcome(Result.REMOVED, ended, profile)

    def _cancel_similar(self, first_task: str, waiting: Sequence[TaskState], profile: Profile) -> str | None:
        """End the youngest waiting task that is like the job's own, if that one serves or served another job."""
        state = self._tasks.state(profile.pool, first_task)
        if state is None or not (state.state == "running" or state.ran_a_job) or not self._is_first_time(first_task):
            return None
        for task in reversed(waiting):
            alike = (task.notes.url, task.labels) == (state.notes.url, state.labels)
            if alike and self._tasks.end_waiting(task.pool, task.task_id):
                return task.task_id
        return None

    def _is_first_time(self, first_task: str) -> bool:
        """Whether no other task was ended for this job yet, as far as this process knows.

        Two processes that get the same delivery may each end a task; the next pass starts one again.
        """
        with self._lock:
            if first_task in self._seen:
                return False
            self._seen[first_task] = None
            if len(self._seen) > REMEMBERED_JOBS:
                self._seen.popitem(last=False)
            return True
