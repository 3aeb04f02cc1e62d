"""A job that ended without ever having had a runner: if its runner task still waits, it is ended.

Only the job's own tasks are touched, each found by its id. Runners are counted, not bound: where another job took this
job's runner, one waiting task of another job is left over. The control loop ends it, which counts all of them; so a
cancellation costs two or three calls however many tasks wait, and repeating it, here or in another process, changes
nothing.
"""

from typing import Protocol

from orchestrator.config.profiles import Profile
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import TaskState, task_id

# How many replacements of a job's runner are looked for at most. The control loop starts them one after the other.
MOST_REPLACEMENTS = 10


class TasksById(Protocol):
    """The runner tasks on Batch, each asked for by its id."""

    def state(self, pool: str, task_id: str, *, account: str) -> TaskState | None:
        """Return what is known of a task of an account; None if there is none."""

    def end_waiting(self, pool: str, task_id: str, *, account: str) -> bool:
        """End a task of an account that still waits for a node; return False if there is none that does."""


def cancel(tasks: TasksById, event: WorkflowJobEvent, profile: Profile) -> Outcome:
    """End the waiting task of a job that ended without ever having had a runner.

    The task ends but stays known, so that a late or repeated `queued` does not start it again. A task whose container
    starts already is left alone: its runner may serve another job, and leaves by itself if none comes.

    Args:
        tasks: Batch's.
        event: the job.
        profile: the profile that would have served it.

    Raises:
        UpstreamError: Batch does not answer.
    """
    account = event.repository.owner.login
    for replacement in range(MOST_REPLACEMENTS + 1):
        name = task_id(event.workflow_job, replacement)
        if tasks.end_waiting(profile.pool, name, account=account):
            return Outcome(Result.REMOVED, name, profile)
        if tasks.state(profile.pool, name, account=account) is None:
            break
    return Outcome(Result.LEFT, task_id(event.workflow_job), profile)
