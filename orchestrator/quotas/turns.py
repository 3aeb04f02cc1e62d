"""Whose turn it is (pure)."""

from collections.abc import Callable, Iterable, Iterator, Mapping


def by_turns[T](items: Iterable[T], whose: Callable[[T], str], already: Mapping[str, int] | None = None) -> Iterator[T]:
    """Return the items so that each of their owners has one turn in every round.

    Args:
        items: each owner's own stay in this order.
        whose: returns an item's owner.
        already: how much an owner has already. Who has least is the first in each round; among equals, who comes first.
    """
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(whose(item), []).append(item)
    has = already or {}
    order = sorted(groups, key=lambda owner: has.get(owner, 0))
    for number in range(max(map(len, groups.values()), default=0)):
        yield from (groups[owner][number] for owner in order if number < len(groups[owner]))
