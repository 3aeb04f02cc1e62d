"""An event loop whose clock stands still while anything happens, and jumps to the next thing that is due."""

import asyncio
from typing import Any

# Where virtual time begins, in epoch seconds.
START = 1_800_000_000.0


class Idle(Exception):
    """Nothing is left that could ever happen: what waits, waits for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their virtual times. It touches no file descriptor.

    Other threads may run only while the loop waits for them (`Threads` sees to that), so what they ask of it needs no
    lock and wakes nobody.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self  # what the base class asks to wait for the next thing
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual seconds since the beginning."""
        return self._now

    def now(self) -> float:
        """Return the virtual time in epoch seconds: the one clock of the whole simulation."""
        return START + self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that lies before the next thing that is due.

        Raises:
            Idle: There is none.
        """
        if timeout is None:
            raise Idle
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Take note of nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Wake nobody: see the class."""
