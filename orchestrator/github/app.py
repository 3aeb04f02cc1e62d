"""What a GitHub App asks as itself: where it is installed, and for what.

Source: GitHub REST API, "GitHub Apps".
"""

from itertools import islice
from typing import Any

from orchestrator.github.client import GitHubClient, understanding
from orchestrator.github.credentials import AppCredential
from orchestrator.github.scope import Registrant, Scope
from orchestrator.github.session import PAGE, GitHubSession

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

        Raises:
            UpstreamError: GitHub does not tell.
        """
        found: dict[str, int] = {}
        for installation, account in self._installations():
            registrant = Registrant(Scope("organization", account), installation)
            names = self._session.listing("/installation/repositories", registrant, "repositories", _full_name)
            some = list(islice(names, SMALL + 1))
            if len(some) <= SMALL:
                found |= dict.fromkeys(some, installation)
        return found

    def _installations(self) -> list[tuple[int, str]]:
        answer = self._client.call(
            "GET",
            "/app/installations",
            authorization=self._credential.app_authorization(),
            params={"per_page": str(PAGE)},
            upkeep=True,
        )
        with understanding("GitHub's answer holds no installations"):
            return [
                (int(entry["id"]), str(entry["account"]["login"]))
                for entry in answer.json
                if entry.get("suspended_at") is None
            ]


def _full_name(entry: Any) -> str:
    return str(entry["full_name"])
