"""May this caller send deliveries? The setting `AllowedSources`, with GitHub's own ranges kept current."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from orchestrator.config.settings import Settings
from orchestrator.delivery.deadline import within
from orchestrator.delivery.hook_ranges import HookRanges
from orchestrator.delivery.source_address import caller_address, is_within
from orchestrator.errors import SourceNotAllowed

# Seconds that a delivery from an unknown address waits for GitHub's current ranges.
REFRESH_DEADLINE = 3.0


class SourceCheck:
    """Refuses callers from elsewhere than `AllowedSources`.

    Args:
        settings: the app settings.
        hook_ranges: where GitHub's own webhooks come from.
        threads: ask GitHub for its ranges.
    """

    def __init__(self, settings: Settings, hook_ranges: HookRanges, threads: Executor) -> None:
        self._allowed = settings.allowed_sources
        self._trusted_proxies = settings.trusted_proxy_count
        self._hook_ranges = hook_ranges
        self._threads = threads

    async def require_allowed(self, headers: Mapping[str, str], is_signed: Callable[[], bool]) -> None:
        """Check the caller's address.

        GitHub's ranges are read again only for a caller who knows the secret: nobody else can make this service call
        another one.

        Args:
            headers: the request's headers, names in lower case.
            is_signed: tells whether the caller knows the webhook secret.

        Raises:
            SourceNotAllowed: It is not among `AllowedSources`.
            TransientError: GitHub does not answer in time.
        """
        if self._allowed.anywhere:
            return
        caller = caller_address(headers.get("x-forwarded-for"), self._trusted_proxies)
        if caller is not None and is_within(caller, self._allowed.networks):
            return
        if caller is not None and self._allowed.github:
            if is_within(caller, self._hook_ranges.networks):
                return
            if self._hook_ranges.stale and is_signed():
                await within(REFRESH_DEADLINE, self._threads, self._hook_ranges.refresh)
                if is_within(caller, self._hook_ranges.networks):
                    return
        raise SourceNotAllowed("the caller's address is not among AllowedSources")

    def refresh_soon(self) -> None:
        """Have GitHub's ranges read again where they are stale, without waiting for it: the caller is genuine."""
        if self._allowed.github and self._hook_ranges.stale:
            self._threads.submit(self._hook_ranges.refresh)
