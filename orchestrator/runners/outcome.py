"""What was done about a job's runner (pure)."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.config.profiles import Profile
from orchestrator.result import Result

type OutcomeResult = Literal[
    Result.CREATED, Result.EXISTS, Result.REMOVED, Result.LEFT, Result.GONE, Result.REFUSED, Result.WAITS
]


@dataclass(frozen=True)
class Outcome:
    """What was done about a job.

    Attributes:
        result: the runner task was created, existed already, was removed, or is left alone; or nothing was done: the
            job is gone, may have no runner, or has to wait for others.
        task_id: the task.
        profile: the profile that serves the job, or would have.
        reason: why, where the result alone does not say it.
    """

    result: OutcomeResult
    task_id: str
    profile: Profile
    reason: str | None = None

    @property
    def pool(self) -> str:
        """The pool of the task."""
        return self.profile.pool
