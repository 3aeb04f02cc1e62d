"""Tasks whose registration runs out while they wait for a slot: they are replaced, or ended (pure).

A registration token is good for an hour, and GitHub forgets a JIT runner that never connects. Where containers claim
their registration when they start, no task says that it expires, and nothing here applies.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.reconcile.view import TASK_SEEN_AFTER, ScopeView, WaitingJob
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState

EXPIRED = "its registration has expired"
EXPIRES_SOON = "its registration is about to expire"
MAY_WAIT = "its registration is about to expire, and its job may still wait"


@dataclass
class WaitingTasks:
    """The waiting tasks of a scope.

    Attributes:
        valid: those that can still become runners.
        expiring: those whose registration is about to expire.
        expired: those that become no runners.
    """

    valid: list[TaskState] = field(default_factory=list)
    expiring: list[TaskState] = field(default_factory=list)
    expired: list[TaskState] = field(default_factory=list)


def waiting_tasks(view: ScopeView, registered: Container[str], now: datetime) -> WaitingTasks:
    """Return the waiting tasks of a scope, by what becomes of their registration.

    Args:
        view: what is known of the scope.
        registered: the ids of the tasks that GitHub knows a runner of.
        now: the time.
    """
    found = WaitingTasks()
    window = 2 * view.period + timedelta(minutes=2)  # so that one pass may fail
    for task in view.tasks:
        if task.state != "waiting":
            continue
        remaining = _remaining(task, view, registered, now)
        if remaining > window:
            found.valid.append(task)
        elif remaining > timedelta(0):
            found.expiring.append(task)
        else:
            found.expired.append(task)
    return found


def has_expired(task: TaskState, now: datetime) -> bool:
    """Whether a waiting task can no longer register, as far as it says itself."""
    return task.notes.expires_at is not None and now >= task.notes.expires_at


def to_renew(
    jobs: Iterable[tuple[WaitingJob, TaskState | Runner | None]], expired: Iterable[TaskState]
) -> Iterator[tuple[TaskState, WaitingJob]]:
    """Yield the tasks to replace for jobs that may be queued: their registration is about to expire, or has expired.

    Args:
        jobs: each with the task that serves it and is about to expire; None if nothing serves it.
        expired: the tasks that become no runners.
    """
    expired_of = {task.job_key: task for task in expired}
    for job, source in jobs:
        task = expired_of.get(job.job_key) if source is None else source
        if isinstance(task, TaskState):
            yield task, job


def _remaining(task: TaskState, view: ScopeView, registered: Container[str], now: datetime) -> timedelta:
    """How much longer a waiting task can become a runner; without limit if the task does not say."""
    if (
        view.all_runners
        and task.notes.registration == "jit"
        and task.task_id not in registered
        and now - task.created_at >= TASK_SEEN_AFTER
    ):
        return timedelta(0)
    return task.notes.expires_at - now if task.notes.expires_at is not None else timedelta.max
