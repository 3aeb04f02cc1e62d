"""As many jobs as possible, each with a supply of its own that may serve it (pure).

Source: maximum bipartite matching by augmenting paths (Berge 1957, Kuhn 1955): whoever holds a supply may pass it on
and take another one, if that makes room for one job more.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence


def match[J, S](
    jobs: Sequence[J],
    tiers: Sequence[Sequence[S]],
    *,
    fits: Callable[[J, S], bool],
    kind: Callable[[J], Hashable],
    key: Callable[[J], Hashable],
    meant_for: Callable[[S], Hashable],
) -> Mapping[int, S]:
    """Return which supply each job gets, by the job's index.

    Args:
        jobs: in the order in which they choose.
        tiers: the supplies; a tier is used only where those before it do not suffice.
        fits: whether a supply may serve a job.
        kind: jobs of one kind fit the same supplies.
        key: names a job.
        meant_for: the key of the job that a supply was made for; where it fits, a job begins with its own.
    """
    kinds = [kind(job) for job in jobs]
    supplies: list[S] = []
    fitting: dict[Hashable, list[int]] = {one: [] for one in kinds}
    matching = _Matching(lambda job: fitting[kinds[job]])
    for tier in tiers:
        new = range(len(supplies), len(supplies) + len(tier))
        supplies += tier
        for one, job in dict(zip(kinds, jobs, strict=True)).items():
            fitting[one] += [number for number in new if fits(job, supplies[number])]
        owned = {meant_for(supplies[number]): number for number in new}
        for index, job in enumerate(jobs):
            number = owned.get(key(job))
            if number is not None and index not in matching.held and fits(job, supplies[number]):
                matching.give(index, number)
        hopeless: set[Hashable] = set()
        for index, one in enumerate(kinds):
            # Where one job of a kind finds nothing, no other of that kind does.
            if index not in matching.held and one not in hopeless and not matching.place(index):
                hopeless.add(one)
    return {index: supplies[number] for index, number in matching.held.items()}


class _Matching:
    """Who holds what.

    Args:
        choices: the supplies that fit a job.
    """

    def __init__(self, choices: Callable[[int], Sequence[int]]) -> None:
        self._choices = choices
        self._holder: dict[int, int] = {}
        self.held: dict[int, int] = {}

    def give(self, job: int, supply: int) -> None:
        """Let a job hold a supply."""
        self._holder[supply], self.held[job] = job, supply

    def place(self, job: int) -> bool:
        """Find a supply for one job more, by the shortest chain of jobs that pass theirs on."""
        asked_by: dict[int, int] = {}
        asking = deque([job])
        while asking:
            one = asking.popleft()
            for supply in self._choices(one):
                if supply in asked_by:
                    continue
                asked_by[supply] = one
                if supply not in self._holder:
                    self._pass_on(job, supply, asked_by)
                    return True
                asking.append(self._holder[supply])
        return False

    def _pass_on(self, first: int, supply: int, asked_by: Mapping[int, int]) -> None:
        while True:
            taker = asked_by[supply]
            freed = self.held.get(taker, -1)
            self.give(taker, supply)
            if taker == first:
                return
            supply = freed
