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


class Terminal(io.StringIO):
    """A terminal, as far as a program asks before it prints."""

    def isatty(self) -> bool:
        """Return True: it is one."""
        return True
