"""What was done about a job's runner (pure)."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.config.profiles import Profile
from orchestrator.result import Result


@dataclass(frozen=True)
class Outcome:
    """What was done about a job.

    Attributes:
        result: the runner task was created, existed already, was removed, or is left alone; or the job is gone and
            needs none.
        task_id: the task.
        profile: the profile that serves the job, or would have.
    """

    result: Literal[Result.CREATED, Result.EXISTS, Result.REMOVED, Result.LEFT, Result.GONE]
    task_id: str
    profile: Profile

    @property
    def pool(self) -> str:
        """The pool of the task."""
        return self.profile.pool
