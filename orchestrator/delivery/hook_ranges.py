"""GitHub's webhook source ranges, kept current without ever making an unproven caller's request wait for GitHub."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES, Network
from orchestrator.errors import UpstreamError

logger = logging.getLogger(__name__)

FRESH_FOR = 3600.0  # seconds; GitHub changes the list a few times a year
RETRY_AFTER = 60.0  # seconds until a list that could not be fetched is asked for again


class PublishedRanges(NamedTuple):
    """One answer of `/meta`: the ranges (None when they are unchanged since `etag`), and its new ETag."""

    networks: tuple[Network, ...] | None
    etag: str | None


class HookRanges:
    """The ranges in force: the list shipped with the release until GitHub's first answer, then its last good one.

    Args:
        fetch: asks GitHub for its ranges, given the ETag of the last answer; raises UpstreamError.
        clock: monotonic seconds.
    """

    def __init__(
        self, fetch: Callable[[str | None], PublishedRanges], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._etag: str | None = None
        self._next_fetch = clock()
        self.networks: tuple[Network, ...] = SHIPPED_HOOK_RANGES
        self.shipped = True

    @property
    def stale(self) -> bool:
        """Whether it is time to ask GitHub again."""
        return self._clock() >= self._next_fetch

    def refresh(self) -> None:
        """Ask GitHub where the list is stale (one thread does), and keep the last good one if it does not answer."""
        with self._lock:
            if not self.stale:
                return
            try:
                published = self._fetch(self._etag)
            except UpstreamError as error:
                self._next_fetch = self._clock() + RETRY_AFTER
                origin = "shipped with the release" if self.shipped else "last published"
                logger.warning("GitHub's hook ranges could not be read, the list %s stays in force: %s", origin, error)
                return
            self._next_fetch = self._clock() + FRESH_FOR
            self._etag = published.etag
            if published.networks is None or (published.networks == self.networks and not self.shipped):
                return
            self.networks = published.networks
            self.shipped = False
            logger.info("GitHub's hook ranges are now %s", ", ".join(map(str, self.networks)))
