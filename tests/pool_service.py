"""One pool of a Batch account in memory, and steps of the boost that stop before each of their calls to it."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

from greenlet import getcurrent, greenlet

from orchestrator.errors import TransientError
from orchestrator.pool_boost import Autoscale, Limits, PoolBoost, PoolState, SavedAutoscale
from tests.fakes import ManualClock

SLOTS_PER_NODE = 2
# How long the service takes at least to make a pool steady again.
RESIZE_TIME = timedelta(seconds=90)
# The service refuses a second request to enable autoscale within this time.
ENABLE_EVERY = timedelta(seconds=30)

# What becomes of a call: it takes effect, it does not, or it does and the answer is lost.
type Fate = Literal["answered", "refused", "answer lost"]


class Step(greenlet):
    """A step that some process takes. It runs to its next call each time that it is switched to.

    Args:
        pool: the pool.
    """

    def __init__(self, pool: "PoolService") -> None:
        super().__init__(self._take)
        self._pool = pool
        self.began = pool.clock()

    @property
    def age(self) -> timedelta:
        """Return for how long it has been going on."""
        return self._pool.clock() - self.began

    def _take(self) -> None:
        with suppress(TransientError):
            PoolBoost(self._pool, self._pool.clock).step("linux")


class PoolService:
    """The pool as the service keeps it. It checks each change that a boost makes.

    Args:
        formula: the formula that a person gave to the pool.
    """

    def __init__(self, formula: str) -> None:
        self.clock = ManualClock(datetime(2026, 11, 25, tzinfo=UTC))
        self.chosen = Autoscale(formula, timedelta(minutes=7))
        limits = Limits.of(formula)
        assert limits is not None
        self.limits = limits
        self.autoscale: Autoscale | None = self.chosen
        self.note: SavedAutoscale | None = None
        self.dedicated = self.spot = self.slots = 0
        # Whether a person switched autoscale off while nothing was under way, so that no boost may touch the pool.
        self.hands_off = False
        self._steady_at = self._enabled_at = self.clock() - ENABLE_EVERY
        self._versions = itertools.count()

    # What a boost asks for -------------------------------------------------------------------------------------------

    def get(self, _pool: str) -> PoolState:
        """Return the pool's state."""
        return self._called(lambda: PoolState(self.steady, self.dedicated, self.spot, SLOTS_PER_NODE, self.autoscale))

    def slots_wanted(self, _pool: str) -> int:
        """Return what the tasks take."""
        return self._called(lambda: self.slots)

    def read_note(self, _pool: str) -> SavedAutoscale | None:
        """Return what the note saves."""
        return self._called(lambda: self.note)

    def write_note(self, _pool: str, autoscale: Autoscale) -> bool:
        """Write the note, unless there is one."""

        def write() -> bool:
            assert autoscale == self.chosen
            if self.note is not None:
                return False
            self.note = SavedAutoscale(autoscale, self.clock(), str(next(self._versions)))
            return True

        return self._called(write)

    def delete_note(self, _pool: str, saved: SavedAutoscale) -> None:
        """Delete exactly this note."""

        def delete() -> None:
            if self.note == saved:
                self.note = None

        self._called(delete)

    def disable_autoscale(self, _pool: str) -> None:
        """Switch autoscale off."""

        def disable() -> None:
            assert not self.hands_off
            self.autoscale = None

        self._called(disable)

    def resize(self, _pool: str, dedicated: int, spot: int) -> None:
        """Set the targets; only where autoscale is off and the pool is steady."""

        def resize() -> None:
            self._refuse_unless(self.autoscale is None and self.steady)
            assert not self.hands_off
            assert dedicated + spot <= max(self.limits.nodes, self.dedicated + self.spot), "more than maxNodes"
            step = getcurrent()
            # What a step saw may have changed by the time of its resize, if the step takes longer than a resize.
            if not isinstance(step, Step) or step.age < RESIZE_TIME:
                assert dedicated >= self.dedicated, "dedicated nodes are taken away"
                assert spot >= self.spot, "Spot nodes are taken away"
            self.set_size(dedicated, spot)

        self._called(resize)

    def enable_autoscale(self, _pool: str, autoscale: Autoscale) -> None:
        """Switch autoscale on, if the pool is steady and it was not done a moment ago."""

        def enable() -> None:
            assert not self.hands_off
            assert autoscale == self.chosen, "another formula"
            self._refuse_unless(self.may_enable)
            self.switch_on()

        self._called(enable)

    # What others do --------------------------------------------------------------------------------------------------

    @property
    def steady(self) -> bool:
        """Whether no resize is going on."""
        return self.clock() >= self._steady_at

    @property
    def may_enable(self) -> bool:
        """Whether the service takes a request to enable autoscale."""
        return self.steady and self.clock() - self._enabled_at >= ENABLE_EVERY

    def switch_on(self) -> None:
        """Put the formula into force."""
        self.autoscale, self._enabled_at = self.chosen, self.clock()

    def set_size(self, dedicated: int, spot: int) -> None:
        """Set the targets; the pool is not steady until the nodes are there."""
        if (dedicated, spot) != (self.dedicated, self.spot):
            self._steady_at = self.clock() + RESIZE_TIME
        self.dedicated, self.spot = dedicated, spot

    def _called[T](self, effect: Callable[[], T]) -> T:
        step = getcurrent()
        fate: Fate = step.parent.switch() if isinstance(step, Step) and step.parent else "answered"
        self._refuse_unless(fate != "refused")
        result = effect()
        self._refuse_unless(fate != "answer lost")
        return result

    def _refuse_unless(self, accepted: bool) -> None:
        if not accepted:
            raise TransientError("not now")
