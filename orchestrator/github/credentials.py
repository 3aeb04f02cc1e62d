"""How the orchestrator proves to GitHub who it is: a token of somebody's, or a GitHub App."""

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.errors import GitHubRefused, SettingsError, UpstreamRefused
from orchestrator.github.client import GitHubClient, expecting
from orchestrator.github.token_cache import ExpiringToken, TokenCache
from orchestrator.runners.scope import Scope, ScopeAccess

# Seconds. GitHub docs, "Generating a JSON Web Token": dated a minute back, in case GitHub's clock is behind ours; it
# expires after ten minutes at most.
JWT_DATED_BACK = 60
JWT_LIFE = 540


class Credential(Protocol):
    """What authorizes calls to GitHub."""

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the value of the Authorization header.

        Args:
            access: the scope that the call is about; None for what concerns the GitHub App itself.
        """

    def rejected(self, access: ScopeAccess | None, authorization: str) -> bool:
        """Take note of a 401; return whether the call should be made once more."""


class PersonalToken:
    """A personal access token or an OAuth app's token (`GithubToken`)."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    def authorization(self, access: ScopeAccess | None) -> str:  # noqa: ARG002 - one token for all calls
        """Return the token, whatever the call is about."""
        return self._authorization

    def rejected(self, access: ScopeAccess | None, authorization: str) -> bool:  # noqa: ARG002 - see above
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
        self._client = client
        self._app_id = app_id
        self._pem = private_key
        self._installations: dict[Scope, int] = {}
        self._tokens = TokenCache(self._new_token, client.clock, lock=lock)
        self._jwt = (0, "")

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the token of the scope's installation; for the App itself, its JSON Web Token.

        Raises:
            UpstreamError: The App is not installed there, GitHub refuses its key, or GitHub does not answer.
        """
        if access is None:
            return self._own_authorization()
        return f"Bearer {self._tokens.get(self._installation_of(access)).value}"

    def rejected(self, access: ScopeAccess | None, authorization: str) -> bool:
        """Forget the installation's token, so that the next call fetches a new one; return whether that may help."""
        if access is None:
            return False
        self._tokens.drop(self._installation_of(access), authorization.removeprefix("Bearer "))
        return True

    def _own_authorization(self) -> str:
        """Return the header for calls that the App makes as itself: a JSON Web Token that lasts nine minutes.

        It stays the same for half that time, so that `Budget` counts these calls together.
        """
        now = int(self._client.clock().timestamp())
        since, authorization = self._jwt
        if not 0 <= now - since < JWT_LIFE // 2:
            claims = {"iat": now - JWT_DATED_BACK, "exp": now + JWT_LIFE, "iss": self._app_id}
            authorization = f"Bearer {jwt.encode(claims, self._key, algorithm='RS256')}"
            self._jwt = (now, authorization)
        return authorization

    @functools.cached_property
    def _key(self) -> Any:
        # Reading a key takes a hundred times as long as signing with it.
        try:
            return load_pem_private_key(self._pem.encode(), password=None)
        except (ValueError, TypeError):
            raise SettingsError.of("GithubAppPrivateKey", "is not a usable RSA private key") from None

    def _new_token(self, installation: int) -> ExpiringToken:
        path = f"/app/installations/{installation}/access_tokens"
        try:
            response = self._client.call("POST", path, authorization=self._own_authorization())
        except GitHubRefused as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise UpstreamRefused(f"{error}: do GithubAppId and GithubAppPrivateKey belong together?") from None
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
            response = self._client.call("GET", path, authorization=self._own_authorization())
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
