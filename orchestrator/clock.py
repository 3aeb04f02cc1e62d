"""What time it is: the one kind of clock that everything takes as an argument."""

from collections.abc import Callable
from datetime import UTC, datetime

# Returns the time, with its zone.
type Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)
