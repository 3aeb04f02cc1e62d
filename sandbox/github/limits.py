"""GitHub's rate limits: so many requests per credential and hour, and so many points per minute."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.github.access import Principal

MINUTE = 60.0


@dataclass
class Budget:
    """Counts requests per credential in fixed windows.

    Attributes:
        limit: requests per window of a credential (documented for an installation: 5,000).
        anonymous: requests per window without a credential (documented: 60).
        window: length of a window in seconds.
        status: what is answered when it is used up: GitHub answers 403 or 429.
        points: per credential and minute (documented: 900); None for no such limit, as on GitHub Enterprise Server.
        refused: how many requests were above the points of a `minute`, and above the requests of an `hour`.
    """

    limit: int = 5_000
    anonymous: int = 60
    window: float = 3_600.0
    status: int = 403
    points: int | None = None
    refused: Counter[str] = field(default_factory=Counter)
    _minutes: dict[str, tuple[int, float]] = field(default_factory=dict)
    _used: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, principal: Principal | None, now: float) -> bool:
        """Count one request; return whether it is within the limit."""
        used, reset = self._bucket(principal, now)
        self._used[self._name(principal)] = (used + 1, reset)
        is_within = used < self._limit(principal)
        self.refused["hour"] += not is_within
        return is_within

    def take_points(self, principal: Principal | None, method: str, now: float) -> bool:
        """Count the points of a request (documented: 1 to read, 5 to write); return whether it is within the limit."""
        if self.points is None:
            return True
        spent, began = self._minutes.get(self._name(principal), (0, now))
        if now - began >= MINUTE:
            spent, began = 0, now
        spent += 1 if method in ("GET", "HEAD", "OPTIONS") else 5
        self._minutes[self._name(principal)] = (spent, began)
        self.refused["minute"] += spent > self.points
        return spent <= self.points

    def give_back(self, principal: Principal | None) -> None:
        """Uncount one request: an answer of 304 is free."""
        used, reset = self._used[self._name(principal)]
        self._used[self._name(principal)] = (used - 1, reset)

    def headers(self, principal: Principal | None, now: float) -> Mapping[str, str]:
        """The `x-ratelimit-…` headers of an answer."""
        used, reset = self._bucket(principal, now)
        limit = self._limit(principal)
        values = {
            "limit": limit, "remaining": max(0, limit - used), "reset": reset, "used": min(used, limit),
            "resource": "core",
        }  # fmt: skip
        return {f"x-ratelimit-{name}": str(value) for name, value in values.items()}

    def _limit(self, principal: Principal | None) -> int:
        return self.anonymous if principal is None else self.limit

    def _bucket(self, principal: Principal | None, now: float) -> tuple[int, int]:
        used, reset = self._used.get(self._name(principal), (0, 0))
        return (used, reset) if now < reset else (0, int(now + self.window))

    @staticmethod
    def _name(principal: Principal | None) -> str:
        return "" if principal is None else principal.name
