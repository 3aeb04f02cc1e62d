"""Bounds how long a caller waits for something, whatever that something is stuck in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

from orchestrator.errors import TransientError

# Name resolution, TLS and an identity endpoint know no common time-out, so the wait is bounded from outside.
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="upstream")


def within[T](seconds: float, action: Callable[[], T]) -> T:
    """Run an action in another thread and return its result, or raise its exception.

    What takes longer goes on alone: only use it for what may safely be done twice.

    Raises:
        TransientError: It was not done in time.
    """
    future = _threads.submit(action)
    try:
        return future.result(timeout=seconds)
    except FutureTimeoutError:
        future.cancel()
        raise TransientError(f"not done within {seconds:g} s") from None


def aside(action: Callable[[], object]) -> None:
    """Run an action in another thread and do not wait for it."""
    _threads.submit(action)
