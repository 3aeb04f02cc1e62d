"""Work in threads, bounded from outside; and a line of what waits for a thread."""

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from orchestrator.delivery.deadline import Workers, within
from orchestrator.errors import TransientError
from sandbox.chaos.virtual_time import VirtualLoop


class Threads:
    """Threads that run what a test tells them to, when it does."""

    def __init__(self) -> None:
        self.begun: deque[Callable[[], object]] = deque()

    def submit(self, action: Callable[..., object], /, *arguments: Any) -> None:
        """Remember an action."""
        self.begun.append(functools.partial(action, *arguments))

    def run(self) -> None:
        """Run the oldest action to its end."""
        self.begun.popleft()()


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a test on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def settled() -> None:
    """Let the loop do everything that it can do now."""
    for _ in range(5):
        await asyncio.sleep(0)


def oops() -> None:
    """Fail."""
    raise KeyError("oops")


def test_a_result_or_an_exception() -> None:
    """What the action returns or raises is returned or raised."""

    async def main() -> None:
        threads = Threads()
        good = asyncio.create_task(within(7, threads, lambda: "done"))
        bad = asyncio.create_task(within(7, threads, oops))
        await settled()
        threads.run()
        threads.run()
        assert await good == "done"
        with pytest.raises(KeyError, match="oops"):
            await bad

    run(main())


def test_not_in_time() -> None:
    """A wait has an end; the action goes on alone, and its late result bothers nobody."""

    async def main() -> None:
        threads = Threads()
        with pytest.raises(TransientError, match="not done within 7 s"):
            await within(7, threads, lambda: "late")
        threads.run()
        await settled()

    run(main())


def test_a_result_wins_over_a_late_loop() -> None:
    """A result that is there when the loop finds the time over counts: the loop was late, not the work."""

    async def main() -> None:
        threads = Threads()
        waiting = asyncio.create_task(within(7, threads, lambda: "done"))
        await settled()
        loop = asyncio.get_running_loop()
        threads.run()
        assert isinstance(loop, VirtualLoop)
        loop._now += 8
        assert await waiting == "done"

    run(main())


def test_a_loop_that_has_ended() -> None:
    """What ends after its loop, as in a process that stops, breaks no thread."""
    threads = Threads()

    async def main() -> None:
        with pytest.raises(TransientError):
            await within(7, threads, lambda: "late")

    run(main())
    threads.run()


class TestWorkers:
    """`Workers`."""

    def test_a_line(self) -> None:
        """Only so many actions are begun; the next one when the loop has taken a result, in the order they came."""

        async def main() -> None:
            threads, done = Threads(), list[int]()
            workers = Workers(threads, 2)
            tasks = [asyncio.create_task(workers.within(7, lambda n=n: done.append(n))) for n in range(4)]  # type: ignore[misc]
            await settled()
            assert len(threads.begun) == 2
            threads.run()
            assert len(threads.begun) == 1
            await settled()
            assert len(threads.begun) == 2
            for _ in range(3):
                threads.run()
                await settled()
            await asyncio.gather(*tasks)
            assert done == [0, 1, 2, 3]

        run(main())

    def test_nobody_waits_any_more(self) -> None:
        """What waited too long for a thread is not begun, even if a thread becomes free."""

        async def main() -> None:
            threads, done = Threads(), list[str]()
            workers = Workers(threads, 1)
            first = asyncio.create_task(workers.within(60, lambda: done.append("first")))
            await settled()
            with pytest.raises(TransientError, match="not done within 7 s"):
                await workers.within(7, lambda: done.append("second"))
            third = asyncio.create_task(workers.within(7, lambda: done.append("third")))
            await settled()
            threads.run()
            await settled()
            threads.run()
            await asyncio.gather(first, third)
            assert done == ["first", "third"]

        run(main())

    def test_too_much_is_ahead(self) -> None:
        """What would not be begun in time, given how long actions take, is told so at once; a free thread is used."""

        async def main() -> None:
            threads = Threads()
            workers, loop = Workers(threads, 2), asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)

            def take_three_seconds() -> None:
                loop._now += 3

            def begin(action: Callable[[], None] = lambda: None) -> asyncio.Task[None]:
                return asyncio.create_task(workers.within(7, action))

            first = begin(take_three_seconds)
            await asyncio.sleep(2)  # neither how late an action begins counts, nor how late its end is seen
            threads.run()
            loop._now += 1
            await first
            # Actions take 3 s, and there are two threads: two each are done after 3 s and after 6 s.
            begun = [begin() for _ in range(4)]
            await settled()
            now = loop.time()
            for _ in range(2):
                begun.append(begin())
                await settled()
            refused = [task for task in begun if task.done()]
            assert len(refused) == 1
            with pytest.raises(TransientError, match="too many jobs are queued at once"):
                await refused[0]
            assert loop.time() == now
            while threads.begun:
                threads.run()
                await settled()
            await asyncio.gather(*(task for task in begun if task is not refused[0]))
            last = begin()
            await settled()
            threads.run()
            await last

        run(main())
