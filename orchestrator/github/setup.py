"""What GitHub says of the set-up: the credential, the App and its installations, and the webhooks.

Source: GitHub REST API, "GitHub Apps", "GitHub App webhooks", "Organization webhooks", "Repository webhooks"; GitHub
docs, "Scopes for OAuth apps" (`X-OAuth-Scopes`); GitHub changelog of 2021-07-26 (the header with a token's expiry).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orchestrator.github.app import owner_of
from orchestrator.github.app_registration import AppHook
from orchestrator.github.client import array, expecting, text
from orchestrator.github.hook_deliveries import HookDeliveries
from orchestrator.github.session import GitHubSession
from orchestrator.health.facts import AppFacts, HookFacts, InstallationFacts, TokenFacts
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.installed import Installed
from orchestrator.runners.scope import Scope, ScopeAccess

# What a question is put to that every token may ask.
_ANYTHING = "/meta"
# Whose token it is does not matter there.
_NOWHERE = ScopeAccess(Scope("organization", ""), None)
# Deliveries that are looked at: one page of the list.
_MOST_DELIVERIES = 100


class GitHubSetup:
    """Asks what the set-up is, and changes nothing.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def token(self) -> TokenFacts:
        """Return what GitHub says of the token.

        Raises:
            UpstreamError: GitHub does not believe it, or does not answer.
        """
        headers = self._session.call("GET", _ANYTHING, _NOWHERE).headers
        scopes, expires_at = headers.get("x-oauth-scopes"), headers.get("github-authentication-token-expiration")
        return TokenFacts(
            None if scopes is None else frozenset(scope.strip() for scope in scopes.split(",") if scope.strip()),
            None if expires_at is None else _moment(expires_at),
        )

    def app(self) -> AppFacts:
        """Return what GitHub says of the App.

        Raises:
            UpstreamError: GitHub does not believe its key, or does not answer.
        """
        response = self._session.call("GET", "/app", None)
        with expecting("GitHub's answer to GET /app describes no App"):
            body = response.json
            return AppFacts(
                text(body["slug"]), owner_of(body), _permissions(body), frozenset(map(text, array(body["events"])))
            )

    def installations(self) -> Sequence[InstallationFacts]:
        """Return where the App is installed.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        pages = self._session.pages("/app/installations", None, _installation)
        return [found for page in pages for found in page]

    def hooks(self, access: ScopeAccess | None) -> Sequence[HookFacts]:
        """Return the webhooks of an organization or repository; the App's own for None.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        if access is None:
            config = AppHook(self._session).config()
            return [_hook(APP_HOOK, config.url, content_type=config.content_type, verifies_tls=config.verifies_tls)]
        path = f"{access.scope.api_path}/hooks"
        return [found for page in self._session.pages(path, access, lambda entry: _listed(path, entry))
                for found in page]  # fmt: skip

    def deliveries(self, hook: str, age: timedelta) -> Sequence[HookDelivery]:
        """Return a webhook's latest deliveries, the newest first.

        Args:
            hook: its REST path, or `APP_HOOK`.
            age: how far back they are looked at.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        deliveries = HookDeliveries(self._session, most_pages=1).since(hook, self._session.clock() - age)
        return list(islice(deliveries, _MOST_DELIVERIES))

    def runners(self, access: ScopeAccess) -> int:
        """Return how many runners a scope has: whoever may read them has reached it.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        path = f"{access.scope.api_path}/actions/runners"
        response = self._session.call("GET", path, access, params={"per_page": "1"})
        with expecting("GitHub's answer holds no runners"):
            return int(response.json["total_count"])


def _installation(entry: Any) -> InstallationFacts:
    account = entry["account"]
    installed = Installed(int(entry["id"]), str(account.get("login", "")), account.get("type") != "User")
    return InstallationFacts(installed, _permissions(entry), entry.get("suspended_at") is not None)


def _permissions(entry: Any) -> Mapping[str, str]:
    return {str(name): str(level) for name, level in dict(entry["permissions"]).items()}


def _listed(path: str, entry: Any) -> HookFacts:
    config = entry["config"]
    return _hook(
        f"{path}/{int(entry['id'])}",
        str(config.get("url") or ""),
        events=frozenset(map(text, array(entry["events"]))),
        active=bool(entry["active"]),
        content_type=str(config.get("content_type", "")),
        verifies_tls=str(config.get("insecure_ssl", "0")) == "0",
    )


def _hook(path: str, url: str, **more: Any) -> HookFacts:
    """Return what of an address may be kept: no query, which holds the function's key, and no user."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    has_key = "code" in parse_qs(parts.query)
    return HookFacts(path, host, parts.path, has_key=has_key, is_https=parts.scheme == "https", **more)


def _moment(header: str) -> datetime | None:
    """Read `2026-12-01 12:00:00 UTC`, or with an offset such as `-0800`; None if it is neither."""
    try:
        date, time, zone = header.split()
        return datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone == 'UTC' else zone}").astimezone(UTC)
    except ValueError:
        return None
