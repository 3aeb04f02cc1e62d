"""Stand-ins that several tests need."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class ManualClock:
    """A clock that stands still until it is told otherwise.

    Attributes:
        now: the time that it shows.
    """

    now: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, time: timedelta) -> None:
        """Let some time pass."""
        self.now += time
