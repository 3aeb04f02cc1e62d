"""What the process gives the application: its clock, its threads, its locks. A simulation gives its own."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

from orchestrator.clock import Clock, utc_now

# Makes a lock.
type MakeLock = Callable[[], AbstractContextManager[object]]

# GitHub allows 100 calls at once, and advises against many. With a quarter of a second for a call these make 1,400 in a
# minute, which is more than its other limits allow.
AT_ONCE_IN_A_PASS = 6


def start_timer(seconds: float, action: Callable[[], None]) -> None:
    """Call an action after some seconds, in a thread of its own that does not keep the process alive."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


class Threads(Protocol):
    """Threads that run actions. An `Executor` is one kind of them."""

    def submit(self, action: Callable[..., object], /, *arguments: Any) -> object:
        """Have an action run by one of them."""


class DaemonThreads:
    """Threads for actions that tell their results themselves, and raise nothing.

    An executor makes a future with locks for each action, which costs about as much as the rest of handing it over.

    Args:
        most: how many threads there are at most; one begins when an action finds none free.
        name: of the threads.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._begun = 0
        self._free = 0  # too high when actions had to wait; then all threads have begun, and it does not matter
        self._waiting: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def submit(self, action: Callable[..., object], /, *arguments: Any) -> None:
        """Have an action run by the next thread that is free."""
        self._waiting.put((action, arguments))
        with self._lock:
            if self._free:
                self._free -= 1
            elif self._begun < self._most:
                self._begun += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            action, arguments = self._waiting.get()
            action(*arguments)
            del action, arguments  # nothing is held while it waits
            with self._lock:
                self._free += 1


# As many as the template lets an instance have deliveries at a time. More would take the interpreter lock from the
# event loop, and each start needs it for some milliseconds.
UPSTREAM_THREADS = 32
# Each claim needs some calls to Batch, the storage and GitHub, one after the other. A hundred containers may start at
# once, as a pool grows.
CLAIM_THREADS = 32


@dataclass(frozen=True)
class Runtime:
    """What the process gives the application.

    Attributes:
        clock: the time.
        lock: makes a lock.
        start_timer: calls an action after some seconds.
        sleep: lets some seconds pass.
        upstream_threads: for the calls to GitHub and Batch that deliveries need; there are `UPSTREAM_THREADS`.
        retry_threads: for those that kept requests need. They are threads of their own, so that neither new deliveries
            nor kept requests wait for the others.
        queue_threads: for keeping requests. They are threads of their own, so that a request can be kept although every
            other thread hangs upstream.
        claim_threads: for what claims need, so that containers and deliveries do not wait for each other; there are
            `CLAIM_THREADS`.
        hook_range_threads: for asking GitHub where its webhooks come from, and for nothing else.
        pass_threads: for what a pass asks and does; deliveries never wait for it.
        explain_threads: for explaining jobs to operators and for looking at the set-up, so that these hold up no
            delivery.
        question_threads: for the calls that an explanation or a look at the set-up is made of. Whoever explains waits
            for them, so these are others.
    """

    clock: Clock = utc_now
    lock: MakeLock = threading.Lock
    start_timer: Callable[[float, Callable[[], None]], None] = start_timer
    sleep: Callable[[float], None] = time.sleep
    upstream_threads: Threads = field(default_factory=lambda: DaemonThreads(UPSTREAM_THREADS, "upstream"))
    retry_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(32, "retry"))
    queue_threads: Threads = field(default_factory=lambda: DaemonThreads(8, "queue"))
    claim_threads: Threads = field(default_factory=lambda: DaemonThreads(CLAIM_THREADS, "claim"))
    hook_range_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "hook-ranges"))
    pass_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE_IN_A_PASS, "pass"))
    explain_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(4, "explain"))
    question_threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(32, "question"))
