"""Threads that take turns: blocking code runs in virtual time, one step at a time, in an order that repeats.

Each worker is a greenlet. It gives its turn back where it would wait: for an answer from the network, for a lock, for
the end of its work. So exactly one thing happens at any moment, and the loop decides which is next.
"""

import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import greenlet

from orchestrator.runtime import Runtime
from sandbox.chaos.virtual_time import VirtualLoop


class Killed(BaseException):
    """The process that a worker belongs to has ended: nothing of it goes on."""


class Process:
    """What workers belong to and die with."""

    def __init__(self) -> None:
        self.alive = True
        self.workers: set[Worker] = set()

    def kill(self) -> None:
        """End it: none of its workers takes another step."""
        self.alive = False
        for worker in sorted(self.workers, key=lambda worker: worker.number):
            worker.interrupt()


# The process that the running code belongs to; None for the world around it.
PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Worker(greenlet.greenlet):
    """One thread of the simulation."""

    def __init__(self, threads: "Threads", number: int, action: Callable[[], Any], done: Future[Any]) -> None:
        super().__init__(parent=threads.hub)
        self.gr_context = contextvars.copy_context()
        self.number = number
        self._threads = threads
        self._action = action
        self._done = done
        self._process = PROCESS.get()
        self._ticket: object | None = None
        if self._process is not None:
            self._process.workers.add(self)

    def begin(self) -> None:
        """Take the first step; called by the loop."""
        if self._doomed:
            self._threads.working.discard(self)
            self._done.cancel()
        else:
            self.switch()

    def wait(self, until: Callable[[Callable[[], None]], None], seconds: float | None = None) -> bool:
        """Give the turn back until something has happened; called by the worker's own code.

        Args:
            until: is called once, with what to call when it has happened.
            seconds: the longest wait.

        Returns:
            Whether it happened in time.
        """
        loop, ticket, happened = self._threads.loop, object(), []
        self._ticket = ticket

        def resume() -> None:
            happened.append(True)
            loop.call_soon(self._step, ticket)

        timer = None if seconds is None else loop.call_later(seconds, self._step, ticket)
        until(resume)
        self._threads.hub.switch()
        if timer is not None:
            timer.cancel()
        if self._doomed:
            raise Killed
        return bool(happened)

    def interrupt(self) -> None:
        """Wake it so that it finds its process dead; it does nothing to the worker that runs."""
        if self._ticket is not None:
            self._threads.loop.call_soon(self._step, self._ticket)

    def end(self) -> None:
        """Let it find that all is over; called by the loop."""
        while self._ticket is not None:
            self._step(self._ticket)

    def run(self) -> None:
        """Do the work, and tell whoever waits for it."""
        try:
            result = self._action()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._threads.loop.call_soon(_fail, self._done, error)
        else:
            self._threads.loop.call_soon(_succeed, self._done, result)
        finally:
            self._threads.working.discard(self)
            if self._process is not None:
                self._process.workers.discard(self)

    @property
    def _doomed(self) -> bool:
        return self._threads.closed or (self._process is not None and not self._process.alive)

    def _step(self, ticket: object) -> None:
        if self._ticket is ticket:
            self._ticket = None
            self.switch()


class Done[T](Future[T]):
    """What a worker's work will have led to. Another worker that waits for it gives its turn back."""

    def result(self, timeout: float | None = None) -> T:
        """Return it.

        Raises:
            TimeoutError: It is not there in time.
        """
        waiting = not self.done() and isinstance(greenlet.getcurrent(), Worker)
        if waiting and not current_worker().wait(lambda resume: self.add_done_callback(lambda _: resume()), timeout):
            raise TimeoutError
        return super().result(0)


class Threads(Executor):
    """Makes what code needs to do several things at once, on virtual time: workers, locks and timers.

    Workers and timers belong to the process that runs when they are made, and end with it.

    Args:
        loop: decides whose turn it is; it runs where this is made.

    Attributes:
        clock_off: seconds by which the clock of every process is ahead.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.hub = greenlet.getcurrent()
        self.closed = False
        self.clock_off = 0.0
        self.working: set[Worker] = set()
        self._number = 0

    def submit[**P, T](self, action: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run an action in a worker of its own."""
        done = Done[T]()
        self._number += 1
        worker = Worker(self, self._number, lambda: action(*args, **kwargs), done)
        self.working.add(worker)
        self.loop.call_soon(worker.begin)
        return done

    @property
    def runtime(self) -> Runtime:
        """What an application takes for its process's clock, threads, locks and timers."""
        return Runtime(
            clock=lambda: datetime.fromtimestamp(self.loop.now() + self.clock_off, UTC),
            lock=self.lock,
            start_timer=self.later,
            upstream_threads=self,
            retry_threads=self,
            queue_threads=self,
            claim_threads=self,
            hook_range_threads=self,
            pass_threads=self,
            sleep=self.sleep,
        )

    def lock(self) -> "Lock":
        """Return what stands in for a `threading.Lock`."""
        return Lock(self.loop)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Run an action in a worker of its own after a while, as a started `threading.Timer` does."""
        self.loop.call_later(seconds, self.submit, action)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the worker that calls."""
        current_worker().wait(lambda _resume: None, seconds)

    def close(self) -> None:
        """End every worker; called by the loop."""
        self.closed = True
        for worker in sorted(self.working, key=lambda worker: worker.number):
            worker.end()


class Lock:
    """A `threading.Lock` whose waiters give their turn back."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._held = False
        self._waiters: deque[Callable[[], None]] = deque()

    def acquire(self) -> bool:
        """Take it, waiting until it is free."""
        while self._held:
            current_worker().wait(self._waiters.append)
        self._held = True
        return True

    def release(self) -> None:
        """Give it free; the first that waits is next."""
        self._held = False
        if self._waiters:
            self._waiters.popleft()()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def current_worker() -> Worker:
    """Return the worker that runs.

    Raises:
        RuntimeError: The caller is the loop itself, which must never wait.
    """
    worker = greenlet.getcurrent()
    if not isinstance(worker, Worker):
        raise RuntimeError("only a worker may wait")  # noqa: TRY004 - it is no matter of types
    return worker


def _fail(done: Future[Any], error: BaseException) -> None:
    if done.set_running_or_notify_cancel():
        done.set_exception(error)


def _succeed(done: Future[Any], result: Any) -> None:
    if done.set_running_or_notify_cancel():
        done.set_result(result)
