"""The first use of a claim, as the function's storage keeps it (pure).

A record is made once for each start of a task, so Batch may run a task again and its container may claim again. It
holds no secret: of the container's nonce only its digest.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Use(BaseModel):
    """Who has used a claim.

    Attributes:
        nonce: SHA-256 of the container's nonce.
        runner: GitHub's id of the runner that was registered for it; None before that.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    nonce: str
    runner: int | None = None

    @classmethod
    def of(cls, nonce: str, runner: int | None = None) -> Self:
        """Return the use by the container that has made a nonce, with GitHub's id of its runner."""
        return cls(nonce=hashlib.sha256(nonce.encode()).hexdigest(), runner=runner)

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Read a record. What is none counts as the use by somebody else."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return cls(nonce="")

    def encode(self) -> bytes:
        """Return it as it is kept."""
        return self.model_dump_json().encode()

    def is_by_same(self, other: "Use") -> bool:
        """Whether the same container has used it."""
        return hmac.compare_digest(self.nonce.encode(), other.nonce.encode())


def name_of(batch_job: str, task_id: str, started_at: datetime) -> str:
    """Return the name of the record of one start of a task.

    Args:
        batch_job: the Batch job that holds the task.
        task_id: the task's id.
        started_at: when Batch started it.
    """
    return f"{batch_job}/{task_id}/{started_at.astimezone(UTC):%Y-%m-%dT%H-%M-%S.%fZ}.json"
