"""Bounds how long a delivery waits for something, whatever that something hangs in.

Name resolution, TLS and an identity endpoint have no common time-out, so blocking work is done in a thread and the wait
is bounded from outside. The event loop stays free meanwhile: deliveries that wait for a slow GitHub hold up no other.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor

from orchestrator.errors import TransientError


async def within[T](seconds: float, threads: Executor, action: Callable[[], T]) -> T:
    """Run an action in another thread and return its result, or raise its exception.

    What takes longer goes on alone: only use it for what may safely be done twice.

    Raises:
        TransientError: It was not done in time.
    """
    context = contextvars.copy_context()  # the ids of the log
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().run_in_executor(threads, context.run, action)
    except TimeoutError:
        raise TransientError(f"not done within {seconds:.2g} s") from None
