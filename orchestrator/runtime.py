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


@dataclass(frozen=True)
class Runtime:
    """What the process gives the application.

    Attributes:
        clock: the time.
        lock: makes a lock.
        start_timer: calls an action after some seconds.
        upstream_threads: for calls to GitHub and Batch, and for the queue when it is not for keeping a request.
        queue_threads: for keeping requests. They are threads of their own, so that a request can be kept although every
            other thread hangs upstream.
        hook_range_threads: for asking GitHub where its webhooks come from, and for nothing else.
        explain_threads: for explaining jobs to operators, so that these hold up no delivery.
        question_threads: for the calls that an explanation is made of. Whoever explains waits for them, so these are
            others.
    """

    clock: Clock = utc_now
    lock: Callable[[], AbstractContextManager[object]] = threading.Lock
    start_timer: Callable[[float, Callable[[], None]], None] = start_timer
    upstream_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(32, "upstream"))
    queue_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(16, "queue"))
    hook_range_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "hook-ranges"))
    explain_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(4, "explain"))
    question_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(16, "question"))
