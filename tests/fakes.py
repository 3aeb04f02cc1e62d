"""Hand-written stand-ins that tests of several packages share."""

from datetime import datetime, timedelta


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move it on."""
        self.now += by
