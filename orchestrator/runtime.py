"""What the process gives the application: its clock, its threads, its locks. A simulation gives its own."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from orchestrator.clock import Clock, utc_now

# GitHub allows 100 calls at once, and advises against many. With a quarter of a second for a call these make 1,400 in a
# minute, which is more than its other limits allow.
AT_ONCE_IN_A_PASS = 6


def start_timer(seconds: float, action: Callable[[], None]) -> None:
    """Call an action after some seconds, in a thread of its own that does not keep the process alive."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


@dataclass(frozen=True)
class Runtime:
    """What the process gives the application.

    Attributes:
        clock: the time.
        lock: makes a lock.
        start_timer: calls an action after some seconds.
        sleep: lets some seconds pass.
        upstream_threads: for calls to GitHub and Batch, and for the queue when it is not for keeping a request.
        queue_threads: for keeping requests. They are threads of their own, so that a request can be kept although every
            other thread hangs upstream.
        hook_range_threads: for asking GitHub where its webhooks come from, and for nothing else.
        pass_threads: for what a pass asks and does; deliveries never wait for it.
    """

    clock: Clock = utc_now
    lock: Callable[[], AbstractContextManager[object]] = threading.Lock
    start_timer: Callable[[float, Callable[[], None]], None] = start_timer
    sleep: Callable[[float], None] = time.sleep
    upstream_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(32, "upstream"))
    queue_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(16, "queue"))
    hook_range_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "hook-ranges"))
    pass_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE_IN_A_PASS, "pass"))
