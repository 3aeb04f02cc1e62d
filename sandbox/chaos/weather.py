"""What goes wrong on the way to a service: drawn anew for each request, instead of planned."""

import random
from collections import Counter
from collections.abc import Callable

from sandbox.faults import Fault, FaultPlan

# Shares of the requests that meet trouble, on a usual and on a bad stretch.
RARE, STORMY = 0.02, 0.25


class Weather(FaultPlan):
    """The trouble of one service, as a plan that never ends: whoever owns it sets how much of it there is.

    Args:
        service: whose.
        seed: of what is drawn.
        now: virtual epoch seconds.
        counts: counts what happened, by its name.

    Attributes:
        share: of the requests that meet trouble.
        outage: how the service fails altogether (one of `accidents.KINDS`); None while it does not.
    """

    def __init__(self, service: str, seed: int, now: Callable[[], float], counts: "Counter[str]") -> None:
        super().__init__()
        self._service = service
        self._random = random.Random(f"{seed}-{service}")  # noqa: S311 - a simulation
        self._now = now
        self._counts = counts
        self.share = RARE
        self.outage: str | None = None

    def take(self, method: str, path: str) -> Fault | None:  # noqa: ARG002 - it hits whatever comes
        """Return what befalls this request, or None."""
        if self.outage is not None:
            fault = {
                "silent": Fault("latency", seconds=30.0),
                "errors": Fault("status", status=503),
            }.get(self.outage, Fault("drop"))
            self._count(f"outage {self.outage}")
            return fault
        if self._random.random() >= self.share:
            return None
        name = self._random.choice(tuple(self._kinds()))
        self._count(name)
        return self._kinds()[name]

    def _count(self, name: str) -> None:
        self.hits += 1
        self._counts[f"{self._service}: {name}"] += 1

    def _kinds(self) -> dict[str, Fault]:
        """Every kind of trouble that this service knows."""
        wait = str(self._random.randint(1, 90))
        kinds = {
            "429 with retry-after": Fault("status", status=429, headers={"Retry-After": wait}),
            "500": Fault("status", status=500),
            "503": Fault("status", status=503),
            "connection dropped": Fault("drop"),
            "answer lost after commit": Fault("lost_answer"),
            "slow": Fault("latency", seconds=self._random.uniform(0.5, 5)),
            "too slow": Fault("latency", seconds=self._random.uniform(6, 20)),
        }
        if self._service == "github":
            kinds["403 secondary limit"] = Fault(
                "status", status=403, body='{"message": "You have exceeded a secondary rate limit"}'
            )
            reset = str(int(self._now()) + self._random.randint(10, 300))
            kinds["403 primary limit"] = Fault(
                "status",
                status=403,
                headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset},
                body='{"message": "API rate limit exceeded"}',
            )
            kinds["502"] = Fault("status", status=502, body="<html>Bad gateway</html>")
        return kinds
