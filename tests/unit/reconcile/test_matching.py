"""As many jobs as possible, each with a supply of its own."""

import itertools
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reconcile.matching import match

LABELS = st.frozensets(st.sampled_from("abc"), max_size=3)


def matched(jobs: Sequence[frozenset[str]], *tiers: Sequence[frozenset[str]]) -> Mapping[int, frozenset[str]]:
    """Match jobs with supplies that offer all of their labels."""
    return match(jobs, tiers, fits=frozenset.issubset, kind=hash, key=lambda _job: 0, meant_for=lambda _supply: 1)


def most(jobs: Sequence[frozenset[str]], supplies: Sequence[frozenset[str]]) -> int:
    """Return how many jobs can be served at most, by trying everything."""
    padded = [*supplies, *[None] * len(jobs)]
    return max(
        sum(supply is not None and job <= supply for job, supply in zip(jobs, order, strict=False))
        for order in itertools.permutations(padded, len(jobs))
    )


@given(st.lists(LABELS, max_size=4), st.lists(LABELS, max_size=3))
def test_as_many_as_can_be(jobs: list[frozenset[str]], supplies: list[frozenset[str]]) -> None:
    """No other way of matching serves more jobs, and each is served by something that fits."""
    found = matched(jobs, supplies)
    assert len(found) == most(jobs, supplies)
    assert all(jobs[index] <= supply for index, supply in found.items())


@given(st.lists(LABELS, max_size=4), st.lists(LABELS, max_size=2), st.lists(LABELS, max_size=2))
def test_tiers(jobs: list[frozenset[str]], first: list[frozenset[str]], last: list[frozenset[str]]) -> None:
    """A second tier serves more jobs where it can, and never fewer of the first tier's."""
    alone, both = matched(jobs, first), matched(jobs, first, last)
    assert set(alone) <= set(both)
    assert len(both) == most(jobs, [*first, *last])


def test_its_own() -> None:
    """A job keeps what was made for it, where that serves no fewer jobs; the oldest job chooses first otherwise."""
    found = match(
        ["job 1", "job 2", "job 3"],
        [["task of 2", "task of 1"], ["task of 3"]],
        fits=lambda _job, _supply: True,
        kind=lambda _job: 0,
        key=lambda job: job[-1],
        meant_for=lambda supply: supply[-1],
    )
    assert found == {0: "task of 1", 1: "task of 2", 2: "task of 3"}


def test_its_own_that_does_not_fit() -> None:
    """What was made for a job and does not fit any more is not given to it."""
    found = match(
        ["a"], [["b"]], fits=lambda _job, _supply: False, kind=lambda _job: 0, key=lambda _: 0, meant_for=lambda _: 0
    )
    assert found == {}


def test_a_long_chain() -> None:
    """Many jobs may have to pass on what they hold, however many: each here fits two supplies, and the last but one."""
    count = 3000
    jobs = [*range(count), -1]
    found = match(
        jobs,
        [range(count + 1)],
        fits=lambda job, supply: supply == 0 if job == -1 else supply in (job, job + 1),
        kind=lambda job: job,
        key=lambda job: job,
        meant_for=lambda supply: supply,
    )
    assert sorted(found.values()) == list(range(count + 1))
