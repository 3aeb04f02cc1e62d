"""What the process gives the application."""

from threading import Event, current_thread

from orchestrator.runtime import start_timer


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
