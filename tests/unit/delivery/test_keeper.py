"""Requests of deliveries on their way into the queue."""

import asyncio
import functools
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from orchestrator.delivery.keeper import Keeper
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import SettingsError, TransientError
from orchestrator.jobs.request import MOST_TOGETHER, Retry, RunnerRequest
from orchestrator.runtime import Runtime
from sandbox.chaos.virtual_time import VirtualLoop
from tests.builders import queued_job

EVENT = workflow_job_event(json.dumps(queued_job()).encode())


class Queue:
    """A queue that takes what it is given when a test says so, and the threads that call it."""

    def __init__(self) -> None:
        self.trouble: BaseException | None = None
        self.calls: list[list[str]] = []
        self._waiting: list[Callable[[], object]] = []

    def retry_later(self, retries: Sequence[Retry]) -> list[float]:
        """Take requests; the wait is that which each asks for."""
        if self.trouble:
            raise self.trouble
        self.calls.append([retry.request.delivery for retry in retries])
        return [retry.retry_after or 10 for retry in retries]

    def submit(self, action: Callable[..., object], /, *arguments: Any) -> None:
        """Remember what a thread is to do."""
        self._waiting.append(functools.partial(action, *arguments))

    def answer(self) -> None:
        """Let the threads do all of it."""
        while self._waiting:
            self._waiting.pop(0)()


def retry(name: str, retry_after: float | None = None) -> Retry:
    """Return what is to be kept of a delivery."""
    return Retry(RunnerRequest(delivery=name, event=EVENT), retry_after)


async def settled() -> None:
    """Let the loop do everything that it can do now."""
    for _ in range(5):
        await asyncio.sleep(0)


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a test on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def test_not_before_the_queue_has_it() -> None:
    """A request counts as kept when the queue has taken it, and not before."""

    async def main() -> None:
        queue = Queue()
        kept = asyncio.create_task(Keeper(queue.retry_later, queue).keep(retry("a", 30), 2))
        await settled()
        assert not kept.done()
        queue.answer()
        assert await kept == 30
        assert queue.calls == [["a"]]

    run(main())


def test_together() -> None:
    """What gathers while the queue is called goes together in the next calls, and each has its own wait."""

    async def main() -> None:
        queue = Queue()
        keeper = Keeper(queue.retry_later, queue)
        names = [str(number) for number in range(MOST_TOGETHER + 8)]
        kept = [asyncio.create_task(keeper.keep(retry(name, 60 + int(name)), 2)) for name in names]
        await settled()
        queue.answer()
        assert await asyncio.gather(*kept) == [60 + int(name) for name in names]
        assert queue.calls == [names[:MOST_TOGETHER], names[MOST_TOGETHER:]]

    run(main())


@pytest.mark.parametrize(
    "trouble", [TransientError("the queue takes no message: 503"), SettingsError.of("A", "is wrong"), KeyError("oops")]
)
def test_not_taken(trouble: Exception) -> None:
    """What the queue raises is raised for each of the requests that it was given."""

    async def main() -> None:
        queue = Queue()
        queue.trouble = trouble
        keeper = Keeper(queue.retry_later, queue)
        kept = [asyncio.create_task(keeper.keep(retry(name), 2)) for name in "ab"]
        await settled()
        queue.answer()
        assert await asyncio.gather(*kept, return_exceptions=True) == [trouble] * 2

    run(main())


def test_not_in_time() -> None:
    """A queue that hangs is waited for as long as GitHub leaves time; what has its answer is not sent any more."""

    async def main() -> None:
        queue = Queue()
        keeper = Keeper(queue.retry_later, queue)
        with pytest.raises(TransientError, match="not done within 2 s"):
            await keeper.keep(retry("a"), 2)
        kept = asyncio.create_task(keeper.keep(retry("b"), 2))
        await settled()
        queue.answer()
        assert await kept == 10
        assert queue.calls == [["b"]]

    run(main())


def test_in_threads() -> None:
    """In real threads, none of many requests is lost or kept twice."""
    taken: list[str] = []
    lock = threading.Lock()

    def retry_later(retries: Sequence[Retry]) -> list[float]:
        with lock:
            taken.extend(retry.request.delivery for retry in retries)
        return [10.0] * len(retries)

    async def main() -> None:
        keeper = Keeper(retry_later, Runtime().queue_threads)
        await asyncio.gather(*(keeper.keep(retry(str(number)), 60) for number in range(500)))

    asyncio.run(main())
    assert sorted(taken, key=int) == [str(number) for number in range(500)]
