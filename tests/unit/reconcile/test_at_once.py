"""Several things at once, and the time for them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from orchestrator.log import _ids, about
from orchestrator.reconcile.at_once import AtOnce
from orchestrator.reconcile.time_left import MARGIN, TimeLeft
from tests.fakes import Immediately, ManualClock


def test_so_many_at_a_time() -> None:
    """So many are in work at a time: each waits here until the others of its kind have come."""
    together = threading.Barrier(3)

    def meet(_number: int) -> None:
        together.wait(60)

    with ThreadPoolExecutor(8) as threads:
        AtOnce(threads, 3).each(range(6), meet)


def test_order() -> None:
    """They are begun in their order, each once, and none where there is nothing to do."""
    begun: list[int] = []
    AtOnce(Immediately(), 4).each(range(9), begun.append)
    AtOnce(Immediately(), 4).each((), begun.append)
    assert begun == list(range(9))


def test_the_ids_of_the_log() -> None:
    """What the log is about goes with them."""
    seen: list[object] = []
    with ThreadPoolExecutor(2) as threads, about(hook="h"):
        AtOnce(threads, 2).each(range(3), lambda _: seen.append(_ids.get({}).get("hook")))
    assert seen == ["h"] * 3


def test_a_mistake() -> None:
    """An unexpected exception is raised when the others have ended."""

    def fail(number: int) -> None:
        raise KeyError(number)

    with pytest.raises(ExceptionGroup) as caught:
        AtOnce(Immediately(), 2).each(range(9), fail)
    assert [str(error) for error in caught.value.exceptions] == ["0", "1"]


def test_time_left() -> None:
    """It waits only for what is over before the end."""
    clock = ManualClock()
    slept: list[float] = []
    time_left = TimeLeft(clock, slept.append)
    over = [time_left.is_over]
    time_left.ends_at(clock() + timedelta(minutes=1))
    over.append(time_left.is_over)
    assert over == [True, False]
    assert [time_left.wait(seconds) for seconds in (59, 60, None)] == [True, False, False]
    assert slept == [59 + MARGIN]
