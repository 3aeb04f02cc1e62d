"""The strategies of `RunnerRegistration`: what GitHub gives for one runner."""

from collections.abc import Sequence

from orchestrator.github.runners import Runners
from orchestrator.github.scope import Registrant
from orchestrator.registration import Registration


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
