"""As many jobs as possible, each with a supply of its own."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reconcile.matching import assign

LABELS = st.frozensets(st.sampled_from("abc"), max_size=3)


@dataclass(frozen=True)
class FakeSupply:
    """A supply that offers labels, made for a job or for none."""

    offers: frozenset[object]
    made_for: str | None = None


@dataclass(frozen=True)
class FakeJob:
    """A job that needs all of its labels."""

    needs: frozenset[object]
    key: str = ""

    @property
    def kind(self) -> frozenset[object]:
        """What it needs."""
        return self.needs

    def accepts(self, supply: FakeSupply, /) -> bool:
        """Whether the supply offers all of the labels."""
        return self.needs <= supply.offers


def assigned(jobs: Sequence[frozenset[str]], *tiers: Sequence[frozenset[str]]) -> Mapping[int, FakeSupply]:
    """Assign supplies that were made for nobody."""
    return assign([FakeJob(needs) for needs in jobs], [[FakeSupply(offers) for offers in tier] for tier in tiers])


def most(jobs: Sequence[frozenset[str]], supplies: Sequence[frozenset[str]]) -> int:
    """Return how many jobs can be served at most, by trying everything."""
    padded = [*supplies, *[None] * len(jobs)]
    return max(
        sum(supply is not None and job <= supply for job, supply in zip(jobs, order, strict=False))
        for order in itertools.permutations(padded, len(jobs))
    )


@given(st.lists(LABELS, max_size=4), st.lists(LABELS, max_size=3))
def test_as_many_as_possible(jobs: list[frozenset[str]], supplies: list[frozenset[str]]) -> None:
    """No other assignment serves more jobs, and each job gets a supply that it accepts."""
    found = assigned(jobs, supplies)
    assert len(found) == most(jobs, supplies)
    assert all(jobs[index] <= supply.offers for index, supply in found.items())


@given(st.lists(LABELS, max_size=4), st.lists(LABELS, max_size=2), st.lists(LABELS, max_size=2))
def test_tiers(jobs: list[frozenset[str]], first: list[frozenset[str]], last: list[frozenset[str]]) -> None:
    """A second tier serves more jobs where it can, and takes no job's supply away."""
    alone, both = assigned(jobs, first), assigned(jobs, first, last)
    assert set(alone) <= set(both)
    assert len(both) == most(jobs, [*first, *last])


def test_its_own() -> None:
    """A job gets the supply that was made for it, if that serves no fewer jobs."""
    jobs = [FakeJob(frozenset("a"), key) for key in ("1", "2", "3")]
    first, second, third = (FakeSupply(frozenset("a"), key) for key in ("1", "2", "3"))
    assert assign(jobs, [[second, first], [third]]) == {0: first, 1: second, 2: third}


def test_its_own_that_it_does_not_accept() -> None:
    """A job does not get the supply that was made for it if it does not accept that one any more."""
    assert assign([FakeJob(frozenset("a"), "1")], [[FakeSupply(frozenset("b"), "1")]]) == {}


def test_a_long_chain() -> None:
    """Any number of jobs may have to exchange their supplies: here each accepts two, and the last job only one."""
    count = 1500  # more than Python lets a function call itself
    jobs = [FakeJob(frozenset([number]), str(number)) for number in [*range(count), -1]]
    supplies = [FakeSupply(frozenset([number - 1, number]), str(number)) for number in range(count + 1)]
    found = assign(jobs, [supplies])
    assert len({supply.made_for for supply in found.values()}) == count + 1
