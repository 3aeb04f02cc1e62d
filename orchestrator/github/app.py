"""What a GitHub App asks as itself: where it is installed, and for what.

Source: GitHub REST API, "GitHub Apps".
"""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient, array, understanding
from orchestrator.github.credentials import AppCredential
from orchestrator.github.session import PAGE, PAGES, GitHubSession, next_link
from orchestrator.runners.scope import Scope, ScopeAccess

logger = logging.getLogger(__name__)

# An installation with more repositories than this is not searched repository by repository.
SMALL = 50


class GitHubApp:
    """The App that `GithubAppId` names."""

    def __init__(self, client: GitHubClient, credential: AppCredential) -> None:
        self._client = client
        self._credential = credential
        self._session = GitHubSession(client, credential)

    def repositories(self) -> dict[str, int]:
        """Return the repositories of every small installation (`owner/name`), with the installation's id.

        One that refuses, for example by its list of allowed addresses, is reported and left out.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        found: dict[str, int] = {}
        for installation, account in self._installations():
            access = ScopeAccess(Scope("organization", account), installation)
            names = self._session.listing("/installation/repositories", access, "repositories", _full_name)
            try:
                some = list(islice(names, SMALL + 1))
            except GitHubRefused as error:
                about = {"result": "skipped", "installation": installation, "reason": str(error)}
                logger.warning("%s", json.dumps({"pass": "reconciliation", **about}))
                continue
            if len(some) <= SMALL:
                found |= dict.fromkeys(some, installation)
        return found

    def _installations(self) -> Iterator[tuple[int, str]]:
        for number in range(1, PAGES + 1):
            answer = self._client.call(
                "GET",
                "/app/installations",
                authorization=self._credential.app_authorization(),
                params={"per_page": str(PAGE), "page": str(number)},
                upkeep=True,
            )
            with understanding("GitHub's answer holds no installations"):
                page = [_installation(entry) for entry in array(answer.json)]
            yield from (found for found in page if found is not None)
            if next_link(answer) is None:
                return
        raise TransientError("GitHub's list of installations has no end")


def _installation(entry: Any) -> tuple[int, str] | None:
    """Read an installation's id and account; None where it has no repositories: suspended, or on an enterprise."""
    account = entry["account"]
    if entry.get("suspended_at") is not None or "login" not in account:
        return None
    return int(entry["id"]), str(account["login"])


def _full_name(entry: Any) -> str:
    return str(entry["full_name"])
