"""Bounds how long a delivery waits for something, whatever that something hangs in.

Name resolution, TLS and an identity endpoint have no common time-out, so blocking work is done in a thread and the wait
is bounded from outside. The event loop stays free meanwhile: deliveries that wait for a slow GitHub hold up no other.
"""

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from orchestrator.errors import TransientError
from orchestrator.runtime import Threads

# How much of the usual time of an action each new one changes.
WEIGHT = 1 / 16


async def within[T](seconds: float, threads: Threads, action: Callable[[], T]) -> T:
    """Run an action in another thread and return its result, or raise its exception.

    What takes longer goes on alone: only use it for what may safely be done twice.

    Raises:
        TransientError: It was not done in time.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = loop.create_future()
    threads.submit(_run, contextvars.copy_context(), action, loop, functools.partial(settle, waiting))
    return await in_time(seconds, waiting)


async def in_time[T](seconds: float, waiting: asyncio.Future[T]) -> T:
    """Return a future's result, or raise its exception.

    Raises:
        TransientError: It was not done in time.
    """
    timer = waiting.get_loop().call_later(seconds, _expire, waiting, seconds)
    try:
        return await waiting
    finally:
        timer.cancel()


def settle[T](waiting: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    """Give a future its result or exception, unless nobody waits for it any more; called by the loop."""
    if waiting.done():
        return
    if error is None:
        waiting.set_result(result)
    else:
        waiting.set_exception(error)


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
    """Have the loop call something, from a thread; a loop that has ended has nobody who waits for it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)


class Workers:
    """Some threads, and a line of what waits for one. It belongs to one event loop.

    A thread gets its next action when the loop has taken the result of its last one. So a loop that is late, because
    very many deliveries came at once, is not made later by new work.

    Args:
        threads: run the actions.
        most: how many of them are used.
    """

    def __init__(self, threads: Threads, most: int) -> None:
        self._threads = threads
        self._most = most
        self._busy = 0
        self._line: deque[tuple[asyncio.Future[Any], Callable[[], None]]] = deque()
        self._usual = 0.0

    async def within[T](self, seconds: float, action: Callable[[], T]) -> T:
        """Run an action as the function `within` does, after those that came before it.

        Raises:
            TransientError: It was not done in time; or so much is ahead of it that it would not be, then at once.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        moments: list[float] = []  # when the action began and ended

        def timed() -> T:
            moments.append(loop.time())
            try:
                return action()
            finally:
                moments.append(loop.time())

        def begin() -> None:
            self._busy += 1
            self._threads.submit(_run, context, timed, loop, functools.partial(self._done, waiting, moments))

        if self._busy < self._most:
            begin()
        else:
            expected = (len(self._line) / self._most + 1) * self._usual
            if expected > seconds:
                raise TransientError("too many jobs are queued at once")
            self._line.append((waiting, begin))
        return await in_time(seconds, waiting)

    def _done[T](
        self, waiting: asyncio.Future[T], moments: Sequence[float], result: T, error: BaseException | None
    ) -> None:
        """Take the result of an action; called by the loop.

        What the loop itself is late does not count: it says nothing of how long the next action takes.
        """
        self._busy -= 1
        took = moments[-1] - moments[0]
        self._usual += (took - self._usual) * (WEIGHT if self._usual else 1)
        settle(waiting, result, error)
        while self._line and self._busy < self._most:
            next_waiting, begin = self._line.popleft()
            if not next_waiting.done():  # else nobody waits for it any more
                begin()


def _run(
    context: contextvars.Context,
    action: Callable[[], object],
    loop: asyncio.AbstractEventLoop,
    done: Callable[[Any, BaseException | None], None],
) -> None:
    """Run an action in this thread, with the ids of the log, and have the loop call `done` with what came of it."""
    try:
        result = context.run(action)
    except BaseException as error:  # noqa: BLE001 - it is the caller's
        tell(loop, done, None, error)
    else:
        tell(loop, done, result, None)


def _expire(waiting: asyncio.Future[Any], seconds: float) -> None:
    if not waiting.done():
        waiting.set_exception(TransientError(f"not done within {seconds:.2g} s"))
