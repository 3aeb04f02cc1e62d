"""Runner groups: which repositories may use the runners of an organization (pure).

Source: GitHub docs, "Managing access to self-hosted runners using groups".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.jobs.event import Repository
from orchestrator.runners.scope import Scope


@dataclass(frozen=True)
class RunnerGroup:
    """A runner group of an organization.

    Attributes:
        name: its name.
        is_default: whether runners that name no group belong to it.
        visibility: `all`, `selected` or `private`: which repositories it admits.
        admits_public: whether public repositories are among them.
        restricted_to_workflows: whether it admits chosen workflows only.
        id: GitHub's number of it.
    """

    name: str
    is_default: bool
    visibility: str
    admits_public: bool
    restricted_to_workflows: bool
    id: int = 0


def described(name: str | None, scope: Scope) -> str:
    """Return how a message calls a group.

    Args:
        name: the group's name; None for GitHub's default group.
        scope: the organization.
    """
    return f"the default runner group of {scope}" if name is None else f"the runner group {name} of {scope}"


def group_named(groups: Iterable[RunnerGroup], name: str | None) -> RunnerGroup | None:
    """Return the group of a name, in any case; None if there is none.

    Args:
        groups: where to look.
        name: the group's name; None for GitHub's default group.
    """
    return next(
        (group for group in groups if (group.is_default if name is None else group.name.lower() == name.lower())), None
    )


def group_refusal(visible: Iterable[RunnerGroup], name: str | None, repository: Repository, scope: Scope) -> str | None:
    """Return why a group's runners get no job of a repository; None if they do.

    Args:
        visible: the groups that GitHub lists as visible to the repository.
        name: the profile's group; None for GitHub's default group.
        repository: the job's.
        scope: the organization.
    """
    group = group_named(visible, name)
    if group is None:
        missing = "does not admit" if name is None else "does not exist, or does not admit"
        return f"{described(name, scope)} {missing} {repository.full_name}"
    if repository.is_public and not group.admits_public:
        return f"{described(name, scope)} admits no public repositories"
    return None
