"""What became of a webhook's deliveries, and how to have one sent again.

Source: GitHub REST API, "GitHub App webhooks", "Organization webhooks", "Repository webhooks"; GitHub docs,
"Redelivering webhooks": GitHub keeps a delivery for three days and never sends one again by itself.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orchestrator.github.client import Answer, GitHubClient, array, understanding
from orchestrator.github.credentials import AppCredential
from orchestrator.github.session import PAGE, GitHubSession, next_link
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.scope import Scope, ScopeAccess

# A listing goes no further back than this many pages.
PAGES = 50
_HOOK = re.compile(r"/(orgs|repos)/(.+)/hooks/\d+")


class HookDeliveries:
    """The deliveries of the webhooks that the credentials may see.

    Args:
        client: makes the calls of the App.
        session: makes the others.
        app: where the credentials are an App's.
    """

    def __init__(self, client: GitHubClient, session: GitHubSession, app: AppCredential | None) -> None:
        self._client = client
        self._session = session
        self._app = app

    def since(self, hook: str, moment: datetime) -> Iterator[HookDelivery]:
        """List a hook's deliveries, newest first, back to a moment (or as far as `PAGES` go).

        Args:
            hook: `APP_HOOK`, or the REST path of an organization's or repository's hook.
            moment: the time.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        query = {"per_page": str(PAGE)}
        for _ in range(PAGES):
            answer = self._call("GET", hook, "deliveries", query)
            with understanding("GitHub's answer holds no deliveries"):
                page = [_delivery(entry) for entry in array(answer.json)]
            for delivery in page:
                if delivery.delivered_at < moment:
                    return
                yield delivery
            cursor = _next_cursor(answer)
            if cursor is None:
                return
            query = {"per_page": str(PAGE), "cursor": cursor}

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Have a delivery sent again, under the same guid.

        Raises:
            UpstreamError: GitHub does not do it.
        """
        self._call("POST", hook, f"deliveries/{delivery.id}/attempts")

    def _call(self, method: str, hook: str, what: str, params: dict[str, str] | None = None) -> Answer:
        path = f"{hook}/{what}"
        if hook == APP_HOOK and self._app is not None:
            authorization = self._app.app_authorization()
            return self._client.call(method, path, authorization=authorization, params=params, upkeep=True)
        return self._session.call(method, path, ScopeAccess(_scope(hook), None), params=params, upkeep=True)


def _delivery(entry: Any) -> HookDelivery:
    status = int(entry["status_code"])
    return HookDelivery(
        int(entry["id"]),
        str(entry["guid"]),
        datetime.fromisoformat(entry["delivered_at"]).astimezone(UTC),
        str(entry["event"]),
        entry["action"],
        200 <= status < 400,  # noqa: PLR2004 - GitHub's own rule
        bool(entry["redelivery"]),
        400 <= status < 500,  # noqa: PLR2004 - 4xx
    )


def _scope(hook: str) -> Scope:
    found = _HOOK.fullmatch(hook)
    kind, name = found.groups() if found else ("orgs", "")
    return Scope("organization" if kind == "orgs" else "repository", name)


def _next_cursor(answer: Answer) -> str | None:
    link = next_link(answer)
    return parse_qs(urlsplit(link).query).get("cursor", [None])[0] if link else None
