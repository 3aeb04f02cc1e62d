"""Which runners wait or run, as far as quotas need to know."""

import threading
from collections.abc import Iterable
from datetime import timedelta

import pytest

from orchestrator.errors import TransientError
from orchestrator.quotas.occupancy import ENDED_REMEMBERED_FOR, LIST_LIFE, PATIENCE, SHARE_OF_FREE_SLOTS, Occupancy
from orchestrator.quotas.rule import Quota, Slot
from orchestrator.runners.task import TaskState
from tests.fakes import ManualClock
from tests.unit.quotas.builders import task_of

APP = "acme/app"


def slot(number: int, repository: str = APP) -> Slot:
    """Return the slot of a job's first runner."""
    return Slot(f"runner-{number}-1", repository, "gpu")


class Lists:
    """What Batch lists, and an occupancy that asks it.

    Attributes:
        tasks: those of the one pool.
        asked: how often it was asked.
        trouble: what it answers instead.
    """

    def __init__(self, *tasks: TaskState) -> None:
        self.tasks = list(tasks)
        self.asked = 0
        self.trouble: TransientError | None = None
        self.clock = ManualClock()
        self.occupancy = Occupancy(self.list, ["gpuPool"], self.clock)

    def list(self, pool: str) -> Iterable[TaskState]:
        """List the tasks."""
        assert pool == "gpuPool"
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return list(self.tasks)

    def reserve(self, number: int, limit: int, repository: str = APP) -> bool | str:
        """Reserve a slot; return whether it was reserved, or why not."""
        found = self.occupancy.reserve(slot(number, repository), [Quota(limit, repository=repository)])
        return found.reason or found.is_new


def test_until_it_is_full() -> None:
    """A repository gets as many slots as it may have, and no more; another repository gets its own."""
    lists = Lists(task_of(1))
    assert [lists.reserve(2, 3), lists.reserve(3, 3)] == [True, True]
    held = lists.reserve(4, 3)
    assert isinstance(held, str)
    assert held.endswith("runner-1-1, runner-2-1, runner-3-1")
    assert lists.reserve(5, 3, "acme/other") is True


def test_a_job_that_has_its_runner() -> None:
    """A job whose runner is listed, or is being started, needs no further slot, even if the quota is full."""
    lists = Lists(task_of(1))
    assert lists.reserve(1, 1) is False
    assert lists.reserve(2, 2) is True
    assert lists.reserve(2, 2) is False


def test_what_was_not_created_is_free_again() -> None:
    """A slot whose task was not created goes to the next job."""
    lists = Lists()
    lists.reserve(1, 1)
    lists.occupancy.settle(slot(1), None)
    assert lists.reserve(2, 1) is True


def test_what_was_created_counts_until_it_is_listed() -> None:
    """A created task counts although the list is older; when a newer list lacks it, it is over."""
    lists = Lists()
    lists.reserve(1, 1)
    lists.occupancy.settle(slot(1), "runner-1-1-r1")
    assert [found.task_id for found in lists.occupancy.slots()] == ["runner-1-1-r1"]
    assert isinstance(lists.reserve(2, 1), str)
    lists.clock.advance(LIST_LIFE)
    assert lists.reserve(2, 1) is True
    assert lists.asked == 2


def test_what_is_created_while_batch_is_asked() -> None:
    """A task that is created after the list was begun counts, although the list may lack it."""
    lists = Lists()
    lists.reserve(1, 2)
    answer = lists.list

    def created_meanwhile(pool: str) -> Iterable[TaskState]:
        lists.clock.advance(timedelta(seconds=1))
        lists.occupancy.settle(slot(1), "runner-1-1")
        return answer(pool)

    lists.occupancy._list_live = created_meanwhile
    lists.clock.advance(LIST_LIFE)
    assert [found.task_id for found in lists.occupancy.slots()] == ["runner-1-1"]


def test_a_flood_of_held_jobs_asks_once() -> None:
    """While the quota is full, Batch is asked once in a few seconds, however many jobs come."""
    lists = Lists(task_of(1))
    assert all(isinstance(lists.reserve(number, 1), str) for number in range(2, 100))
    assert lists.asked == 1
    lists.clock.advance(LIST_LIFE)
    lists.reserve(100, 1)
    assert lists.asked == 2


def test_the_list_is_recent_when_it_must_be() -> None:
    """A quarter of the free slots may be used before Batch is asked again, so that another instance's tasks show."""
    lists = Lists()
    limit = 4 * SHARE_OF_FREE_SLOTS
    assert [lists.reserve(number, limit) for number in range(1, 5)] == [True] * 4
    assert lists.asked == 1
    lists.tasks = [task_of(number) for number in range(50, 50 + limit)]
    assert isinstance(lists.reserve(5, limit), str)
    assert lists.asked == 2


def test_one_of_several_instances() -> None:
    """Two instances that start in turn exceed a quota by no more than one each."""
    first, second = Lists(), Lists()
    started = 0
    for number in range(1, 40):
        one = (first, second)[number % 2]
        if one.reserve(number, 10) is True:
            started += 1
            one.occupancy.settle(slot(number), f"runner-{number}-1")
            first.tasks.append(task_of(number))
            second.tasks.append(task_of(number))
    assert 10 <= started <= 12


def test_a_runner_that_has_had_its_job() -> None:
    """Its slot is free at once, though its container still ends; after some minutes that is forgotten."""
    lists = Lists(task_of(1))
    lists.occupancy.ended("runner-1-1")
    assert lists.reserve(2, 1) is True
    lists.clock.advance(ENDED_REMEMBERED_FOR)
    lists.occupancy.ended("runner-9-1")
    assert [found.task_id for found in lists.occupancy.slots()] == ["runner-1-1", "runner-2-1"]


def test_batch_does_not_tell() -> None:
    """Without a list nothing is reserved, and the next call asks again."""
    lists = Lists()
    lists.trouble = TransientError("503")
    for _ in range(2):
        with pytest.raises(TransientError, match="503"):
            lists.reserve(1, 1)
    lists.trouble = None
    assert lists.reserve(1, 1) is True


class Slow(Lists):
    """A Batch whose list takes a while; where it takes `PATIENCE`, it then leaves no room either."""

    takes = LIST_LIFE

    def list(self, pool: str) -> Iterable[TaskState]:
        """List the tasks."""
        self.clock.advance(self.takes)
        return super().list(pool)


def test_a_list_that_takes_long() -> None:
    """A list that takes longer than it may be used is used all the same: the next one would be no newer."""
    lists = Slow(task_of(1))
    assert lists.reserve(2, 3) is True
    assert isinstance(lists.reserve(3, 2), str)
    assert lists.asked == 1
    lists.clock.advance(LIST_LIFE)
    assert [found.task_id for found in lists.occupancy.slots()] == ["runner-1-1", "runner-2-1"]
    assert lists.asked == 2


def test_patience_ends() -> None:
    """A job that no list leaves room for, because others are faster, is tried again later."""
    lists = Slow()
    lists.takes = PATIENCE / 4
    lists.occupancy._may_start = lambda _quota: False  # type: ignore[method-assign, assignment]
    with pytest.raises(TransientError, match="too long"):
        lists.reserve(1, 3)
    assert lists.asked == 4


class Concurrent(Lists):
    """A Batch that answers when it is told to, while other threads wait for the same answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.is_asked = threading.Event()
        self.waiting = threading.Semaphore(0)
        locks = iter((threading.Lock(), Counting(self.waiting)))  # the second is held while Batch is asked
        self.occupancy = Occupancy(self.list, ["gpuPool"], self.clock, lock=lambda: next(locks))

    def list(self, pool: str) -> Iterable[TaskState]:
        """List the tasks, when told to."""
        self.is_asked.set()
        assert self.answers.wait(60)
        return super().list(pool)


class Counting:
    """A lock that tells who waits for it.

    Args:
        waiting: is released by each thread that comes while the lock is taken.
    """

    def __init__(self, waiting: threading.Semaphore) -> None:
        self._lock = threading.Lock()
        self._waiting = waiting

    def __enter__(self) -> None:
        """Take it."""
        if not self._lock.acquire(blocking=False):
            self._waiting.release()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        self._lock.release()


@pytest.mark.parametrize("trouble", [None, TransientError("503")])
def test_all_wait_for_one_answer(trouble: TransientError | None) -> None:
    """Deliveries that come while Batch is asked share its answer, and also that there is none."""
    lists = Concurrent()
    lists.trouble = trouble
    results: list[object] = []

    def reserve(number: int) -> None:
        try:
            results.append(lists.reserve(number, 1000))
        except TransientError:
            results.append(None)

    threads = [threading.Thread(target=reserve, args=(number,)) for number in range(1, 9)]
    threads[0].start()
    assert lists.is_asked.wait(60)
    for thread in threads[1:]:
        thread.start()
        assert lists.waiting.acquire(timeout=60)
    lists.answers.set()
    for thread in threads:
        thread.join()
    assert results == [True if trouble is None else None] * 8
    assert lists.asked == 1


def test_known() -> None:
    """What was listed last is told without a question, for as long as it is young enough."""
    lists = Lists(task_of(1))
    assert lists.occupancy.known(timedelta(minutes=5)) is None
    lists.occupancy.slots()
    lists.clock.advance(timedelta(minutes=4))
    assert [slot.task_id for slot in lists.occupancy.known(timedelta(minutes=5)) or ()] == ["runner-1-1"]
    lists.clock.advance(timedelta(minutes=1))
    assert lists.occupancy.known(timedelta(minutes=5)) is None
    assert lists.asked == 1
