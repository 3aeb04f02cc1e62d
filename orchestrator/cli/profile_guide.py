"""What a workflow writes in `runs-on` to get each profile, for a company's own documentation (pure)."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.config.profiles import SELF_HOSTED, Profile, profile_for


@dataclass(frozen=True)
class Entry:
    """How a profile is reached.

    Attributes:
        profile: the profile.
        runs_on: the fewest labels with which a job gets it; None if other profiles take every such job.
        taken_by: the profile that takes them instead.
        also: labels of its own, each of which does the same beside `self-hosted`.
    """

    profile: Profile
    runs_on: tuple[str, ...] | None
    taken_by: str | None
    also: tuple[str, ...]


def guide(profiles: Sequence[Profile]) -> list[Entry]:
    """Return how each profile is reached, in order."""
    return [_entry(profile, profiles) for profile in profiles]


def text(entries: Sequence[Entry]) -> str:
    """Return the guide for a terminal."""
    return "\n".join(line for entry in entries for line in _lines(entry))


def markdown(entries: Sequence[Entry]) -> str:
    """Return the guide as a table in Markdown."""
    rows = [["`runs-on`", "system", "image", "for", "at most"], ["---"] * 5]
    rows += [
        [f"`{_written(entry.runs_on)}`", _system(entry), f"`{entry.profile.image}`", _whom(entry), _limits(entry)]
        for entry in entries
        if entry.runs_on is not None
    ]
    return "\n".join(f"| {' | '.join(cell.replace('|', '\\|') for cell in row)} |" for row in rows)


def document(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Return the guide for programs."""
    return {
        "profiles": [
            {
                "name": entry.profile.name,
                "runsOn": None if entry.runs_on is None else list(entry.runs_on),
                "alsoLabels": list(entry.also),
                "takenBy": entry.taken_by,
                "os": entry.profile.os,
                "arch": entry.profile.arch,
                "image": entry.profile.image,
                "repositories": list(entry.profile.repositories),
                "runnerGroup": entry.profile.runner_group,
                "maxHours": entry.profile.max_hours,
                "maxRunners": entry.profile.max_runners,
            }
            for entry in entries
        ]
    }


def _entry(profile: Profile, profiles: Sequence[Profile]) -> Entry:
    repository = profile.repositories[0].replace("*", "x").replace("?", "x") if profile.repositories else ""
    chosen = None
    found = []
    for labels in _choices(profile):
        chosen = profile_for(profiles, labels, repository)
        if chosen == profile:
            found.append(labels)
    if not found:
        return Entry(profile, None, chosen.name if chosen else None, ())
    runs_on = found[0]
    also = [label for label in profile.labels if (SELF_HOSTED, label) in found and label not in runs_on]
    return Entry(profile, runs_on, None, tuple(also))


def _choices(profile: Profile) -> Iterator[tuple[str, ...]]:
    """Yield what a job may ask for to mean this profile: the shortest first, and everything last."""
    own = tuple(label.replace("*", "x").replace("?", "x") for label in profile.labels)
    kind = (profile.os, profile.arch)
    yield from ((SELF_HOSTED, label) for label in own)
    yield from ((SELF_HOSTED, label) for label in kind)
    yield (SELF_HOSTED, *kind)
    yield from ((SELF_HOSTED, *pair) for pair in itertools.combinations(own, 2))
    yield (SELF_HOSTED, *kind, *own)


def _lines(entry: Entry) -> Iterator[str]:
    if entry.runs_on is None:
        yield f"{entry.profile.name}: no job gets it, because profile {entry.taken_by} takes them all and comes first"
        return
    yield f"{entry.profile.name}: runs-on: {_written(entry.runs_on)}"
    if entry.also:
        yield f"  or one of: {', '.join(entry.also)}"
    yield f"  {_system(entry)}, image {entry.profile.image}, for {_whom(entry)}, at most {_limits(entry)}"


def _written(labels: Sequence[str] | None) -> str:
    return f"[{', '.join(labels or ())}]"


def _system(entry: Entry) -> str:
    return f"{entry.profile.os} {entry.profile.arch}"


def _whom(entry: Entry) -> str:
    whose = ", ".join(entry.profile.repositories) or "all repositories"
    return whose if entry.profile.runner_group is None else f"{whose}, in the group {entry.profile.runner_group}"


def _limits(entry: Entry) -> str:
    hours = f"{entry.profile.max_hours:g} h"
    return hours if entry.profile.max_runners is None else f"{hours}, {entry.profile.max_runners} runners at once"
