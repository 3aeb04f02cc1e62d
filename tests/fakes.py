"""Hand-written stand-ins that tests of several packages share."""

import io
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move it on."""
        self.now += by


class Terminal(io.StringIO):
    """A terminal, as far as a program asks before it prints."""

    def isatty(self) -> bool:
        """Return True: it is one."""
        return True
