"""What the process gives the application: its clock, its threads, its locks. A simulation gives its own."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from orchestrator.clock import Clock, utc_now


def start_timer(seconds: float, action: Callable[[], None]) -> None:
    """Call an action after some seconds, in a thread of its own that does not keep the process alive."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


# As many as the template lets an instance have deliveries at a time. More would take the interpreter lock from the
# event loop, and each start needs it for some milliseconds.
UPSTREAM_THREADS = 32


@dataclass(frozen=True)
class Runtime:
    """What the process gives the application.

    Attributes:
        clock: the time.
        lock: makes a lock.
        start_timer: calls an action after some seconds.
        upstream_threads: for the calls to GitHub and Batch that deliveries need; there are `UPSTREAM_THREADS`.
        retry_threads: for those that kept requests need. They are threads of their own, so that neither new deliveries
            nor kept requests wait for the others.
        queue_threads: for keeping requests. They are threads of their own, so that a request can be kept although every
            other thread hangs upstream.
        hook_range_threads: for asking GitHub where its webhooks come from, and for nothing else.
    """

    clock: Clock = utc_now
    lock: Callable[[], AbstractContextManager[object]] = threading.Lock
    start_timer: Callable[[float, Callable[[], None]], None] = start_timer
    upstream_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(UPSTREAM_THREADS, "upstream"))
    retry_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(32, "retry"))
    queue_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(8, "queue"))
    hook_range_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "hook-ranges"))
