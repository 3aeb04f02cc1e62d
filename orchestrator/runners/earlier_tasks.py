"""What became of the tasks that a job had before: whether it has a runner, or needs another one."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.jobs.event import WorkflowJob
from orchestrator.runners.task import TaskState, task_id

# One job has fewer tasks: GitHub lets it wait for a day, and a pass starts one every half hour.
MOST_TASKS = 100

# Returns what Batch knows of a task; takes the task's id. None if there is none.
type TaskLookup = Callable[[str], TaskState | None]


@dataclass(frozen=True)
class EarlierTasks:
    """The tasks of one job, from a number on.

    Attributes:
        last: the one that was looked at last: the first that waits or runs, else the latest.
        next_number: the number of the replacement after it.
    """

    last: TaskState
    next_number: int

    @property
    def lives(self) -> bool:
        """Whether the job has its runner: a task of it waits or runs."""
        return self.last.state != "finished"

    @property
    def story(self) -> str:
        """What became of the last task, for the operator who reads the answer."""
        return f"{self.last.task_id} {_became(self.last)}"


def earlier_tasks(lookup: TaskLookup, job: WorkflowJob, first: int) -> EarlierTasks | None:
    """Look at the tasks of a job, one call each, up to one that waits or runs; None if there are none.

    Args:
        lookup: asks Batch.
        job: the job.
        first: the number of the replacement to begin with.

    Raises:
        UpstreamError: Batch does not tell.
    """
    found: EarlierTasks | None = None
    for number in range(first, first + MOST_TASKS):
        state = lookup(task_id(job, number))
        if state is None:
            break
        found = EarlierTasks(state, number + 1)
        if found.lives:
            break
    return found


def _became(task: TaskState) -> str:
    if task.state == "waiting":
        return "waits for a free slot"
    if task.state == "running":
        return "runs"
    if task.ran_a_job:
        return "ran a job, perhaps another one"
    if task.ended_by_request:
        return "was ended on request"
    return f"ended without a job: {task.ending}"
