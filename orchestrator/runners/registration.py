"""How a runner gets its registration: the port. `orchestrator.github.registrars` has GitHub's two ways."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.config.profiles import RegistrationKind
from orchestrator.runners.scope import ScopeAccess


@dataclass(frozen=True)
class Registration:
    """What a container needs to become a runner.

    Attributes:
        kind: what the secret is.
        secret: a registration token, a JIT configuration, or a claim to one.
        expires_at: until when the runner can start with it; None if that needs no attention.
        runner_id: GitHub's id, where the runner is registered already.
    """

    kind: RegistrationKind
    secret: str = field(repr=False)
    expires_at: datetime | None = None
    runner_id: int | None = None


class Registrar(Protocol):
    """One way to a registration."""

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Return a registration for one runner.

        Args:
            access: the scope that it registers in.
            name: the runner's name.
            labels: the runner's labels.
            group: the runner group's name; None for GitHub's default group.

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
    """Return another name for the same runner, at most 64 characters like the first."""
    return f"{name[:58]}-{secrets.token_hex(2)}"
