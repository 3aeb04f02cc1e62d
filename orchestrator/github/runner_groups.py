"""The runner groups of an organization.

Source: GitHub REST API, "Self-hosted runner groups".
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.github.client import text
from orchestrator.github.runners import DEFAULT_GROUP_ID
from orchestrator.github.session import GitHubSession
from orchestrator.runners.runner_group import RunnerGroup
from orchestrator.runners.scope import ScopeAccess


class RunnerGroups:
    """The runner groups that the session's credential may read.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def listed(self, access: ScopeAccess, repository: str | None = None) -> list[RunnerGroup]:
        """Return an organization's runner groups.

        Args:
            access: the organization.
            repository: the name, without its owner, of a repository that they must be visible to; None for all groups.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        params = None if repository is None else {"visible_to_repository": repository}
        path = f"{access.scope.api_path}/actions/runner-groups"
        return list(self._session.listing(path, access, "runner_groups", _group, params=params))

    def repositories(self, access: ScopeAccess, group: RunnerGroup) -> list[str]:
        """Return the full names of the repositories that were chosen for a group.

        Args:
            access: the organization.
            group: one that admits chosen repositories only.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        path = f"{access.scope.api_path}/actions/runner-groups/{group.id}/repositories"
        return list(self._session.listing(path, access, "repositories", _full_name))


def _group(entry: Mapping[str, Any]) -> RunnerGroup:
    """Read a group; what an old server does not say counts as admitted, since GitHub itself keeps to the group."""
    public = entry.get("allows_public_repositories", True) or entry.get("inherited_allows_public_repositories", False)
    return RunnerGroup(
        name=text(entry["name"]),
        is_default=bool(entry.get("default", int(entry["id"]) == DEFAULT_GROUP_ID)),
        visibility=str(entry.get("visibility", "")),
        admits_public=bool(public),
        restricted_to_workflows=bool(entry.get("restricted_to_workflows", False)),
        id=int(entry["id"]),
    )


def _full_name(entry: Mapping[str, Any]) -> str:
    return text(entry["full_name"])
