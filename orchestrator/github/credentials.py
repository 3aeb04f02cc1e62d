"""How the orchestrator proves to GitHub who it is: a token of somebody's, or a GitHub App."""

import functools
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.errors import GitHubRefused, SettingsError, UpstreamRefused
from orchestrator.github.client import GitHubClient, understanding
from orchestrator.github.token_cache import ExpiringToken, TokenCache
from orchestrator.runners.scope import Scope

UNAUTHORIZED = 401
NOT_FOUND = 404

# GitHub docs, "Generating a JSON Web Token": issued a minute ago against clock drift, ten minutes at most.
JWT_ISSUED_AGO = 60
JWT_LIFE = 540


class Credential(Protocol):
    """What authorizes calls about a scope."""

    def authorization(self, scope: Scope, installation: int | None) -> str:
        """Return the value of the Authorization header.

        Args:
            scope: what the call is about.
            installation: the App's installation, where the delivery named it.
        """

    def rejected(self, scope: Scope, installation: int | None, authorization: str) -> bool:
        """Take note of a 401; return whether another try may fare better."""


class TokenCredential:
    """A personal access token or an OAuth app's token (`GithubToken`)."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    def authorization(self, scope: Scope, installation: int | None) -> str:  # noqa: ARG002 - one token for all
        """Return the token, whatever the call is about."""
        return self._authorization

    def rejected(self, scope: Scope, installation: int | None, authorization: str) -> bool:  # noqa: ARG002 - see above
        """Return that there is no other token to try."""
        return False


class AppCredential:
    """A GitHub App (`GithubAppId`, `GithubAppPrivateKey`): one token per installation, an hour long each.

    Args:
        client: makes the calls.
        app_id: the App's id or client id.
        private_key: in PEM form.
    """

    def __init__(self, client: GitHubClient, app_id: str, private_key: str) -> None:
        self._client = client
        self._app_id = app_id
        self._pem = private_key
        self._installations: dict[Scope, int] = {}
        self._tokens = TokenCache(self._new_token, client.now)
        self._jwt = (0, "")

    def authorization(self, scope: Scope, installation: int | None) -> str:
        """Return the installation's token.

        Raises:
            UpstreamRefused: The App is not installed there, or GitHub refuses its key.
        """
        return f"Bearer {self._tokens.get(installation or self._installation_of(scope)).value}"

    def rejected(self, scope: Scope, installation: int | None, authorization: str) -> bool:
        """Forget the token, so that the next call fetches another."""
        self._tokens.drop(installation or self._installation_of(scope), authorization.removeprefix("Bearer "))
        return True

    def app_authorization(self) -> str:
        """Return the header for calls that the App makes as itself: a JSON Web Token of nine minutes.

        It is the same for half of them, so that the App's calls are counted together (`Budget`).
        """
        now = int(self._client.now().timestamp())
        since, authorization = self._jwt
        if not 0 <= now - since < JWT_LIFE // 2:
            claims = {"iat": now - JWT_ISSUED_AGO, "exp": now + JWT_LIFE, "iss": self._app_id}
            authorization = f"Bearer {jwt.encode(claims, self._key, algorithm='RS256')}"
            self._jwt = (now, authorization)
        return authorization

    @functools.cached_property
    def _key(self) -> Any:
        # Reading a key takes a hundred times as long as signing with it.
        try:
            return load_pem_private_key(self._pem.encode(), password=None)
        except (ValueError, TypeError):
            raise SettingsError([("GithubAppPrivateKey", "is not a usable RSA private key")]) from None

    def _new_token(self, installation: int) -> ExpiringToken:
        path = f"/app/installations/{installation}/access_tokens"
        try:
            answer = self._client.call("POST", path, authorization=self.app_authorization())
        except GitHubRefused as error:
            if error.status == UNAUTHORIZED:
                raise UpstreamRefused(f"{error}: do GithubAppId and GithubAppPrivateKey belong together?") from None
            if error.status == NOT_FOUND:  # a new installation has another id
                self._installations = {of: known for of, known in self._installations.items() if known != installation}
            raise
        return ExpiringToken.read(answer.json)

    def _installation_of(self, scope: Scope) -> int:
        """Look up which installation covers a scope (once)."""
        # The dictionary is replaced, never changed: other threads read it.
        known = self._installations.get(scope)
        if known is not None:
            return known
        try:
            answer = self._client.call("GET", f"{scope.api_path}/installation", authorization=self.app_authorization())
        except GitHubRefused as error:
            if error.status == NOT_FOUND:
                reason = f"the GitHub App {self._app_id} is not installed for {scope}"
                raise GitHubRefused(reason, NOT_FOUND) from None
            raise
        with understanding("GitHub's answer names no installation"):
            installation = int(answer.json["id"])
        self._installations = {**self._installations, scope: installation}
        return installation
