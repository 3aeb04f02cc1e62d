"""Hand-written stand-ins that tests of several packages share."""

import io
from collections.abc import Callable
from concurrent.futures import Executor, Future
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


class Immediately(Executor):
    """Threads that do everything at once, and one thing after another."""

    def submit[**P, T](self, action: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it."""
        done = Future[T]()
        try:
            done.set_result(action(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)
        return done


class MemoryStore:
    """Keeps the record of what passes remember, for one process.

    Attributes:
        content: the record.
        fresh: whether somebody else has written it since it was read or written last.
        taken: whether the next write comes too late.
        error: raised by each call, if it is set.
    """

    def __init__(self, content: bytes | None = None) -> None:
        self.content = content
        self.fresh = content is not None
        self.taken = False
        self.error: Exception | None = None

    def read(self) -> bytes | None:
        """Return the record if it is new."""
        if self.error:
            raise self.error
        found, self.fresh = self.content if self.fresh else None, False
        return found

    def write(self, content: bytes) -> bool:
        """Take the record."""
        if self.error:
            raise self.error
        if not self.taken:
            self.content = content
        return not self.taken


class Terminal(io.StringIO):
    """A terminal, as far as a program asks before it prints."""

    def isatty(self) -> bool:
        """Return True: it is one."""
        return True
