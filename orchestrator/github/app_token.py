"""How a GitHub App speaks for itself: by a JSON Web Token that it signs, dated by GitHub's clock where ours is wrong.

Source: GitHub docs, "Generating a JSON Web Token (JWT) for a GitHub App".
"""

import functools
import logging
import re
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.errors import CredentialRejected, GitHubRefused, SettingsError
from orchestrator.github.client import GitHubClient, Response
from orchestrator.lines import Line
from orchestrator.log import Log

log = Log(__name__)

# Seconds. A token may expire ten minutes ahead at most, and may not be dated ahead. So the same time on both sides
# leaves room for a clock that is wrong in either direction.
JWT_DATED_BACK = 300
JWT_LIFE = 300
# Seconds for which the same token is used, so that `Budget` counts these calls together. It takes as much of the room
# for a clock that is behind.
JWT_USED = 60
# A clock that is off by less needs no correction.
LEAST_CORRECTION = timedelta(minutes=1)

# GitHub names the claim that it does not believe.
_TIME_CLAIM = re.compile(r"\('(exp|iat)'\)")


class AppToken:
    """The App's own authorization. Safe under threads.

    Args:
        client: makes the App's calls.
        app_id: the App's id or client id.
        private_key: in PEM form.
    """

    def __init__(self, client: GitHubClient, app_id: str, private_key: str) -> None:
        self._client = client
        self._app_id = app_id
        self._pem = private_key
        self._ahead = timedelta()
        self._signed = (0, "")

    def authorization(self) -> str:
        """Return the header for a call that the App makes as itself.

        Raises:
            SettingsError: The private key cannot be used.
        """
        now = int((self._client.clock() - self._ahead).timestamp())
        since, authorization = self._signed
        if not 0 <= now - since < JWT_USED:
            claims = {"iat": now - JWT_DATED_BACK, "exp": now + JWT_LIFE, "iss": self._app_id}
            authorization = f"Bearer {jwt.encode(claims, self._key, algorithm='RS256')}"
            self._signed = (now, authorization)
        return authorization

    def corrected(self, authorization: str, error: GitHubRefused) -> bool:
        """Correct our clock by GitHub's if a refusal blames it; return whether a new token may help.

        Args:
            authorization: what the refused call was authorized with.
            error: the refusal.
        """
        if error.date is None or not _blames_the_clock(error):
            return False
        if authorization != self._signed[1]:  # another thread has corrected it
            return True
        ahead = self._client.clock() - error.date
        if abs(ahead - self._ahead) < LEAST_CORRECTION:
            return False
        self._ahead, self._signed = ahead, (0, "")
        seconds = round(ahead.total_seconds())
        message = "this machine's clock is not GitHub's: tokens of the GitHub App are dated by GitHub's"
        log(logging.WARNING, Line.CLOCK, message=message, clock_ahead_s=seconds)
        return True

    def call(self, method: str, path: str, *, last_try: bool = False) -> Response:
        """Make a call as the App itself; once more if our clock had to be corrected.

        Raises:
            UpstreamError: GitHub does not do it; see `GitHubClient.call`.
            SettingsError: The private key cannot be used.
        """
        authorization = self.authorization()
        try:
            return self._client.call(method, path, authorization=authorization)
        except GitHubRefused as error:
            if last_try or not self.corrected(authorization, error):
                if error.status == HTTPStatus.UNAUTHORIZED:
                    raise CredentialRejected(f"{error}: {what_to_look_at(error)}") from None
                raise
        return self.call(method, path, last_try=True)

    @functools.cached_property
    def _key(self) -> Any:
        # Reading a key takes a hundred times as long as signing with it.
        try:
            return load_pem_private_key(self._pem.encode(), password=None)
        except (ValueError, TypeError):
            raise SettingsError.of("GithubAppPrivateKey", "is not a usable RSA private key") from None


def what_to_look_at(error: GitHubRefused) -> str:
    """Return what an operator should look at when GitHub does not believe the App (401)."""
    if _blames_the_clock(error):
        return "is this machine's clock right?"
    return "do GithubAppId and GithubAppPrivateKey belong together?"


def _blames_the_clock(error: GitHubRefused) -> bool:
    return error.status == HTTPStatus.UNAUTHORIZED and _TIME_CLAIM.search(str(error)) is not None
