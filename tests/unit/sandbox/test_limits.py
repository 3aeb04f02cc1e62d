"""The limits of the GitHub stand-in."""

import pytest

from sandbox.github.limits import Budget
from sandbox.github.model import SECONDARY_LIMIT, Label, Refusal, Registration, Scope
from sandbox.github.state import ActionsState, Limits

SCOPE = Scope("organization", "acme")


def test_points() -> None:
    """A minute's points are spent by 1 for a read and 5 for a write, and the next minute begins anew."""
    budget = Budget(points=7)
    assert [budget.take_points(None, method, 0.0) for method in ("GET", "POST", "GET", "GET")] == [True] * 3 + [False]
    assert budget.refused["minute"] == 1
    assert budget.take_points(None, "POST", 60.0)


def test_no_points() -> None:
    """Without such a limit any number of requests is taken."""
    assert all(Budget().take_points(None, "POST", 0.0) for _ in range(1000))


def test_registrations() -> None:
    """So many runners register in a scope, and no more until the first of them is five minutes old."""
    state = ActionsState(limits=Limits(registrations=2))
    for number in range(2):
        state.register(SCOPE, _wish(number), 0.0)
    with pytest.raises(Refusal, match=SECONDARY_LIMIT[:20]):
        state.register(SCOPE, _wish(2), 299.0)
    assert state.register(Scope("organization", "globex"), _wish(3), 299.0).scope.name == "globex"
    assert state.register(SCOPE, _wish(4), 300.0).name == "r4"


def _wish(number: int) -> Registration:
    return Registration(f"r{number}", (Label("linux"),))
