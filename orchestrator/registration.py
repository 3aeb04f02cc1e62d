"""How a runner's task comes by its registration: one strategy behind one seam."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.github.runners import Registrant, Runners


@dataclass(frozen=True)
class Registration:
    """What the runner image needs to become a runner.

    Attributes:
        environment: for the container; secret.
        runner_id: GitHub's id, where the runner is registered already.
    """

    environment: Mapping[str, str] = field(repr=False)
    runner_id: int | None = None


class Registrar(Protocol):
    """One way to a registration."""

    def register(self, registrant: Registrant, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Return a registration for one runner.

        Raises:
            RunnerNameTaken: The name is in use.
            UpstreamError: GitHub gives none.
        """

    def withdraw(self, registrant: Registrant, registration: Registration) -> None:
        """Undo a registration that no task will use.

        Raises:
            UpstreamError: GitHub does not answer.
        """


class TokenRegistrar:
    """`RunnerRegistration=token`: the container registers itself, with a token that serves for an hour."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    def register(
        self,
        registrant: Registrant,
        name: str,  # noqa: ARG002 - the container says it
        labels: Sequence[str],  # noqa: ARG002 - the container says them
        group: str | None,  # noqa: ARG002 - the container says it
    ) -> Registration:
        """Return the scope's registration token, mostly from the cache."""
        return Registration({"GHR_TOKEN": self._runners.registration_token(registrant)})

    def withdraw(self, registrant: Registrant, registration: Registration) -> None:
        """Do nothing: nobody has registered yet."""


class JitRegistrar:
    """`RunnerRegistration=jit`: the runner is registered here, and the container gets no more than this one runner."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    def register(self, registrant: Registrant, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register the runner and return its configuration."""
        config = self._runners.jit_config(registrant, name, labels, group)
        return Registration({"GHR_JITCONFIG": config.encoded}, config.runner_id)

    def withdraw(self, registrant: Registrant, registration: Registration) -> None:
        """Remove the runner again."""
        if registration.runner_id is not None:
            self._runners.remove(registrant, registration.runner_id)


def another_name(name: str) -> str:
    """Return a name for the same runner that is not taken, at most 64 characters like the first."""
    return f"{name[:58]}-{secrets.token_hex(2)}"
