"""How the orchestrator proves to GitHub who it is: a token of somebody's, or a GitHub App."""

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.errors import GitHubRefused, SettingsError, UpstreamError, UpstreamRefused
from orchestrator.github.client import GitHubClient, expecting
from orchestrator.github.token_cache import ExpiringToken, TokenCache
from orchestrator.runners.scope import Scope, ScopeAccess

# Seconds. GitHub docs, "Generating a JSON Web Token": dated a minute back, in case GitHub's clock is behind ours; it
# expires after ten minutes at most.
JWT_DATED_BACK = 60
JWT_LIFE = 540
# An installation that was looked up is asked for again after this.
INSTALLATION_REMEMBERED_FOR = timedelta(hours=1)


class Credential(Protocol):
    """What authorizes calls to GitHub."""

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the value of the Authorization header.

        Args:
            access: the scope that the call is about; None for what concerns the GitHub App itself.
        """

    def refused(self, access: ScopeAccess | None, authorization: str, status: int) -> bool:
        """Take note of a refusal; return whether the call should be made once more, authorized anew.

        Args:
            access: as it was given to `authorization`.
            authorization: what the refused call was authorized with.
            status: the HTTP status of the refusal.
        """


class PersonalToken:
    """A personal access token or an OAuth app's token (`GithubToken`)."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    def authorization(self, access: ScopeAccess | None) -> str:  # noqa: ARG002 - one token for all calls
        """Return the token, whatever the call is about."""
        return self._authorization

    def refused(self, access: ScopeAccess | None, authorization: str, status: int) -> bool:  # noqa: ARG002 - see above
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
        self._installations: dict[Scope, tuple[int, datetime]] = {}
        self._tokens = TokenCache(self._new_token, client.clock, lock=lock)
        self._jwt = (0, "")

    def authorization(self, access: ScopeAccess | None) -> str:
        """Return the token of the scope's installation; for the App itself, its JSON Web Token.

        Raises:
            UpstreamError: The App is not installed there, GitHub refuses its key, or GitHub does not answer.
        """
        if access is None:
            return self._own_authorization()
        installation = self._installation_of(access)
        try:
            token = self._tokens.get(installation)
        except GitHubRefused as error:
            # When the App is removed and installed again, it gets another id.
            if error.status != HTTPStatus.NOT_FOUND or not self._was_replaced(access, installation):
                raise
            token = self._tokens.get(self._installation_of(access))
        return f"Bearer {token.value}"

    def refused(self, access: ScopeAccess | None, authorization: str, status: int) -> bool:
        """Take note of a 401 or 404; return whether another token, or another installation's, may help.

        A 404 is what an installation is told of a repository that has moved to another account.
        """
        if access is None:
            return False
        installation = self._installation_of(access)
        if status == HTTPStatus.UNAUTHORIZED:
            self._tokens.drop(installation, authorization.removeprefix("Bearer "))
            return True
        if status != HTTPStatus.NOT_FOUND or self._looked_up(access.scope) is not None:
            return False
        try:
            return self._was_replaced(access, installation)
        except UpstreamError:
            return False

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
            raise SettingsError([("GithubAppPrivateKey", "is not a usable RSA private key")]) from None

    def _new_token(self, installation: int) -> ExpiringToken:
        path = f"/app/installations/{installation}/access_tokens"
        try:
            response = self._client.call("POST", path, authorization=self._own_authorization())
        except GitHubRefused as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise UpstreamRefused(f"{error}: do GithubAppId and GithubAppPrivateKey belong together?") from None
            raise
        return ExpiringToken.read(response.json)

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
        fresh = since is not None and self._client.clock() - since < INSTALLATION_REMEMBERED_FOR
        return installation if fresh else None

    def _look_up(self, scope: Scope) -> int:
        # Other threads read the dictionary, so it is replaced and never changed.
        self._installations = {of: known for of, known in self._installations.items() if of != scope}
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
        self._installations = {**self._installations, scope: (installation, self._client.clock())}
        return installation
