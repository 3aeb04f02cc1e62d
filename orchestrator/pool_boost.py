"""More nodes as soon as a queued job finds no free slot, instead of at the formula's next evaluation.

Batch evaluates an autoscale formula every five minutes at best, and refuses to resize a pool that has one. So a boost
is: autoscale off, resize, and, once the pool is steady, the same formula on again. Nothing here ever takes a node away:
that stays the formula's.

Each step is a look at the pool and at most one thing done about it, and leaves a state that the next look understands.
So a process may die at any point, and many may look at once:

    | autoscale | note           | what is done                                                         |
    |-----------|----------------|----------------------------------------------------------------------|
    | on        |                | nodes are missing: write the note, switch autoscale off, resize      |
    | off       | written        | nodes are still missing: resize; else switch autoscale on again      |
    | on        | written        | it was forgotten half way: forget it when it is old                  |
    | off       |                | a person switched it off: hands off                                  |

The note holds the formula, which Batch itself drops as soon as autoscale is off. Whoever writes it has the boost.

Source: Azure Batch service REST API 2025-06-01: Pools - Disable Auto Scale, Resize, Enable Auto Scale.
"""

import logging
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from orchestrator.errors import UpstreamError

logger = logging.getLogger(__name__)

# Seconds from a job's task to the look: the jobs of one matrix are delivered within a few.
GATHER = 5.0
# A note with autoscale on is being acted upon for a second or so. One that is this old was forgotten.
FORGOTTEN = timedelta(minutes=5)

type Did = Literal["nothing", "boosted", "restored"]


@dataclass(frozen=True)
class Autoscale:
    """How a pool scales: what is switched off for a boost, and on again afterwards."""

    formula: str
    interval: timedelta


@dataclass(frozen=True)
class PoolState:
    """A pool, as far as its size goes.

    Attributes:
        steady: no resize is going on; the service takes one, or an autoscale formula, only then.
        dedicated: how many dedicated nodes it has or is about to have (its target).
        spot: the same of Spot nodes.
        slots_per_node: how many one-slot tasks a node runs at once.
        autoscale: None while it is off.
    """

    steady: bool
    dedicated: int
    spot: int
    slots_per_node: int
    autoscale: Autoscale | None


@dataclass(frozen=True)
class Note:
    """What somebody who switched autoscale off, or was about to, has left behind.

    Attributes:
        autoscale: what to switch on again.
        written: when.
        version: tells it from a later note of the same pool.
    """

    autoscale: Autoscale
    written: datetime
    version: str


class Pools(Protocol):
    """Pools of one Batch account. Everything may raise `UpstreamError`."""

    def look(self, pool: str) -> PoolState:
        """Return how the pool is."""

    def slots_wanted(self, pool: str) -> int:
        """Return how many slots the pool's waiting and running runner tasks take."""

    def write_note(self, pool: str, autoscale: Autoscale) -> bool:
        """Write the pool's note; return False if there is one already."""

    def read_note(self, pool: str) -> Note | None:
        """Return the pool's note, None if there is none."""

    def forget(self, pool: str, note: Note) -> None:
        """Take this note away; one that was written since stays."""

    def disable_autoscale(self, pool: str) -> None:
        """Switch autoscale off; the pool keeps its size."""

    def resize(self, pool: str, dedicated: int, spot: int) -> None:
        """Give the pool new targets. The service refuses while autoscale is on or the pool is not steady."""

    def enable_autoscale(self, pool: str, autoscale: Autoscale) -> None:
        """Switch autoscale on. The service refuses while the pool is not steady, and twice within 30 s."""


@dataclass(frozen=True)
class Limits:
    """What a formula allows: its cap, and how many of the nodes are dedicated (None: all of them)."""

    nodes: int
    dedicated: int | None

    @classmethod
    def of(cls, formula: str) -> "Limits | None":
        """Read them from the formula's own assignments; return None if it names no `maxNodes`.

        The formulas in `arm/autoscale` begin with `maxNodes = 16;`, `spot = 1;` and `dedicatedNodes = 1;`: there is one
        place where a pool's cap is written.
        """
        values = {name: int(value) for name, value in re.findall(r"(?m)^\s*(\w+)\s*=\s*(\d+)\s*;", formula)}
        if "maxNodes" not in values:
            return None
        return cls(values["maxNodes"], values.get("dedicatedNodes", 0) if values.get("spot") else None)


def larger_size(pool: PoolState, slots_wanted: int, limits: Limits) -> tuple[int, int] | None:
    """Return how many dedicated and Spot nodes the pool shall have; None if it has, or awaits, enough of them."""
    wanted = min(limits.nodes, -(-slots_wanted // pool.slots_per_node))
    if wanted <= pool.dedicated + pool.spot:
        return None
    dedicated = wanted if limits.dedicated is None else min(wanted, limits.dedicated)
    return max(dedicated, pool.dedicated), max(wanted - dedicated, pool.spot)


class PoolBoost:
    """Boosts pools. Safe under threads and beside other processes.

    Args:
        pools: the account's pools.
        now: the time, with its zone.
    """

    def __init__(self, pools: Pools, now: Callable[[], datetime]) -> None:
        self._pools = pools
        self._now = now
        self._awaited: set[str] = set()
        self._lock = threading.Lock()

    def soon(self, pool: str) -> None:
        """Tend a pool in a moment, in a thread of its own; the jobs until then count as one reason. Never fails."""
        with self._lock:
            if pool in self._awaited:
                return
            self._awaited.add(pool)
        timer = threading.Timer(GATHER, self._tend_awaited, [pool])
        timer.daemon = True
        timer.start()

    def tend_all(self, pools: Collection[str]) -> None:
        """Tend every pool: to be called about once a minute, as what a boost began ends here. Never fails."""
        for pool in pools:
            try:
                self.tend(pool)
            except UpstreamError as error:
                logger.warning("the pool %s is left as it is until the next look: %s", pool, error)
            except Exception:  # one pool's trouble is not another's
                logger.exception("the pool %s is left as it is until the next look", pool)

    def tend(self, pool: str) -> Did:
        """Look at a pool and do the next thing about its size, if there is one.

        Raises:
            UpstreamError: Batch does not do it, or not now; the same call later finds what there is left to do.
        """
        state = self._pools.look(pool)
        if not state.steady:
            return "nothing"
        if state.autoscale is not None:
            return self._boost(pool, state, state.autoscale)
        note = self._pools.read_note(pool)
        if note is None:
            return "nothing"
        if self._enlarge(pool, state, note.autoscale):
            return "boosted"
        self._pools.enable_autoscale(pool, note.autoscale)
        self._pools.forget(pool, note)
        logger.info("the pool %s scales by its formula again", pool)
        return "restored"

    def _boost(self, pool: str, state: PoolState, autoscale: Autoscale) -> Did:
        limits = Limits.of(autoscale.formula)
        if limits is None:
            logger.warning("the pool %s is not boosted: its formula does not say `maxNodes = NUMBER;`", pool)
            return "nothing"
        if larger_size(state, self._pools.slots_wanted(pool), limits) is None:
            # A note left here would be acted upon as soon as a person switches autoscale off.
            self._forget_old(pool)
            return "nothing"
        begun = self._now()
        if not self._pools.write_note(pool, autoscale):
            self._forget_old(pool)
            return "nothing"
        self._pools.disable_autoscale(pool)
        if self._now() - begun > FORGOTTEN:
            # This process slept, and others may have taken its note for forgotten. What it saw is no longer true.
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
        logger.info("the pool %s is resized to %d dedicated and %d Spot nodes", pool, *size)
        return True

    def _forget_old(self, pool: str) -> None:
        """Take away a note that nobody is acting upon: its writer died before it switched autoscale off or after."""
        note = self._pools.read_note(pool)
        if note is not None and self._now() - note.written > FORGOTTEN:
            self._pools.forget(pool, note)

    def _tend_awaited(self, pool: str) -> None:
        with self._lock:
            self._awaited.discard(pool)
        self.tend_all([pool])
