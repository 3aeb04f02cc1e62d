"""May this caller call? `AllowedSources`, with GitHub's own ranges kept current, `OperatorSources`, `ClaimSources`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future

from orchestrator.config.allowed_sources import Network, holds_everybody
from orchestrator.config.settings import Settings
from orchestrator.delivery.hook_ranges import HookRanges
from orchestrator.delivery.source_address import caller_address, is_within
from orchestrator.errors import SourceNotAllowed, TransientError

# Seconds that a delivery from an unknown address waits for GitHub's current ranges.
REFRESH_DEADLINE = 3.0


def require_operator(headers: Mapping[str, str], settings: Settings) -> None:
    """Check the address of a caller of the operators' routes, whose key the host has checked.

    Args:
        headers: the request's headers; looked up by names in lower case.
        settings: the app settings. Without `OperatorSources` the key alone decides.

    Raises:
        SourceNotAllowed: It is not among `OperatorSources`.
    """
    if settings.operator_sources:
        _require(headers, settings, settings.operator_sources, "OperatorSources")


def require_claimer(headers: Mapping[str, str], settings: Settings) -> None:
    """Check the address of a container that claims its registration.

    Args:
        headers: as `require_operator`.
        settings: the app settings.

    Raises:
        SourceNotAllowed: It is not among `ClaimSources`.
    """
    _require(headers, settings, settings.claim_sources, "ClaimSources")


def _require(headers: Mapping[str, str], settings: Settings, allowed: Sequence[Network], name: str) -> None:
    if holds_everybody(allowed):
        return
    caller = caller_address(headers.get("x-forwarded-for"), settings.trusted_proxies)
    if caller is None or not is_within(caller, allowed):
        raise SourceNotAllowed(f"the caller's address is not among {name}")


class SourceCheck:
    """Refuses callers from elsewhere than `AllowedSources`.

    Args:
        settings: the app settings.
        hook_ranges: where GitHub's own webhooks come from.
        threads: ask GitHub for its ranges, one at a time. They are used for nothing else, so a GitHub that hangs delays
            nobody.
        deadline: seconds that a delivery from an unknown address waits for GitHub's current ranges.
    """

    def __init__(
        self,
        settings: Settings,
        hook_ranges: HookRanges,
        threads: Executor,
        *,
        deadline: float = REFRESH_DEADLINE,
    ) -> None:
        self._allowed = settings.allowed_sources
        self._trusted_proxies = settings.trusted_proxies
        self._hook_ranges = hook_ranges
        self._threads = threads
        self._deadline = deadline
        self._refresh: Future[None] | None = None

    async def require_allowed(self, headers: Mapping[str, str], is_signed: Callable[[], bool]) -> None:
        """Check the caller's address.

        GitHub's ranges are read again only for a caller who knows the secret: nobody else can make this service call
        another one.

        Args:
            headers: the request's headers; looked up by names in lower case.
            is_signed: tells whether the caller knows the webhook secret.

        Raises:
            SourceNotAllowed: It is not among `AllowedSources`.
            TransientError: GitHub does not tell its current ranges, and the caller may be GitHub.
        """
        if self._allowed.anywhere:
            return
        caller = caller_address(headers.get("x-forwarded-for"), self._trusted_proxies)
        if caller is not None and is_within(caller, self._allowed.networks):
            return
        if caller is not None and self._allowed.github:
            if is_within(caller, self._hook_ranges.networks):
                return
            if (self._hook_ranges.stale or self._hook_ranges.trouble) and is_signed():
                await self._require_current_ranges()
                if is_within(caller, self._hook_ranges.networks):
                    return
        raise SourceNotAllowed("the caller's address is not among AllowedSources")

    def refresh_soon(self) -> None:
        """Have GitHub's ranges read again where they are stale, without waiting for it: the caller is genuine."""
        if self._allowed.github and self._hook_ranges.stale:
            self._refreshing()

    async def _require_current_ranges(self) -> None:
        if self._hook_ranges.stale:
            # Several deliveries may wait for the same answer. One that gives up leaves it to the others.
            await asyncio.wait([asyncio.wrap_future(self._refreshing())], timeout=self._deadline)
        trouble = "there is no answer yet" if self._hook_ranges.stale else self._hook_ranges.trouble
        if trouble:
            known = "the caller's address is in none of GitHub's known ranges"
            raise TransientError(f"{known}, and the current ones could not be read: {trouble}")

    def _refreshing(self) -> Future[None]:
        if self._refresh is None or self._refresh.done():
            self._refresh = self._threads.submit(self._hook_ranges.refresh)
        return self._refresh
