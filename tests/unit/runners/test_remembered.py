"""Answers that are kept for a while."""

import threading
from datetime import timedelta

import pytest

from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.runners.remembered import ASK_AGAIN_AFTER, MOST_ANSWERS, Remembered
from tests.fakes import ManualClock

HOUR = timedelta(hours=1)


class Oracle:
    """Answers by counting, or fails."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked: list[str] = []
        self.trouble: UpstreamError | None = None
        self.remembered = Remembered(self.answer, self.clock)

    def answer(self, key: str) -> int:
        """Answer."""
        self.asked.append(key)
        if self.trouble is not None:
            raise self.trouble
        return len(self.asked)

    def get(self, key: str = "a", most_age: timedelta = HOUR) -> int:
        """Ask for an answer of at most this age."""
        return self.remembered.get(key, most_age)


def test_kept_for_a_while() -> None:
    """An answer is used until it is too old for whoever asks; each key has its own."""
    oracle = Oracle()
    assert [oracle.get(), oracle.get(), oracle.get("b")] == [1, 1, 2]
    oracle.clock.advance(HOUR - timedelta(seconds=1))
    assert oracle.get() == 1
    assert oracle.get(most_age=timedelta(minutes=5)) == 3
    oracle.clock.advance(HOUR)
    assert oracle.get() == 4


def test_a_clock_that_was_set_back() -> None:
    """An answer of the future is asked for again, or it would be kept for ever."""
    oracle = Oracle()
    oracle.get()
    oracle.clock.advance(-HOUR)
    assert oracle.get() == 2


def test_no_answer_yet() -> None:
    """Without an old answer, trouble is the caller's, and the next one asks again."""
    oracle = Oracle()
    oracle.trouble = TransientError("502")
    for _ in range(2):
        with pytest.raises(TransientError):
            oracle.get()
    assert len(oracle.asked) == 2


def test_an_old_answer_while_there_is_trouble() -> None:
    """An old answer stays while GitHub does not answer, which is asked once a minute and not by every job."""
    oracle = Oracle()
    oracle.get()
    oracle.clock.advance(HOUR)
    oracle.trouble = TransientError("502")
    assert [oracle.get(), oracle.get()] == [1, 1]
    assert len(oracle.asked) == 2
    oracle.clock.advance(ASK_AGAIN_AFTER)
    oracle.trouble = None
    assert oracle.get() == 3


def test_an_old_answer_that_is_refused() -> None:
    """An old answer is forgotten when GitHub refuses to give another."""
    oracle = Oracle()
    oracle.get()
    oracle.clock.advance(HOUR)
    oracle.trouble = GitHubRefused("not any more", 404)
    with pytest.raises(GitHubRefused):
        oracle.get()
    oracle.trouble = TransientError("502")
    with pytest.raises(TransientError):
        oracle.get()


def test_not_without_end() -> None:
    """Only so many answers are kept: those that were used last."""
    oracle = Oracle()
    for number in range(MOST_ANSWERS + 1):
        oracle.get(str(number))
    assert oracle.get(str(MOST_ANSWERS)) == MOST_ANSWERS + 1
    assert oracle.get("0") == MOST_ANSWERS + 2


def test_a_burst_asks_once() -> None:
    """Of many threads that need an answer at once, one asks."""
    oracle = Oracle()
    arrived = threading.Barrier(8)
    found: list[int] = []

    def ask() -> None:
        arrived.wait(5)
        found.append(oracle.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert found == [1] * 8
