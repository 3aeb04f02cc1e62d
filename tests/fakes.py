"""Stand-ins written by hand that many tests share."""

from datetime import datetime, timedelta


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Let time go by."""
        self.now += by
