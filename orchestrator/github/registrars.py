"""The two ways of a profile's registration: what GitHub gives for one runner."""

from collections.abc import Sequence
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.github.runners import Runners
from orchestrator.runners.registration import Registration
from orchestrator.runners.scope import ScopeAccess

# GitHub removes a JIT runner that never connects, and does not say when. An hour is what a registration token has.
JIT_REGISTRATION_LIFE = timedelta(hours=1)


class TokenRegistrar:
    """`token`: the container registers itself, with a token that serves for an hour."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    def register(
        self,
        access: ScopeAccess,
        name: str,  # noqa: ARG002 - the container says it
        labels: Sequence[str],  # noqa: ARG002 - the container says them
        group: str | None,  # noqa: ARG002 - the container says it
    ) -> Registration:
        """Return the scope's registration token, mostly from the cache."""
        token = self._runners.registration_token(access)
        return Registration("token", token.value, token.expires_at)

    def withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        """Do nothing: nobody has registered yet."""


class JitRegistrar:
    """`jit`: the runner is registered here, and the container gets no more than this one runner.

    Args:
        runners: GitHub's runners.
        clock: the time.
    """

    def __init__(self, runners: Runners, clock: Clock) -> None:
        self._runners = runners
        self._clock = clock

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register the runner and return its configuration."""
        config = self._runners.jit_config(access, name, labels, group)
        return Registration("jit", config.encoded, self._clock() + JIT_REGISTRATION_LIFE, config.runner_id)

    def withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        """Remove the runner again."""
        if registration.runner_id is not None:
            self._runners.remove(access, registration.runner_id)
