"""As many jobs as possible, each with a supply of its own (pure).

Source: maximum bipartite matching by augmenting paths (Berge 1957, Kuhn 1955). A job may exchange its supply for
another one if that frees a supply for one more job.
"""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
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
    assignment = _Assignment(kinds)
    for tier in tiers:
        added = range(len(supplies), len(supplies) + len(tier))
        supplies += tier
        for kind, job in dict(zip(kinds, jobs, strict=True)).items():
            assignment.accept(kind, [number for number in added if job.accepts(supplies[number])])
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
    """Which job has which supply. A supply that was given once stays in use, though perhaps by another job.

    Args:
        kinds: the kind of each job.

    Attributes:
        supply_of: the supply of each job that has one.
    """

    def __init__(self, kinds: Sequence[Hashable]) -> None:
        self._kinds = kinds
        self._accepted: dict[Hashable, list[int]] = {kind: [] for kind in kinds}
        # The same, without those at the front that are in use: so a free one is found without a walk over all others.
        self._free: dict[Hashable, deque[int]] = {kind: deque() for kind in kinds}
        self._job_of: dict[int, int] = {}
        self.supply_of: dict[int, int] = {}

    def accept(self, kind: Hashable, supplies: Sequence[int]) -> None:
        """Take note of further supplies that jobs of a kind accept."""
        self._accepted[kind] += supplies
        self._free[kind] += supplies

    def give(self, job: int, supply: int) -> None:
        """Give a job a supply."""
        self._job_of[supply], self.supply_of[job] = job, supply

    def extend(self, job: int) -> bool:
        """Find a supply for one more job, by the shortest chain of exchanges; return whether there is one."""
        reached_from: dict[int, int] = {}
        asked: set[Hashable] = set()
        asking = deque([job])
        while asking:
            asker = asking.popleft()
            kind = self._kinds[asker]
            if kind in asked:  # another job of its kind has reached the same supplies
                continue
            asked.add(kind)
            supply = self._first_free(kind)
            if supply is not None:
                reached_from[supply] = asker
                self._exchange(job, supply, reached_from)
                return True
            for held in self._accepted[kind]:
                if held not in reached_from:
                    reached_from[held] = asker
                    asking.append(self._job_of[held])
        return False

    def _first_free(self, kind: Hashable) -> int | None:
        free = self._free[kind]
        while free and free[0] in self._job_of:
            free.popleft()
        return free[0] if free else None

    def _exchange(self, first: int, supply: int, reached_from: Mapping[int, int]) -> None:
        """Give the free supply to the job that found it, its old supply to the job before, and so on to the first."""
        while True:
            job = reached_from[supply]
            freed = self.supply_of.get(job, -1)
            self.give(job, supply)
            if job == first:
                return
            supply = freed
