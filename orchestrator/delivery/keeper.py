"""Keeps requests of deliveries in the queue: those that come at the same time together, in one call."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from orchestrator.delivery.deadline import in_time, settle, tell
from orchestrator.jobs.request import MOST_TOGETHER, Retry, RetryLater
from orchestrator.runtime import Threads


class _Kept(NamedTuple):
    """A request that is to be kept, and the delivery that waits for it."""

    retry: Retry
    waiting: asyncio.Future[float]


class Keeper:
    """Keeps requests. It belongs to one event loop.

    While one call to the queue is under way, requests gather for the next. So a burst costs few calls, and a single
    request does not wait for another.

    Args:
        retry_later: puts requests into the queue.
        threads: run it. They are used for nothing else, so that a request can be kept whatever starting a runner hangs
            in, and they do not wait for a late event loop.
    """

    def __init__(self, retry_later: RetryLater, threads: Threads) -> None:
        self._retry_later = retry_later
        self._threads = threads
        self._gathered: deque[_Kept] = deque()

    async def keep(self, retry: Retry, seconds: float) -> float:
        """Keep a request; return, when the queue has it, the seconds until it is tried.

        Args:
            retry: the request.
            seconds: the longest wait for the queue.

        Raises:
            TransientError: The queue does not take it, or not in time; the queue may have it all the same.
        """
        kept = _Kept(retry, asyncio.get_running_loop().create_future())
        self._gathered.append(kept)
        # There is a call for each request. Those that find nothing left to send end at once.
        self._threads.submit(self._send)
        return await in_time(seconds, kept.waiting)

    def _send(self) -> None:
        """Send what has gathered; called by a thread."""
        batch: list[_Kept] = []
        with suppress(IndexError):  # nothing is left
            while len(batch) < MOST_TOGETHER:
                kept = self._gathered.popleft()
                if not kept.waiting.done():  # else GitHub has its answer already
                    batch.append(kept)
        if not batch:
            return
        waits: Iterable[float] = [0.0] * len(batch)
        error = None
        try:
            waits = self._retry_later([kept.retry for kept in batch])
        except BaseException as raised:  # noqa: BLE001 - it is the deliveries'
            error = raised
        tell(batch[0].waiting.get_loop(), _settle_all, batch, waits, error)


def _settle_all(batch: list[_Kept], waits: Iterable[float], error: BaseException | None) -> None:
    for kept, wait in zip(batch, waits, strict=True):
        settle(kept.waiting, wait, error)
