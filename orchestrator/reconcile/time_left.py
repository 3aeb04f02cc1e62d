"""How long a pass may go on, shared by everything that it does."""

from collections.abc import Callable
from datetime import datetime, timedelta

from orchestrator.clock import Clock

# Seconds. A limit ends at a moment of a clock; who wakes a little too early would only wait again.
MARGIN = 0.1


class TimeLeft:
    """The time until a moment. Safe under threads.

    Args:
        clock: the time.
        sleep: waits for some seconds.
    """

    def __init__(self, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._end = clock()

    def ends_at(self, end: datetime) -> None:
        """Set the moment."""
        self._end = end

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return self._clock() >= self._end

    def wait(self, seconds: float | None) -> bool:
        """Wait for so long if there is time for it; return whether it was so."""
        if seconds is None or self._clock() + timedelta(seconds=seconds + MARGIN) >= self._end:
            return False
        self._sleep(seconds + MARGIN)
        return True
