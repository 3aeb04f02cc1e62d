"""Whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quotas.turns import by_turns


def turns(items: str, **already: int) -> str:
    """Return letters in turn: each is an owner's; capitals are later items of the same."""
    return "".join(by_turns(items, str.lower, already))


def test_in_rounds() -> None:
    """Each owner has one turn in every round, in the order in which they come, and keeps its own order."""
    assert turns("aaAAbBc") == "abcaBAA"
    assert turns("") == ""


def test_who_has_least_is_first() -> None:
    """In each round the owner that has least goes first."""
    assert turns("aAbBc", a=5, b=1) == "cbaBA"


@given(st.text("abcABC", max_size=30))
def test_nothing_is_lost(items: str) -> None:
    """All items come, and of each owner in their own order."""
    found = turns(items)
    for owner in "abc":
        assert [x for x in found if x.lower() == owner] == [x for x in items if x.lower() == owner]
    assert len(found) == len(items)
