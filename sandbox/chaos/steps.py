"""The steps of the application: counts its calls, and lets the process die between any two of them."""

import random
from collections import Counter

from sandbox.chaos.simulated_host import SimulatedHost
from sandbox.chaos.threads import PROCESS, Killed

# Share of the steps, before and after each call to another service, at which the process dies.
DEADLY = 0.003


class Steps:
    """Watches the network for the calls of the application.

    Args:
        host: whose process dies.
        seed: of when.
        faults: counts it.
    """

    def __init__(self, host: SimulatedHost, seed: int, faults: "Counter[str]") -> None:
        self._host = host
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
        if self.deadly and self._random.random() < DEADLY:
            self._faults[what] += 1
            self._host.kill(PROCESS.get())
            raise Killed
