"""Bounds how long a delivery waits for something, whatever that something is stuck in.

Name resolution, TLS and an identity endpoint know no common time-out, so blocking work is done in a thread and the wait
is bounded from outside. The event loop stays free meanwhile: a burst that waits for a slow GitHub holds up nobody else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from orchestrator.errors import TransientError

UPSTREAM = ThreadPoolExecutor(max_workers=32, thread_name_prefix="upstream")
# A pool of its own, so that what hangs upstream never keeps a request from being kept.
QUEUE = ThreadPoolExecutor(max_workers=16, thread_name_prefix="queue")


async def within[T](seconds: float, threads: Executor, action: Callable[[], T]) -> T:
    """Run an action in another thread and return its result, or raise its exception.

    What takes longer goes on alone: only use it for what may safely be done twice.

    Raises:
        TransientError: It was not done in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().run_in_executor(threads, action)
    except TimeoutError:
        raise TransientError(f"not done within {seconds:.2g} s") from None
