"""Boost: scale-out as soon as a queued job finds no free slot, without waiting for the autoscale formula.

Batch evaluates an autoscale formula every five minutes at best, and refuses to resize a pool that has one. So a boost
switches autoscale off, resizes the pool, and switches autoscale on again, with the same formula, once the pool is
steady. A boost never removes a node: only the formula does.

Each step reads the state of the pool, makes the change that this state needs, and leaves a state that the next step can
go on from. So a process may die at any point, and many processes may take steps at the same time:

    | autoscale | note    | what a step does                                                                  |
    |-----------|---------|-----------------------------------------------------------------------------------|
    | on        | none    | if nodes are missing: write the note, switch autoscale off, resize                |
    | off       | written | if nodes are still missing: resize; else switch autoscale on, delete the note     |
    | on        | written | if the note is old, its writer died: delete the note                              |
    | off       | none    | nothing: a person switched autoscale off                                          |

The note saves the formula, because Batch itself drops the formula as soon as autoscale is off. Only one process can
write the note, and that process starts the boost.

Source: Azure Batch service REST API 2025-06-01: Pools - Disable Auto Scale, Resize, Enable Auto Scale.
"""

import logging
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from orchestrator.clock import Clock, utc_now
from orchestrator.errors import UpstreamError
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.runtime import MakeLock, start_timer

log = Log(__name__)

# Seconds from a job's task to the step: the jobs of one matrix are delivered within a few seconds.
STEP_DELAY = 5.0
# A note is normally followed within seconds by switching autoscale off. An older one was left by a process that died.
NOTE_ABANDONED_AFTER = timedelta(minutes=5)

# Logged when a step failed.
_UNCHANGED = "the pool is left as it is until the next step"

# What a step did about a pool's size.
type Step = Literal["nothing", "boosted", "restored"]


@dataclass(frozen=True)
class Autoscale:
    """How a pool scales: what a boost switches off, and on again afterwards."""

    formula: str
    interval: timedelta


@dataclass(frozen=True)
class PoolState:
    """The size of a pool, and what decides on it.

    Attributes:
        steady: whether no resize is going on. The service takes a resize or a formula only while the pool is steady.
        dedicated: the target number of dedicated nodes.
        spot: the target number of Spot nodes.
        slots_per_node: how many one-slot tasks a node runs at once.
        autoscale: None while autoscale is off.
    """

    steady: bool
    dedicated: int
    spot: int
    slots_per_node: int
    autoscale: Autoscale | None


@dataclass(frozen=True)
class SavedAutoscale:
    """What a pool's note saves: the formula that a process switched off, or was about to switch off.

    Attributes:
        autoscale: what to switch on again.
        written: when the note was written.
        version: tells this note from a later one of the same pool.
    """

    autoscale: Autoscale
    written: datetime
    version: str


class Pools(Protocol):
    """The pools of a Batch account. Every method may raise `UpstreamError`."""

    def get(self, pool: str) -> PoolState:
        """Return the pool's state."""

    def slots_wanted(self, pool: str) -> int:
        """Return how many slots the pool's waiting and running runner tasks take."""

    def write_note(self, pool: str, autoscale: Autoscale) -> bool:
        """Save the pool's formula in a note; return False if the pool has a note already."""

    def read_note(self, pool: str) -> SavedAutoscale | None:
        """Return what the pool's note saves, None if the pool has no note."""

    def delete_note(self, pool: str, saved: SavedAutoscale) -> None:
        """Delete the note that was read; a note that was written since then stays."""

    def disable_autoscale(self, pool: str) -> None:
        """Switch autoscale off; the pool keeps its size."""

    def resize(self, pool: str, dedicated: int, spot: int) -> None:
        """Set the pool's target sizes. The service refuses while autoscale is on or the pool is not steady."""

    def enable_autoscale(self, pool: str, autoscale: Autoscale) -> None:
        """Switch autoscale on. The service refuses while the pool is not steady, and twice within 30 s."""


@dataclass(frozen=True)
class Limits:
    """What a formula allows.

    Attributes:
        nodes: how many nodes at most.
        dedicated: how many of them are dedicated nodes; None if all are.
    """

    nodes: int
    dedicated: int | None

    @classmethod
    def of(cls, formula: str) -> "Limits | None":
        """Read the limits from the formula's own assignments; return None if it does not set `maxNodes`.

        The formulas in `arm/autoscale` begin with `maxNodes = 16;`, `spot = 1;` and `dedicatedNodes = 1;`. So a pool's
        limits are written in one place only.
        """
        values = {name: int(value) for name, value in re.findall(r"(?m)^\s*(\w+)\s*=\s*(\d+)\s*;", formula)}
        if "maxNodes" not in values:
            return None
        return cls(values["maxNodes"], values.get("dedicatedNodes", 0) if values.get("spot") else None)


def larger_size(pool: PoolState, slots_wanted: int, limits: Limits) -> tuple[int, int] | None:
    """Return the number of dedicated and Spot nodes that the pool needs; None if its targets suffice.

    Nodes that the pool has count, also those that the formula would have chosen of the other kind. So the sum stays
    within the formula's limit.
    """
    wanted = min(limits.nodes, -(-slots_wanted // pool.slots_per_node))
    if wanted <= pool.dedicated + pool.spot:
        return None
    most_dedicated = wanted if limits.dedicated is None else limits.dedicated
    dedicated = max(pool.dedicated, min(wanted - pool.spot, most_dedicated))
    return dedicated, wanted - dedicated


class PoolBoost:
    """Boosts pools. Safe under threads and beside other processes.

    Args:
        pools: the account's pools.
        clock: the time.
        start_timer: calls an action after some seconds, without waiting for it.
        lock: makes the lock.
    """

    def __init__(
        self,
        pools: Pools,
        clock: Clock = utc_now,
        *,
        start_timer: Callable[[float, Callable[[], None]], None] = start_timer,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._pools = pools
        self._clock = clock
        self._start_timer = start_timer
        self._scheduled: set[str] = set()
        self._lock = lock()

    def schedule(self, pool: str) -> None:
        """Take a step for a pool in a few seconds; calls until then lead to one step only.

        It never fails: an error is logged. The job that called for a boost has its task, with or without it.
        """
        with self._lock:
            if pool in self._scheduled:
                return
            self._scheduled.add(pool)
        try:
            self._start_timer(STEP_DELAY, lambda: self._step_scheduled(pool))
        except Exception:  # such as no more threads
            log.exception(message="the pool is not boosted until the next step", pool=pool)
            with self._lock:
                self._scheduled.discard(pool)

    def step_all(self, pools: Collection[str]) -> None:
        """Take a step for every pool. Call this about once a minute: the boosts that were begun end here.

        It never fails: an error is logged, and the other pools get their step.
        """
        for pool in pools:
            try:
                self.step(pool)
            except UpstreamError as error:
                log(logging.WARNING, Line.BOOST, message=_UNCHANGED, pool=pool, reason=str(error))
            except Exception:  # one pool's trouble is not another's
                log.exception(message=_UNCHANGED, pool=pool)

    def step(self, pool: str) -> Step:
        """Read a pool's state and make the change that it needs, if any; see the table above.

        Raises:
            UpstreamError: Batch did not make the change, or not now. The next step starts from the state that is left.
        """
        state = self._pools.get(pool)
        if not state.steady:
            return "nothing"
        if state.autoscale is not None:
            return self._begin(pool, state, state.autoscale)
        saved = self._pools.read_note(pool)
        if saved is None:
            return "nothing"
        if self._enlarge(pool, state, saved.autoscale):
            return "boosted"
        self._pools.enable_autoscale(pool, saved.autoscale)
        self._pools.delete_note(pool, saved)
        log(logging.INFO, Line.BOOST, message="the pool scales by its formula again", pool=pool)
        return "restored"

    def _begin(self, pool: str, state: PoolState, autoscale: Autoscale) -> Step:
        limits = Limits.of(autoscale.formula)
        if limits is None:
            log(
                logging.WARNING,
                Line.BOOST,
                message="the pool is not boosted: its formula does not say `maxNodes = NUMBER;`",
                pool=pool,
            )
            return "nothing"
        if larger_size(state, self._pools.slots_wanted(pool), limits) is None:
            # With a note left here, a step would undo it when a person switches autoscale off.
            self._delete_abandoned_note(pool)
            return "nothing"
        begun = self._clock()
        if not self._pools.write_note(pool, autoscale):
            self._delete_abandoned_note(pool)
            return "nothing"
        self._pools.disable_autoscale(pool)
        if self._clock() - begun > NOTE_ABANDONED_AFTER:
            # This process was suspended. Others may have deleted its note as abandoned, and the pool may have changed.
            self._pools.write_note(pool, autoscale)
        else:
            self._enlarge(pool, state, autoscale)
        return "boosted"

    def _enlarge(self, pool: str, state: PoolState, autoscale: Autoscale) -> bool:
        limits = Limits.of(autoscale.formula)
        size = larger_size(state, self._pools.slots_wanted(pool), limits) if limits else None
        if size is None:
            return False
        self._pools.resize(pool, *size)
        dedicated, spot = size
        log(logging.INFO, Line.BOOST, message="the pool is resized", pool=pool, dedicated=dedicated, spot=spot)
        return True

    def _delete_abandoned_note(self, pool: str) -> None:
        """Delete a note whose writer died before it switched autoscale off, or after it switched autoscale on."""
        saved = self._pools.read_note(pool)
        if saved is None or self._clock() - saved.written <= NOTE_ABANDONED_AFTER:
            return
        # If this process was suspended, another one may have begun a boost since the pool's state was read.
        if self._pools.get(pool).autoscale is not None:
            self._pools.delete_note(pool, saved)

    def _step_scheduled(self, pool: str) -> None:
        with self._lock:
            self._scheduled.discard(pool)
        self.step_all([pool])
