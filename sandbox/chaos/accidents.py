"""Accidents at times of their own, drawn from the seed: outages, storms, lost nodes and processes, meddling people."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.azure.batch_jobs import job_id
from sandbox.chaos.foreign import Foreign
from sandbox.chaos.network import Network
from sandbox.chaos.simulated_batch import SimulatedBatch
from sandbox.chaos.simulated_host import SimulatedHost
from sandbox.chaos.virtual_time import VirtualLoop
from sandbox.chaos.weather import RARE, STORMY, Weather
from sandbox.chaos.workload import ORGANIZATION

KINDS = ("refused", "silent", "errors", "dropped")


@dataclass(frozen=True)
class Victims:
    """What accidents happen to.

    Attributes:
        network: whose services become unreachable.
        weathers: of each service.
        host: whose process dies.
        batch: whose nodes are lost and whose jobs somebody ends.
        pools: where those nodes are.
        lose_node: takes a node away.
        foreign: whose runner comes by.
    """

    network: Network
    weathers: Mapping[str, Weather]
    host: SimulatedHost
    batch: SimulatedBatch
    pools: tuple[str, ...]
    lose_node: Callable[[str], None]
    foreign: Foreign


class Accidents:
    """Lets things happen until it is told to stop.

    Args:
        loop: virtual time.
        victims: what they happen to.
        seed: of what happens when.
        faults: counts what happened.

    Attributes:
        outages: when each total outage began and ended, in epoch seconds.
    """

    def __init__(self, loop: VirtualLoop, victims: Victims, seed: int, faults: "Counter[str]") -> None:
        self._loop = loop
        self._victims = victims
        self._random = random.Random(f"{seed}-accidents")  # noqa: S311 - a simulation
        self._faults = faults
        self._over = False
        self.outages: list[tuple[float, float]] = []

    def begin(self, seconds: float) -> None:
        """Draw what happens within so many seconds."""
        draw = self._random
        for service in self._victims.weathers:
            self._outage(service, draw.uniform(0.1, 0.9) * seconds, draw.uniform(180, 600), draw.choice(KINDS))
        hours = seconds / 3600
        for action, per_hour in (
            (self._storm, 2.0),
            (self._node, 4.0),
            (self._process, 2.0),
            (self._visitor, 5.0),
            (self._batch_job, 0.5),
        ):
            for _ in range(max(1, round(per_hour * hours))):
                self._loop.call_later(draw.uniform(0, seconds), self._unless_over, action)

    def end(self) -> None:
        """Let nothing more happen, and end what is under way."""
        self._over = True
        for service, weather in self._victims.weathers.items():
            weather.share, weather.outage = 0.0, None
            self._victims.network.set_down(service, down=False)

    def _unless_over(self, action: Callable[[], None]) -> None:
        if not self._over:
            action()

    def _outage(self, service: str, at: float, seconds: float, kind: str) -> None:
        weather = self._victims.weathers[service]

        def begin() -> None:
            self._faults[f"{service}: total outage ({kind})"] += 1
            self.outages.append((self._loop.now(), self._loop.now() + seconds))
            weather.outage = kind
            self._victims.network.set_down(service, down=kind == "refused")

        def end() -> None:
            weather.outage = None
            self._victims.network.set_down(service, down=False)

        self._loop.call_later(at, self._unless_over, begin)
        self._loop.call_later(at + seconds, end)

    def _storm(self) -> None:
        weather = self._victims.weathers[self._random.choice(sorted(self._victims.weathers))]
        weather.share = STORMY
        self._faults["storm"] += 1
        self._loop.call_later(self._random.uniform(60, 600), self._unless_over, lambda: setattr(weather, "share", RARE))

    def _node(self) -> None:
        nodes = [node for pool in self._victims.pools for node in self._victims.batch.node_ids(pool)]
        if nodes:
            self._faults["node taken away"] += 1
            self._victims.lose_node(self._random.choice(nodes))

    def _process(self) -> None:
        self._faults["process killed"] += 1
        self._victims.host.kill()

    def _visitor(self) -> None:
        self._faults["foreign runner comes by"] += 1
        system = self._random.choice(
            (("Linux", "ubuntu-latest"), ("Linux", "ubuntu-22.04"), ("Windows", "windows-latest"))
        )
        self._victims.foreign.visit(("self-hosted", "X64", *system))

    def _batch_job(self) -> None:
        job = job_id(self._random.choice(self._victims.pools), ORGANIZATION, "normal")
        delete_after = self._random.choice((None, 5.0, 120.0))
        if self._victims.batch.has_job(job):
            self._faults["Batch job ended" if delete_after is None else "Batch job deleted"] += 1
            self._victims.batch.end_job(job, delete_after=delete_after)
