"""Puts the status together, at the cost of one look for all who ask at the same time."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.config.settings import Settings
from orchestrator.errors import UpstreamError, UpstreamRefused
from orchestrator.explain.facts import PoolFacts, Unknown
from orchestrator.health.checkup import LastCheck
from orchestrator.health.conclusions import settings_lines
from orchestrator.health.finding import State
from orchestrator.reconcile.findings import Recorded
from orchestrator.runners.remembered import Remembered
from orchestrator.runtime import MakeLock
from orchestrator.status.facts import Status

# How long a status is given to others who ask.
KEPT_FOR = timedelta(seconds=15)
# An operator waits for so long in all. A pool that has not answered by then is not known.
PATIENCE = timedelta(seconds=8)


class StatusBoard:
    """Puts the status together. Safe under threads: one looks while others who ask wait for the same.

    It asks Batch once for each pool, and reads the record of passes if that is new. GitHub is not asked.

    Args:
        settings: the app settings.
        last_pass: returns what the last pass recorded, or why that cannot be read.
        pool: asks Batch for a pool, in one call.
        last_check: returns the latest look at the set-up that this process has made; None if it has made none.
        clock: the time.
        threads: make calls side by side.
        lock: makes a lock.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        last_pass: Callable[[], Recorded | Unknown | None],
        pool: Callable[[str], PoolFacts | None],
        last_check: Callable[[], LastCheck | None],
        clock: Clock,
        threads: Executor,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._settings = settings
        self._last_pass = last_pass
        self._pool = pool
        self._last_check = last_check
        self._clock = clock
        self._threads = threads
        self._known = Remembered[None, Status](lambda _: self._look(), clock, lock=lock)

    def status(self) -> Status:
        """Return the status, fifteen seconds old at most."""
        return self._known.get(None, KEPT_FOR)

    def _look(self) -> Status:
        settings, now = self._settings, self._clock()
        pools = self._pools(now)
        check = self._last_check()
        found = settings_lines(settings) if check is None else check.findings
        return Status(
            now=now,
            recorded=self._last_pass(),
            period=timedelta(minutes=settings.reconcile_minutes),
            pools=pools,
            warnings=tuple(one for one in found if one.state in (State.WARN, State.FAIL)),
            checked_at=None if check is None else check.at,
            account=(urlsplit(settings.batch_account_url).hostname or "").partition(".")[0],
            web_url=settings.github_web_url,
            version=__version__,
        )

    def _pools(self, now: datetime) -> Mapping[str, PoolFacts | Unknown | None]:
        names = dict.fromkeys(profile.pool for profile in self._settings.profiles)
        asked = {name: self._threads.submit(self._ask, name) for name in names}
        return {name: self._answer(future, now + PATIENCE) for name, future in asked.items()}

    def _ask(self, pool: str) -> PoolFacts | Unknown | None:
        try:
            return self._pool(pool)
        except UpstreamError as error:
            return Unknown(str(error), refused=isinstance(error, UpstreamRefused))

    def _answer(self, future: "Future[PoolFacts | Unknown | None]", end: datetime) -> PoolFacts | Unknown | None:
        try:
            return future.result(max(0.0, (end - self._clock()).total_seconds()))
        except TimeoutError:
            future.cancel()
            return Unknown("no answer came in time")
