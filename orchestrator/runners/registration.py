"""How a runner's task comes by its registration: the seam. The strategies are in `orchestrator.github.registrars`."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.runners.scope import ScopeAccess


@dataclass(frozen=True)
class Registration:
    """What the runner image needs to become a runner.

    Attributes:
        environment: for the container; secret.
        expires_at: until when the runner can start with it.
        runner_id: GitHub's id, where the runner is registered already.
    """

    environment: Mapping[str, str] = field(repr=False)
    expires_at: datetime
    runner_id: int | None = None


class Registrar(Protocol):
    """One way to a registration."""

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Return a registration for one runner.

        Raises:
            RunnerNameTaken: The name is in use.
            UpstreamError: GitHub gives none.
        """

    def withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        """Undo a registration that no task will use.

        Raises:
            UpstreamError: GitHub does not answer.
        """


def another_name(name: str) -> str:
    """Return a name for the same runner that is not taken, at most 64 characters like the first."""
    return f"{name[:58]}-{secrets.token_hex(2)}"
