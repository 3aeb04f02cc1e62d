"""What the process gives the application."""

from queue import SimpleQueue
from threading import Barrier, Event, current_thread

from orchestrator.runtime import DaemonThreads, start_timer
from tests.waiting import until


def test_the_timer_is_a_daemon() -> None:
    """The timer calls its action in a thread that a process may end without."""
    rang = Event()
    daemons: list[bool] = []

    def ring() -> None:
        daemons.append(current_thread().daemon)
        rang.set()

    start_timer(0, ring)
    assert rang.wait(60)
    assert daemons == [True]


def test_threads() -> None:
    """As many actions run at the same time as there are threads, and each of many is run once by one of these."""
    threads, meeting = DaemonThreads(3, "test"), Barrier(3)
    ran: SimpleQueue[tuple[int, str, bool]] = SimpleQueue()

    def act(number: int) -> None:
        meeting.wait(60)
        ran.put((number, current_thread().name, current_thread().daemon))

    for number in range(30):
        threads.submit(act, number)
    found = sorted(ran.get(timeout=60) for _ in range(30))
    assert found == [(number, "test", True) for number in range(30)]
    assert threads._begun == 3


def test_a_free_thread_is_used_again() -> None:
    """No thread begins while another is free."""
    threads, ran = DaemonThreads(3, "test"), SimpleQueue[int]()
    for number in range(5):
        threads.submit(ran.put, number)
        assert ran.get(timeout=60) == number
        until(lambda: threads._free == 1)
    assert threads._begun == 1
