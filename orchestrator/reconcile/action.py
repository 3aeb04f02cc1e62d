"""What a pass may do, as values (pure).

Each kind of action has a name. Each action has a reason, and the ids of what it is about, for the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.reconcile.view import WaitingJob
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState


@dataclass(frozen=True)
class StartRunner:
    """Start a runner for a job."""

    name: ClassVar[str] = "start runner"
    job: WaitingJob
    replacement: int
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return self.job.ids


@dataclass(frozen=True)
class ReplaceTask:
    """Start a runner for a job, then end the waiting task that it replaces."""

    name: ClassVar[str] = "replace task"
    task: TaskState
    job: WaitingJob
    replacement: int
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {"task": self.task.task_id, **self.job.ids}


@dataclass(frozen=True)
class EndTask:
    """End a task: one that waits for a slot, or one that runs and should not.

    Attributes:
        task: the task.
        reason: why it is ended.
        unless_online: where its runner registers, if the task is to be left when its runner has come online.
    """

    name: ClassVar[str] = "end task"
    task: TaskState
    reason: str
    unless_online: ScopeAccess | None = None

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {"task": self.task.task_id, "pool": self.task.pool}


@dataclass(frozen=True)
class DeleteTask:
    """Delete a finished task from Batch."""

    name: ClassVar[str] = "delete task"
    task: TaskState
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {"task": self.task.task_id, "pool": self.task.pool}


@dataclass(frozen=True)
class RemoveRunner:
    """Remove one of our runners from GitHub."""

    name: ClassVar[str] = "remove runner"
    access: ScopeAccess
    runner: Runner
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {"runner": self.runner.name}


@dataclass(frozen=True)
class Pause:
    """Report jobs whose next runner is started after a pause, because those before it ended without serving them.

    Attributes:
        jobs: those of one scope, the one that waits longest first.
        alert: whether a person should look: a job has just come to its longest pause.
        reason: what became of the first job's runners, and when its next one is started.
    """

    name: ClassVar[str] = "pause"
    jobs: Sequence[WaitingJob]
    alert: bool
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {**self.jobs[0].ids, "jobs": len(self.jobs)}


@dataclass(frozen=True)
class Wait:
    """Report what a job has been waiting for, for a long time; nothing else is to be done."""

    name: ClassVar[str] = "wait"
    job: WaitingJob
    task: TaskState
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about."""
        return {"task": self.task.task_id, "pool": self.task.pool, **self.job.ids}


@dataclass(frozen=True)
class Hold:
    """Report the jobs that a quota holds, the oldest first."""

    name: ClassVar[str] = "hold"
    jobs: Sequence[WaitingJob]
    reason: str

    @property
    def ids(self) -> Mapping[str, object]:
        """What the action is about: the job that waits longest, and how many there are."""
        return {**self.jobs[0].ids, "jobs": len(self.jobs)}


type Action = StartRunner | ReplaceTask | EndTask | DeleteTask | RemoveRunner | Pause | Wait | Hold
