"""How many calls GitHub takes, counted in one place. New runners go before upkeep.

Source: GitHub docs, "Rate limits for the REST API". The primary limit is told by the headers of every answer; of the
secondary ones this keeps the points per minute, and whatever wait an answer asks for. Counted per credential, because
GitHub does, and per process: other instances show in the headers. An enterprise server may send no such headers; then
only the points count.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.errors import TransientError

MINUTE = 60.0
# No limit of GitHub's lasts longer; a wait that says so is a mistake, perhaps of a proxy.
HOUR = 3600.0
# What the calls made here are counted as; other resources have limits of their own (`GET /rate_limit`).
CORE = "core"
POINTS_PER_MINUTE = 900
# What upkeep leaves to new runners: half of each minute's points, a quarter of each hour's requests.
UPKEEP_POINTS = POINTS_PER_MINUTE // 2
RESERVE = 0.25
# Tokens come and go; the limits of the last this many are remembered.
ACCOUNTS = 256


def points(method: str) -> int:
    """Return what a call costs of the points per minute."""
    return 1 if method in ("GET", "HEAD", "OPTIONS") else 5


@dataclass
class _Account:
    """What is known of one credential's limits; times in epoch seconds."""

    silent_until: float = 0.0
    limit: int = 0
    remaining: int | None = None
    reset: float = 0.0
    minute: float = 0.0
    spent: int = 0


class Budget:
    """Decides before each call whether it may be made. Safe under threads.

    Args:
        clock: epoch seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def spend(self, who: str, method: str, *, upkeep: bool) -> None:
        """Count a call that is about to be made.

        Args:
            who: the credential.
            method: of the call.
            upkeep: whether it serves no new runner.

        Raises:
            TransientError: It must wait, with the time.
        """
        now = self._clock()
        with self._lock:
            account = self._account(who)
            if now < account.silent_until:
                raise TransientError("GitHub asked to be left alone", retry_after=account.silent_until - now)
            if upkeep and account.remaining is not None and now < account.reset:
                reserve = int(account.limit * RESERVE)
                if account.remaining <= reserve:
                    raise TransientError(
                        f"the last {reserve} requests of the hour are for new runners", retry_after=account.reset - now
                    )
            if not 0 <= now - account.minute < MINUTE:  # below 0 when the clock was set back
                account.minute, account.spent = now, 0
            if account.spent + points(method) > (UPKEEP_POINTS if upkeep else POINTS_PER_MINUTE):
                raise TransientError(
                    "GitHub takes no more calls in this minute", retry_after=account.minute + MINUTE - now
                )
            account.spent += points(method)

    def learn(self, who: str, headers: Mapping[str, str], wait: float | None) -> None:
        """Take note of an answer.

        Args:
            who: the credential.
            headers: the answer's.
            wait: the seconds a rate limit's answer asked for, None for any other answer.
        """
        limit, remaining, reset = (headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining", "reset"))
        core = headers.get("x-ratelimit-resource", CORE) == CORE
        with self._lock:
            account = self._account(who)
            if core and limit.isdecimal() and remaining.isdecimal() and reset.isdecimal():
                account.limit, account.remaining, account.reset = int(limit), int(remaining), float(reset)
            if wait is not None:
                account.silent_until = max(account.silent_until, self._clock() + min(wait, HOUR))

    def _account(self, who: str) -> _Account:
        account = self._accounts.setdefault(who, _Account())
        self._accounts.move_to_end(who)
        if len(self._accounts) > ACCOUNTS:
            self._accounts.popitem(last=False)
        return account
