"""What a GitHub App asks about itself: whose it is, where it is installed, and for which repositories.

Source: GitHub REST API, "GitHub Apps".
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from orchestrator.errors import GitHubRefused
from orchestrator.github.client import expecting, text
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.accounts import AppOwner
from orchestrator.log import Log
from orchestrator.result import Result
from orchestrator.runners.installed import Installed
from orchestrator.runners.scope import Scope, ScopeAccess

log = Log(__name__)

# An installation with more repositories than this is left out: each of them would cost calls.
MOST_REPOSITORIES = 50


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
            owner = response.json["owner"]
            if "login" in owner:
                return AppOwner("account", text(owner["login"]))
            return AppOwner("enterprise", text(owner["slug"]))

    def installations(self) -> list[Installed]:
        """Return where the App is installed; suspended installations and those on an enterprise are left out.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        return list(self._installations())

    def repositories(self, admits: Callable[[str], bool] = lambda _: True) -> dict[str, int]:
        """Return the repositories (`owner/name`) of every small installation, with the installation's id.

        An installation that refuses, for example by its list of allowed addresses, is logged and left out.

        Args:
            admits: tells by its login whether an account is asked after at all.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        installation_of: dict[str, int] = {}
        for installation, account, _ in self._installations():
            if not admits(account):
                continue
            access = ScopeAccess(Scope("organization", account), installation)
            names = self._session.listing("/installation/repositories", access, "repositories", _full_name)
            try:
                first_names = list(islice(names, MOST_REPOSITORIES + 1))
            except GitHubRefused as error:
                about = {"result": Result.SKIPPED, "installation": installation, "reason": str(error)}
                log(logging.WARNING, **{"pass": "reconciliation", **about})
                continue
            if len(first_names) <= MOST_REPOSITORIES:
                installation_of |= dict.fromkeys(first_names, installation)
        return installation_of

    def _installations(self) -> Iterator[Installed]:
        for page in self._session.pages("/app/installations", None, _installation):
            yield from (installation for installation in page if installation is not None)


def _installation(entry: Any) -> Installed | None:
    """Read an installation; None if it has no repositories: suspended, or on an enterprise."""
    account = entry["account"]
    if entry.get("suspended_at") is not None or "login" not in account:
        return None
    return Installed(int(entry["id"]), text(account["login"]), account.get("type") != "User")


def _full_name(entry: Any) -> str:
    return str(entry["full_name"])
