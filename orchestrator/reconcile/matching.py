"""As many jobs as possible, each with a supply of its own (pure).

Source: maximum bipartite matching by augmenting paths (Berge 1957, Kuhn 1955). A job may exchange its supply for
another one if that frees a supply for one more job.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol


class Supply(Protocol):
    """What may serve one job."""

    @property
    def made_for(self) -> Hashable:
        """The key of the job that it was made for, if it was made for one."""


class Demand[S](Protocol):
    """A job that needs a supply."""

    @property
    def key(self) -> Hashable:
        """Names the job."""

    @property
    def kind(self) -> Hashable:
        """Jobs of one kind accept the same supplies."""

    def accepts(self, supply: S, /) -> bool:
        """Whether the supply may serve the job."""


def assign[S: Supply](jobs: Sequence[Demand[S]], tiers: Sequence[Sequence[S]]) -> Mapping[int, S]:
    """Return which supply each job gets, by the job's index.

    A job begins with the supply that was made for it, if it accepts that one.

    Args:
        jobs: in the order in which they choose.
        tiers: the supplies; a tier is used only where those before it do not suffice.
    """
    kinds = [job.kind for job in jobs]
    supplies: list[S] = []
    accepted: dict[Hashable, list[int]] = {kind: [] for kind in kinds}
    assignment = _Assignment(lambda job: accepted[kinds[job]])
    for tier in tiers:
        added = range(len(supplies), len(supplies) + len(tier))
        supplies += tier
        for kind, job in dict(zip(kinds, jobs, strict=True)).items():
            accepted[kind] += [number for number in added if job.accepts(supplies[number])]
        made_for = {supplies[number].made_for: number for number in added}
        for index, job in enumerate(jobs):
            number = made_for.get(job.key)
            if number is not None and index not in assignment.supply_of and job.accepts(supplies[number]):
                assignment.give(index, number)
        hopeless: set[Hashable] = set()
        for index, kind in enumerate(kinds):
            # If one job of a kind finds no supply, no other job of that kind finds one.
            if index not in assignment.supply_of and kind not in hopeless and not assignment.extend(index):
                hopeless.add(kind)
    return {job: supplies[number] for job, number in assignment.supply_of.items()}


class _Assignment:
    """Which job has which supply.

    Args:
        accepted: returns the supplies that a job accepts.

    Attributes:
        supply_of: the supply of each job that has one.
    """

    def __init__(self, accepted: Callable[[int], Sequence[int]]) -> None:
        self._accepted = accepted
        self._job_of: dict[int, int] = {}
        self.supply_of: dict[int, int] = {}

    def give(self, job: int, supply: int) -> None:
        """Give a job a supply."""
        self._job_of[supply], self.supply_of[job] = job, supply

    def extend(self, job: int) -> bool:
        """Find a supply for one more job, by the shortest chain of exchanges; return whether there is one."""
        reached_from: dict[int, int] = {}
        asking = deque([job])
        while asking:
            asker = asking.popleft()
            for supply in self._accepted(asker):
                if supply in reached_from:
                    continue
                reached_from[supply] = asker
                if supply not in self._job_of:
                    self._exchange(job, supply, reached_from)
                    return True
                asking.append(self._job_of[supply])
        return False

    def _exchange(self, first: int, supply: int, reached_from: Mapping[int, int]) -> None:
        """Give the free supply to the job that found it, its old supply to the job before, and so on to the first."""
        while True:
            job = reached_from[supply]
            freed = self.supply_of.get(job, -1)
            self.give(job, supply)
            if job == first:
                return
            supply = freed
