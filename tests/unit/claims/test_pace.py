"""How often one task may claim."""

from datetime import timedelta

from orchestrator.claims.pace import MOST_IN_A_PERIOD, Pace
from tests.fakes import ManualClock


def test_one_task_alone() -> None:
    """A task that asks too often waits for the end of its minute; the others do not."""
    clock = ManualClock()
    pace = Pace(clock)
    assert {pace.wait("job", "a") for _ in range(MOST_IN_A_PERIOD)} == {None}
    clock.advance(timedelta(seconds=20))
    assert pace.wait("job", "a") == 40
    assert (pace.wait("job", "b"), pace.wait("other", "a")) == (None, None)
    clock.advance(timedelta(seconds=40))
    assert pace.wait("job", "a") is None


def test_a_clock_that_is_set_back() -> None:
    """A clock that goes back lets nobody wait for longer than a minute."""
    clock = ManualClock()
    pace = Pace(clock)
    for _ in range(MOST_IN_A_PERIOD):
        pace.wait("job", "a")
    clock.advance(timedelta(hours=-1))
    assert pace.wait("job", "a") is None


def test_bounded() -> None:
    """Of very many tasks those that asked last are counted."""
    pace = Pace(ManualClock(), most_tasks=2)
    for _ in range(MOST_IN_A_PERIOD):
        pace.wait("job", "a")
        pace.wait("job", "b")
    assert pace.wait("job", "c") is None  # the place of a, which asked longest ago
    assert pace.wait("job", "b") is not None
    assert pace.wait("job", "a") is None
