"""How the orchestrator proves to GitHub who it is: a token of somebody's, or a GitHub App."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Protocol

from orchestrator.errors import GitHubRefused
from orchestrator.github.app_token import AppToken
from orchestrator.github.client import GitHubClient, expecting
from orchestrator.github.token_cache import ExpiringToken, TokenCache
from orchestrator.runners.scope import Scope, ScopeAccess


class Credential(Protocol):
    """What authorizes calls to GitHub."""

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the value of the Authorization header.

        Args:
            access: the scope that the call is about; None for what concerns the GitHub App itself.
        """

    def rejected(self, access: ScopeAccess | None, authorization: str, error: GitHubRefused) -> bool:
        """Take note of a 401; return whether the call should be made once more."""


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

    def __init__(
        self,
        client: GitHubClient,
        app_id: str,
        private_key: str,
        *,
        lock: Callable[[], AbstractContextManager[object]] = threading.Lock,
    ) -> None:
        self._app_id = app_id
        self._own = AppToken(client, app_id, private_key)
        self._installations: dict[Scope, int] = {}
        self._tokens = TokenCache(self._new_token, client.clock, lock=lock)

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the token of the scope's installation; for the App itself, its JSON Web Token.

        Raises:
            UpstreamError: The App is not installed there, GitHub refuses its key, or GitHub does not answer.
        """
        if access is None:
            return self._own.authorization()
        return f"Bearer {self._tokens.get(self._installation_of(access)).value}"

    def rejected(self, access: ScopeAccess | None, authorization: str, error: GitHubRefused) -> bool:
        """Forget the refused token, so that the next call is made with a new one; return whether that may help."""
        if access is None:
            return self._own.corrected(authorization, error)
        self._tokens.drop(self._installation_of(access), authorization.removeprefix("Bearer "))
        return True

    def _new_token(self, installation: int) -> ExpiringToken:
        path = f"/app/installations/{installation}/access_tokens"
        try:
            response = self._own.call("POST", path)
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:  # when the App is installed again, it gets another id
                self._installations = {of: known for of, known in self._installations.items() if known != installation}
            raise
        return ExpiringToken.read(response.json)

    def _installation_of(self, access: ScopeAccess) -> int:
        """Return the installation that covers a scope; look it up if neither the delivery nor an earlier call told."""
        scope = access.scope
        known = access.installation or self._installations.get(scope)
        if known is not None:
            return known
        try:
            path = f"{scope.api_path}/installation"
            response = self._own.call("GET", path)
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                reason = f"the GitHub App {self._app_id} is not installed for {scope}"
                raise GitHubRefused(reason, HTTPStatus.NOT_FOUND) from None
            raise
        with expecting("GitHub's answer names no installation"):
            installation = int(response.json["id"])
        # Other threads read the dictionary, so it is replaced and never changed.
        self._installations = {**self._installations, scope: installation}
        return installation
