"""How many calls GitHub takes, counted in one place. Calls that a waiting job needs go before those in the background.

Source: GitHub docs, "Rate limits for the REST API". The headers of every answer tell the primary limit. Of the
secondary limits this counts the points per minute, and it keeps to every wait that an answer asks for. GitHub counts
per credential, and so does this. It counts per process: what other instances use shows in the headers. An enterprise
server may send no such headers; then only the points count.
"""

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.errors import CallsSpent
from orchestrator.runtime import MakeLock

# Seconds for which points are counted together.
POINTS_PERIOD = 60.0
POINTS_PER_MINUTE = 900
# Seconds. No limit of GitHub's lasts longer; a longer wait is a mistake, perhaps of a proxy.
LONGEST_WAIT = 3600.0
# GitHub's name for the limit that these calls count against; other resources have their own (`GET /rate_limit`).
CORE_RESOURCE = "core"
# What background calls leave to the others: of the points of each minute, and of the requests of each hour.
RESERVED_POINTS_SHARE = 0.5
RESERVED_REQUESTS_SHARE = 0.25
# Tokens come and go; the limits of this many credentials are remembered, the last used ones.
REMEMBERED_CREDENTIALS = 256
# What a header about limits may hold: a number that can be one.
_NUMBER = re.compile("[0-9]{1,15}")


def points(method: str) -> int:
    """Return what a call costs of the points per minute."""
    return 1 if method in ("GET", "HEAD", "OPTIONS") else 5


@dataclass
class _Account:
    """What is known of one credential's limits; times in epoch seconds.

    Attributes:
        silent_until: when the last wait that GitHub asked for is over.
        limit: requests per hour.
        remaining: requests that are left of them; None before GitHub has told.
        reset: when the hour ends.
        minute: when the minute began in which points are counted.
        spent: points of that minute.
        floor: how many requests of the hour that ends at `reset` the present pass leaves; None before it is reckoned.
        promised: until when the points of the minutes to come are promised to calls that were told to wait.
    """

    silent_until: float = 0.0
    limit: int = 0
    remaining: int | None = None
    reset: float = 0.0
    minute: float = 0.0
    spent: int = 0
    floor: tuple[float, int] | None = None
    promised: float = 0.0


class Budget:
    """Decides before each call whether it may be made. Safe under threads.

    Args:
        clock: tells the time.
        points_per_minute: GitHub's limit.
        lock: makes a lock.
    """

    def __init__(
        self, clock: Clock, *, points_per_minute: int = POINTS_PER_MINUTE, lock: MakeLock = threading.Lock
    ) -> None:
        self._clock = clock
        self._points = points_per_minute
        self._background_points = points_per_minute - int(points_per_minute * RESERVED_POINTS_SHARE)
        self._lock = lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._period: float | None = None
        self._used = [0, 0]

    def begin_pass(self, period: float) -> None:
        """Give background calls, until this is called again, no more than a pass's share of the hour's requests.

        Without it the first passes of an hour use up what is for all of them, and the others see nothing.

        Args:
            period: seconds between two passes.
        """
        with self._lock:
            self._period = period
            for account in self._accounts.values():
                account.floor = None

    def spend(self, credential: str, method: str, *, background: bool) -> None:
        """Count a call that is about to be made.

        Args:
            credential: the value of its Authorization header.
            method: its HTTP method.
            background: whether no job waits for it.

        A job's call that finds a minute's points spent is told to come when it is its turn, after those that were told
        before it. If all came at the next minute's beginning, most of them would come in vain, minute after minute.

        Raises:
            CallsSpent: The call must wait; the error says how long.
        """
        now = self._clock().timestamp()
        with self._lock:
            account = self._account(credential)
            if now < account.silent_until:
                raise CallsSpent("GitHub asked to be left alone", retry_after=account.silent_until - now)
            if background and account.remaining is not None and now < account.reset:
                reserve = int(account.limit * RESERVED_REQUESTS_SHARE)
                if account.remaining <= reserve:
                    raise CallsSpent(
                        f"the last {reserve} requests of the hour are for new runners", retry_after=account.reset - now
                    )
                if account.remaining <= self._floor(account, reserve, now):
                    raise CallsSpent("this pass has had its share of the hour's requests", retry_after=self._period)
            if not 0 <= now - account.minute < POINTS_PERIOD:  # below 0 when the clock was set back
                account.minute, account.spent = now, 0
            cost, turn = points(method), account.minute + POINTS_PERIOD
            if account.spent + cost > (self._background_points if background else self._points):
                if not background:
                    turn = min(max(account.promised, turn), now + LONGEST_WAIT)
                    account.promised = turn + cost / self._points * POINTS_PERIOD
                raise CallsSpent("GitHub takes no more calls in this minute", retry_after=turn - now)
            account.spent += cost
            self._used[0] += 1
            self._used[1] += cost

    def usage(self) -> Mapping[str, int | None]:
        """Return what was used since this was asked last, calls and points, and how many requests are left."""
        with self._lock:
            (calls, spent), self._used = self._used, [0, 0]
        return {"calls": calls, "points": spent, "requests_left": self.requests_left()}

    def requests_left(self) -> int | None:
        """Return how many requests the credential that has fewest has left of its hour; None if that is not known."""
        now = self._clock().timestamp()
        with self._lock:
            accounts = self._accounts.values()
            left = [one.remaining for one in accounts if one.remaining is not None and now < one.reset]
            return min(left, default=None)

    def learn(self, credential: str, headers: Mapping[str, str], wait: float | None) -> None:
        """Take note of an answer.

        Args:
            credential: the value of the call's Authorization header.
            headers: of the answer.
            wait: the seconds that a rate limit's answer asked for; None for any other answer.
        """
        limit, remaining, reset = (headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining", "reset"))
        core = headers.get("x-ratelimit-resource", CORE_RESOURCE) == CORE_RESOURCE
        with self._lock:
            account = self._account(credential)
            if core and all(_NUMBER.fullmatch(value) for value in (limit, remaining, reset)):
                account.limit, account.remaining, account.reset = int(limit), int(remaining), float(reset)
            if wait is not None:
                until = self._clock().timestamp() + min(wait, LONGEST_WAIT)
                account.silent_until = max(account.silent_until, until)

    def _floor(self, account: _Account, reserve: int, now: float) -> int:
        """Return how many of the remaining requests are for later passes and for new runners."""
        if self._period is None or account.remaining is None:
            return reserve
        if account.floor is None or account.floor[0] != account.reset:
            passes = max(1, math.ceil((account.reset - now) / self._period))
            account.floor = account.reset, account.remaining - (account.remaining - reserve) // passes
        return account.floor[1]

    def _account(self, credential: str) -> _Account:
        account = self._accounts.setdefault(credential, _Account())
        self._accounts.move_to_end(credential)
        if len(self._accounts) > REMEMBERED_CREDENTIALS:
            self._accounts.popitem(last=False)
        return account
