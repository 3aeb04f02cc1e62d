"""What a GitHub App asks about itself: whose it is, and where it is installed.

Source: GitHub REST API, "GitHub Apps".
"""

from typing import Any

from orchestrator.github.client import expecting, text
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.accounts import AppOwner
from orchestrator.runners.installed import Installed


class GitHubApp:
    """The App that `GithubAppId` names.

    Args:
        session: makes the calls, with the App's credential.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def owner(self) -> AppOwner:
        """Return who owns the App.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        response = self._session.call("GET", "/app", None)
        with expecting("GitHub's answer to GET /app names no owner"):
            return owner_of(response.json)

    def installations(self) -> list[Installed]:
        """Return where the App is installed; suspended installations and those on an enterprise are left out.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        pages = self._session.pages("/app/installations", None, _installation)
        return [installation for page in pages for installation in page if installation is not None]


def owner_of(app: Any) -> AppOwner:
    """Return who owns an App, from GitHub's answer about it."""
    owner = app["owner"]
    if "login" in owner:
        return AppOwner("account", text(owner["login"]))
    return AppOwner("enterprise", text(owner["slug"]))


def _installation(entry: Any) -> Installed | None:
    """Read an installation; None if it has no repositories: suspended, or on an enterprise."""
    account = entry["account"]
    if entry.get("suspended_at") is not None or "login" not in account:
        return None
    return Installed(int(entry["id"]), text(account["login"]), account.get("type") != "User")
