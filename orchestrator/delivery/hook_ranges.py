"""GitHub's webhook source ranges, kept current without ever making an unproven caller's request wait for GitHub."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from orchestrator.clock import Clock, utc_now
from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES, Network
from orchestrator.errors import OrchestratorError
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.runtime import MakeLock

log = Log(__name__)

# GitHub changes the list a few times a year.
FRESH_FOR = timedelta(hours=1)
# A list that could not be fetched is asked for again after this.
RETRY_AFTER = timedelta(minutes=1)


class PublishedRanges(NamedTuple):
    """One answer of `/meta`: the ranges (None when they are unchanged since `etag`), and its new ETag."""

    networks: tuple[Network, ...] | None
    etag: str | None


class HookRanges:
    """The current ranges: the list shipped with the release until GitHub's first answer, then its last good one.

    `networks`, `shipped` and `trouble` are replaced, never changed, so they may be read without the lock.

    Args:
        fetch: asks GitHub for its ranges, given the ETag of the last answer; raises UpstreamError.
        clock: the time.
        lock: makes a lock.

    Attributes:
        networks: the ranges.
        shipped: whether they are those of the release.
        trouble: why the list could not be read the last time, if so.
    """

    def __init__(
        self, fetch: Callable[[str | None], PublishedRanges], clock: Clock = utc_now, *, lock: MakeLock = threading.Lock
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = lock()
        self._etag: str | None = None
        self._next_fetch = clock()
        self.networks: tuple[Network, ...] = SHIPPED_HOOK_RANGES
        self.shipped = True
        self.trouble: str | None = None

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
            except OrchestratorError as error:
                self._keep(str(error))
                return
            except Exception:  # a mistake of ours; nobody waits for this thread
                log.exception(message="an unexpected error")
                self._keep("an unexpected error: see the log")
                return
            self._next_fetch = self._clock() + FRESH_FOR
            self.trouble = None
            self._etag = published.etag
            if published.networks is None or (published.networks == self.networks and not self.shipped):
                return
            self.networks = published.networks
            self.shipped = False
            log(
                logging.INFO,
                Line.HOOK_RANGES,
                message="GitHub's hook ranges are new",
                ranges=list(map(str, self.networks)),
            )

    def _keep(self, trouble: str) -> None:
        self._next_fetch = self._clock() + RETRY_AFTER
        self.trouble = trouble
        which = "shipped with the release" if self.shipped else "last published"
        message = f"GitHub's hook ranges could not be read, the list {which} is used on"
        log(logging.WARNING, Line.HOOK_RANGES, message=message, reason=trouble)
