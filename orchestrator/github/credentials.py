"""How the orchestrator proves to GitHub who it is: a token of somebody's, or a GitHub App."""

import threading
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.github.app_token import AppToken
from orchestrator.github.client import GitHubClient, expecting
from orchestrator.github.token_cache import ExpiringToken, TokenCache
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runtime import MakeLock

# An installation that was looked up is asked for again after this.
INSTALLATION_REMEMBERED_FOR = timedelta(hours=1)


class Credential(Protocol):
    """What authorizes calls to GitHub."""

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the value of the Authorization header.

        Args:
            access: the scope that the call is about; None for what concerns the GitHub App itself.
        """

    def rejected(self, access: ScopeAccess | None, authorization: str, error: GitHubRefused) -> bool:
        """Take note of a refusal; return whether the call should be made once more, authorized anew.

        Args:
            access: as it was given to `authorization`.
            authorization: what the refused call was authorized with.
            error: the refusal.
        """


class PersonalToken:
    """A personal access token or an OAuth app's token (`GithubToken`)."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    def authorization(self, access: ScopeAccess | None) -> str:  # noqa: ARG002 - one token for all calls
        """Return the token, whatever the call is about."""
        return self._authorization

    def rejected(self, access: ScopeAccess | None, authorization: str, error: GitHubRefused) -> bool:  # noqa: ARG002
        """Return False: there is no other token to try."""
        return False


class AppCredential:
    """A GitHub App (`GithubAppId`, `GithubAppPrivateKey`): a token per installation, which lasts an hour.

    Args:
        client: makes the calls that fetch the tokens.
        app_id: the App's id or client id.
        private_key: in PEM form.
        lock: makes a lock.
    """

    def __init__(self, client: GitHubClient, app_id: str, private_key: str, *, lock: MakeLock = threading.Lock) -> None:
        self._clock = client.clock
        self._app_id = app_id
        self._own = AppToken(client, app_id, private_key)
        self._installations: dict[Scope, tuple[int, datetime]] = {}
        self._tokens = TokenCache(self._new_token, client.clock, lock=lock)

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the token of the scope's installation; for the App itself, its JSON Web Token.

        Raises:
            UpstreamError: The App is not installed there, GitHub refuses its key, or GitHub does not answer.
        """
        if access is None:
            return self._own.authorization()
        installation = self._installation_of(access)
        try:
            token = self._tokens.get(installation)
        except GitHubRefused as error:
            # When the App is removed and installed again, it gets another id.
            if error.status != HTTPStatus.NOT_FOUND or not self._was_replaced(access, installation):
                raise
            token = self._tokens.get(self._installation_of(access))
        return f"Bearer {token.value}"

    def rejected(self, access: ScopeAccess | None, authorization: str, error: GitHubRefused) -> bool:
        """Take note of a 401 or 404; return whether another token, or another installation's, may help.

        A 404 is what an installation is told of a repository that has moved to another account.
        """
        if access is None:
            return self._own.corrected(authorization, error)
        installation = self._installation_of(access)
        if error.status == HTTPStatus.UNAUTHORIZED:
            self._tokens.drop(installation, authorization.removeprefix("Bearer "))
            return True
        if error.status != HTTPStatus.NOT_FOUND or self._looked_up(access.scope) is not None:
            return False
        try:
            return self._was_replaced(access, installation)
        except UpstreamError:
            return False

    def _new_token(self, installation: int) -> ExpiringToken:
        path = f"/app/installations/{installation}/access_tokens"
        return ExpiringToken.read(self._own.call("POST", path).json)

    def _installation_of(self, access: ScopeAccess) -> int:
        """Return the installation that covers a scope.

        What GitHub said within the hour counts before what a delivery or a task's notes say, which may be old.
        """
        return self._looked_up(access.scope) or access.installation or self._look_up(access.scope)

    def _was_replaced(self, access: ScopeAccess, installation: int) -> bool:
        """Whether GitHub names another installation than this one, which it refused."""
        return self._look_up(access.scope) != installation

    def _looked_up(self, scope: Scope) -> int | None:
        installation, since = self._installations.get(scope, (None, None))
        fresh = since is not None and self._clock() - since < INSTALLATION_REMEMBERED_FOR
        return installation if fresh else None

    def _look_up(self, scope: Scope) -> int:
        # Other threads read the dictionary, so it is replaced and never changed.
        self._installations = {of: known for of, known in self._installations.items() if of != scope}
        try:
            response = self._own.call("GET", f"{scope.api_path}/installation")
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                reason = f"the GitHub App {self._app_id} is not installed for {scope}"
                raise GitHubRefused(reason, HTTPStatus.NOT_FOUND) from None
            raise
        with expecting("GitHub's answer names no installation"):
            installation = int(response.json["id"])
        self._installations = {**self._installations, scope: (installation, self._clock())}
        return installation
