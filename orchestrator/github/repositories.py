"""The repositories of an account that may run workflows.

Source: GitHub REST API, "List repositories accessible to the app installation", "List organization repositories".
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from orchestrator.clock import moment_of
from orchestrator.github.session import GitHubSession
from orchestrator.runners.installed import ListedRepository
from orchestrator.runners.scope import ScopeAccess

_BY_PUSH = {"sort": "pushed", "direction": "desc"}


class Repositories:
    """Lists repositories.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def all(self, access: ScopeAccess) -> list[ListedRepository]:
        """Return the repositories of the App's installation; with a token, those of the organization.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        if access.installation is None:
            return list(self._by_push(access))
        found = self._session.listing("/installation/repositories", access, "repositories", _repository)
        return [repository for repository in found if repository is not None]

    def pushed_since(self, access: ScopeAccess, moment: datetime) -> list[ListedRepository]:
        """Return the repositories of an organization that somebody pushed to since then.

        With a GitHub App these may be others than those of its installation.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        found: list[ListedRepository] = []
        for repository in self._by_push(access):
            if repository.pushed_at is not None and repository.pushed_at < moment:
                break
            found.append(repository)
        return found

    def _by_push(self, access: ScopeAccess) -> Iterator[ListedRepository]:
        path = f"{access.scope.api_path}/repos"
        for page in self._session.pages(path, access, _repository, params=_BY_PUSH, remembered=True):
            yield from (repository for repository in page if repository is not None)


def _repository(entry: Any) -> ListedRepository | None:
    """Read a repository; None if it can run no workflow."""
    if entry.get("archived") or entry.get("disabled"):
        return None
    pushed_at = entry.get("pushed_at")
    return ListedRepository(
        str(entry["full_name"]),
        not entry.get("private", True),
        moment_of(pushed_at) if pushed_at else None,
    )
