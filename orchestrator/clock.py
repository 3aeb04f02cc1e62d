"""What time it is: the one kind of clock that everything takes as an argument."""

from collections.abc import Callable
from datetime import UTC, datetime

# Returns the time, with its zone.
type Clock = Callable[[], datetime]

# Earlier than everything: for what does not say when it was.
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def moment_of(text: str) -> datetime:
    """Read a time of ISO 8601, in UTC; one without a zone is UTC's.

    Raises:
        ValueError: It is none.
    """
    read = datetime.fromisoformat(text)
    try:
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None
