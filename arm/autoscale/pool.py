"""A simulated pool that runs workflow jobs as tasks and is sized by an autoscale formula.

What is simulated, from Batch's documentation: tasks start in the order of their arrival, on the fullest node with a
free slot (task scheduling policy `pack`). Metrics are sampled every 30 seconds, and the formula is evaluated every 5
minutes. A node that leaves with `taskcompletion` takes no new task and goes when its tasks end. A pool is steady when
no node is being allocated or is leaving, and takes a resize only then.

What is assumed: how long each step takes (the constants here), that a sample can be read 30 seconds after it was taken,
and which nodes leave first (those without tasks). Spot nodes behave like dedicated ones: none is preempted.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from arm.autoscale.formula import METRICS, Formula, Situation
from arm.autoscale.traces import START, Trace
from arm.autoscale.values import SAMPLE_PERIOD, Samples

# Seconds from `queued` to the job's task: GitHub's webhook and the orchestrator.
DELIVERY = 2.0
# Seconds from a free slot to the job's first step: the task's process, the container, the runner's registration.
LAUNCH = 19.0
# Seconds from the order to leave until a node without tasks is gone, and no longer billed.
DEALLOCATION = 30.0
EVALUATION_INTERVAL = 300.0
# Seconds before the trace in which the pool stands without jobs: longer than any formula here looks back.
IDLE_BEFORE = 5 * 3600.0
# Seconds after the trace in which the last jobs must have ended.
PATIENCE = 7 * 86400.0

# The orchestrator's boost: seconds from a job's task to the look at the pool, and between the timer's looks.
BOOST_DELAY = 5.0
BOOST_INTERVAL = 60.0

type Range = tuple[float, float]


@dataclass(frozen=True)
class Setup:
    """A pool's parameters, as far as they matter here.

    Attributes:
        slots: tasks at once on a node.
        max_nodes: the account's quota: more nodes than these are not allocated.
        allocation: seconds from the order to the machine, from which on it is billed: the least and the most.
        boot: seconds from the machine until it takes tasks: the least and the most.
        boost: whether an orchestrator enlarges the pool when jobs wait (`PoolBoost=resize`).
        keeps_samples: whether the samples survive that autoscale is switched off and on again.
    """

    slots: int
    max_nodes: int
    allocation: Range
    boot: Range
    boost: bool = False
    keeps_samples: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a simulation found.

    Attributes:
        waits: seconds from `queued` to the first step, of each job.
        node_hours: what Azure bills.
        used: the share of the billed nodes' slots in which a job ran.
        timeline: seconds, nodes (also those on their way), and jobs that wait; at each change.
    """

    waits: list[float]
    node_hours: float
    used: float
    timeline: list[tuple[float, int, int]]


type State = Literal["allocating", "booting", "ready", "leaving", "deallocating"]
# Nodes that count towards a target, nodes that exist, and nodes without which a pool is steady.
WANTED, PRESENT = ("allocating", "booting", "ready"), ("booting", "ready", "leaving", "deallocating")
RESIZING = ("allocating", "leaving", "deallocating")


@dataclass(eq=False)
class _Node:
    number: int
    spot: bool
    state: State = "allocating"
    tasks: int = 0
    billed_from: float = 0.0
    idle_since: float = 0.0


@dataclass
class _Targets:
    dedicated: int = 0
    spot: int = 0


@dataclass
class _Billing:
    node_seconds: float = 0.0
    job_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)


def simulate(trace: Trace, formula: str, setup: Setup, seed: int) -> Outcome:
    """Run a trace's jobs in a pool that begins without nodes.

    Args:
        trace: the jobs.
        formula: the pool's autoscale formula, with its parameters filled in.
        setup: the pool's parameters.
        seed: decides how long nodes take and when samples and evaluations come.

    Raises:
        FormulaError: The formula is wrong, or one of its evaluations failed.
        ValueError: The formula interrupts jobs (it does not say `taskcompletion`), or leaves some without a node.
    """
    return _Pool(trace, Formula(formula), setup, random.Random(f"{trace.name}/{seed}")).run()  # noqa: S311 - no secrets


class _Pool:
    def __init__(self, trace: Trace, formula: Formula, setup: Setup, draw: random.Random) -> None:
        self._trace, self._formula, self._setup, self._draw = trace, formula, setup, draw
        self._now = -IDLE_BEFORE
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._nodes: list[_Node] = []
        self._numbers = itertools.count()
        self._targets = _Targets()
        self._waiting: deque[tuple[int, float]] = deque()  # job, when it was queued
        self._running = self._done = 0
        self._followers: dict[int, list[int]] = {}
        self._billing = _Billing()
        self._timeline = [(self._now, 0, 0)]
        self._samples = {name: Samples() for name in METRICS}
        self._sample_at = self._now + draw.uniform(0, SAMPLE_PERIOD)
        self._taken: tuple[float, int, int] | None = None  # the last sample, which cannot be read yet
        self._autoscale = True
        self._schedule = 0  # evaluations that belong to an older schedule do not happen
        self._look_awaited = False

    def run(self) -> Outcome:
        """Simulate until all jobs are done and the trace's span is over."""
        jobs = self._trace.jobs
        for number, job in enumerate(jobs):
            if job.after is None:
                self._at(job.queued + DELIVERY, partial(self._arrive, number, job.queued))
            else:
                self._followers.setdefault(job.after, []).append(number)
        self._evaluate_in(EVALUATION_INTERVAL + self._draw.uniform(0, EVALUATION_INTERVAL))
        if self._setup.boost:
            self._at(self._now + self._draw.uniform(0, BOOST_INTERVAL), self._timer)
        while self._done < len(jobs) or self._events[0][0] <= self._trace.span:
            time, _, event = heapq.heappop(self._events)
            if time > self._trace.span + PATIENCE:
                raise ValueError(f"{len(jobs) - self._done} jobs do not end: there are too few nodes for them")
            self._take_samples(time)
            self._now = time
            event()
            change = (len(self._nodes), len(self._waiting))
            if change != self._timeline[-1][1:]:
                self._timeline.append((time, *change))
        self._now = max(self._now, self._trace.span)
        for node in self._nodes:
            self._bill(node)
        billing = self._billing
        slot_seconds = billing.node_seconds * self._setup.slots
        used = billing.job_seconds / slot_seconds if slot_seconds else 0.0
        return Outcome(billing.waits, billing.node_seconds / 3600, used, self._timeline)

    def _at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), event))

    # Jobs

    def _arrive(self, number: int, queued: float) -> None:
        self._waiting.append((number, queued))
        self._start_jobs()
        if self._setup.boost and not self._look_awaited:
            self._look_awaited = True
            self._at(self._now + BOOST_DELAY, self._look_soon)

    def _start_jobs(self) -> None:
        while self._waiting:
            free = [node for node in self._nodes if node.state == "ready" and node.tasks < self._setup.slots]
            if not free:
                return
            node = max(free, key=lambda node: (node.tasks, -node.number))
            number, queued = self._waiting.popleft()
            node.tasks += 1
            self._running += 1
            self._billing.waits.append(self._now + LAUNCH - queued)
            duration = self._trace.jobs[number].duration
            self._billing.job_seconds += duration
            self._at(self._now + LAUNCH + duration, partial(self._end, number, node))

    def _end(self, number: int, node: _Node) -> None:
        node.tasks -= 1
        node.idle_since = self._now
        self._running -= 1
        self._done += 1
        for follower in self._followers.get(number, ()):
            queued = max(self._trace.jobs[follower].queued, self._now)
            self._at(queued + DELIVERY, partial(self._arrive, follower, queued))
        if node.state == "leaving" and not node.tasks:
            self._deallocate(node)
        self._start_jobs()

    # Nodes

    def _count(self, states: tuple[str, ...], *, spot: bool | None = None) -> int:
        return sum(node.state in states and spot in {None, node.spot} for node in self._nodes)

    def _aim(self) -> None:
        """Order and dismiss nodes until there are as many as the targets say, within the quota."""
        missing = {
            spot: target - self._count(WANTED, spot=spot)
            for spot, target in ((False, self._targets.dedicated), (True, self._targets.spot))
        }
        for spot, number in sorted(missing.items(), key=lambda item: item[1]):  # those that leave make room
            if number < 0:
                self._dismiss(-number, spot=spot)
            for _ in range(min(number, self._setup.max_nodes - len(self._nodes))):
                node = _Node(next(self._numbers), spot)
                self._nodes.append(node)
                self._at(self._now + self._draw.uniform(*self._setup.allocation), partial(self._boot, node))

    def _dismiss(self, number: int, *, spot: bool) -> None:
        """Let nodes go: first those not there yet, then the longest idle, those that boot, those with fewest tasks."""

        def rank(node: _Node) -> tuple[float, ...]:
            if node.state == "ready":
                return (1, node.idle_since, node.number) if not node.tasks else (3, node.tasks, node.number)
            return (0 if node.state == "allocating" else 2, -node.number)

        candidates = [node for node in self._nodes if node.state in WANTED and node.spot == spot]
        for node in sorted(candidates, key=rank)[:number]:
            if node.state == "allocating":
                self._nodes.remove(node)
            elif node.tasks:
                node.state = "leaving"
            else:
                self._deallocate(node)

    def _boot(self, node: _Node) -> None:
        if node in self._nodes:  # it was not dismissed meanwhile
            node.state, node.billed_from = "booting", self._now
            self._at(self._now + self._draw.uniform(*self._setup.boot), partial(self._ready, node))

    def _ready(self, node: _Node) -> None:
        if node.state == "booting":
            node.state, node.idle_since = "ready", self._now
            self._start_jobs()

    def _deallocate(self, node: _Node) -> None:
        node.state = "deallocating"
        self._at(self._now + DEALLOCATION, partial(self._remove, node))

    def _remove(self, node: _Node) -> None:
        self._bill(node)
        self._nodes.remove(node)
        self._aim()  # the quota has room again

    def _bill(self, node: _Node) -> None:
        if node.state != "allocating":
            self._billing.node_seconds += max(0.0, self._now - max(0.0, node.billed_from))

    # Autoscale

    def _take_samples(self, until: float) -> None:
        """Take the samples that are due. Each can be read when the next one is taken."""
        while self._sample_at <= until:
            if self._taken is not None:
                time, active, running = self._taken
                for name, value in (
                    ("$ActiveTasks", active),
                    ("$RunningTasks", running),
                    ("$PendingTasks", active + running),
                ):
                    self._samples[name].add(START + time, float(value))
            self._taken = (self._sample_at, len(self._waiting), self._running)
            self._sample_at += SAMPLE_PERIOD

    def _evaluate_in(self, seconds: float) -> None:
        self._schedule += 1
        self._at(self._now + seconds, partial(self._evaluate, self._schedule))

    def _evaluate(self, schedule: int) -> None:
        if not self._autoscale or schedule != self._schedule:
            return
        targets = self._targets
        decision = self._formula.evaluate(
            Situation(
                START + self._now,
                self._samples,
                self._setup.slots,
                self._count(PRESENT, spot=False),
                self._count(PRESENT, spot=True),
                targets.dedicated,
                targets.spot,
            )
        )
        if decision.deallocation != "taskcompletion":
            raise ValueError(f"the formula interrupts jobs: {decision.deallocation}")
        targets.dedicated = targets.dedicated if decision.dedicated is None else decision.dedicated
        targets.spot = targets.spot if decision.spot is None else decision.spot
        self._aim()
        self._evaluate_in(EVALUATION_INTERVAL)

    # Boost

    def _look_soon(self) -> None:
        self._look_awaited = False
        self._look()

    def _timer(self) -> None:
        self._look()
        self._at(self._now + BOOST_INTERVAL, self._timer)

    def _look(self) -> None:
        """Do what the orchestrator does at a look: resize while nodes are missing, else switch autoscale on again."""
        if self._count(RESIZING):
            return
        jobs = len(self._waiting) + self._running
        nodes = min(self._setup.max_nodes, math.ceil(jobs / self._setup.slots))
        if nodes > self._targets.dedicated + self._targets.spot:
            self._autoscale = False
            self._targets.dedicated = nodes - self._targets.spot
            self._aim()
        elif not self._autoscale:
            self._autoscale = True
            if not self._setup.keeps_samples:
                self._samples = {name: Samples() for name in METRICS}
            self._evaluate_in(EVALUATION_INTERVAL)
