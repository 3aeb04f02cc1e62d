"""The steps of the application: counts its calls, and lets the process die between any two of them."""

import random
from collections import Counter

from sandbox.chaos.simulated_host import SimulatedHost
from sandbox.chaos.threads import PROCESS, Killed
from sandbox.chaos.virtual_time import VirtualLoop

# Share of the steps, before and after each call to another service, at which the process dies.
DEADLY = 0.003
# How often it dies in an hour where there are many repositories. Hundreds of calls a minute would kill it every other
# minute by the share above, and no process lives as short as that.
DEATHS_AN_HOUR = 6.0


class Steps:
    """Watches the network for the calls of the application.

    Args:
        host: whose process dies.
        seed: of when.
        faults: counts it.
        loop: virtual time.
        by_the_hour: whether the process dies so many times an hour, however many calls it makes.
    """

    def __init__(
        self, host: SimulatedHost, seed: int, faults: "Counter[str]", loop: VirtualLoop, *, by_the_hour: bool
    ) -> None:
        self._host = host
        self._loop = loop
        self._by_the_hour = by_the_hour
        self._next_death = 0.0
        self._random = random.Random(f"{seed}-steps")  # noqa: S311 - a simulation
        self._faults = faults
        self.calls: Counter[str] = Counter()
        self.deadly = False

    def departs(self, service: str, request: str) -> None:
        """A request is about to be sent."""
        if PROCESS.get() is not None:
            # The passes' memory is in the same account as the queue.
            self.calls["blob" if "/blob/" in request else service] += 1
            self._step(f"process killed before {request.partition(' ')[0]} to {service}")

    def returns(self, service: str, request: str) -> None:
        """An answer has come, or none will."""
        if PROCESS.get() is not None:
            self._step(f"process killed after {request.partition(' ')[0]} to {service}")

    def _step(self, what: str) -> None:
        if self.deadly and self._is_the_last():
            self._faults[what] += 1
            self._host.kill(PROCESS.get())
            raise Killed

    def _is_the_last(self) -> bool:
        if not self._by_the_hour:
            return self._random.random() < DEADLY
        now = self._loop.time()
        is_due = 0.0 < self._next_death <= now
        if is_due or not self._next_death:
            self._next_death = now + self._random.expovariate(DEATHS_AN_HOUR / 3600)
        return is_due
