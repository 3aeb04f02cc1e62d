"""Somebody who reads the tasks in Batch, and uses some of their claims from within the network of the containers."""

import random
from collections import Counter
from concurrent.futures import Future

from sandbox.batch.model import TaskRun
from sandbox.chaos.claiming import Claimed, Claiming
from sandbox.chaos.virtual_time import VirtualLoop

# Share of the runs whose claim he tries to use.
TRIED = 0.4


class Thief:
    """Claims registrations that are not meant for him, and lets them be.

    Args:
        loop: virtual time.
        claiming: gets him the registrations.
        seed: of what he steals, and when.
        faults: counts what he got.
    """

    def __init__(self, loop: VirtualLoop, claiming: Claiming, seed: int, faults: "Counter[str]") -> None:
        self._loop = loop
        self._claiming = claiming
        self._random = random.Random(f"{seed}-thief")  # noqa: S311 - a simulation
        self._faults = faults

    def watch(self, run: TaskRun) -> None:
        """See that a task runs."""
        if "GHR_CLAIM" in run.environment and self._random.random() < TRIED:
            self._loop.call_later(self._random.uniform(0, 30), self._steal, run)

    def _steal(self, run: TaskRun) -> None:
        self._claiming.start(run, lambda: False).add_done_callback(self._got)

    def _got(self, done: "Future[Claimed]") -> None:
        if done.result().environment:
            self._faults["claim stolen"] += 1
