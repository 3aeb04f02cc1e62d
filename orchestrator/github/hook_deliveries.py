"""What became of a webhook's deliveries, and how to have a delivery sent again.

Source: GitHub REST API, "GitHub App webhooks", "Organization webhooks", "Repository webhooks"; GitHub docs,
"Redelivering webhooks": GitHub keeps a delivery for three days and never sends it again by itself.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Any

from orchestrator.clock import moment_of
from orchestrator.github.session import GitHubSession
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.scope import Scope, ScopeAccess

# Pages of one list that are read; older deliveries are not looked at.
MOST_PAGES = 50
_HOOK = re.compile(r"/(orgs|repos)/(.+)/hooks/\d+")


class HookDeliveries:
    """The deliveries of the webhooks that the credentials may see.

    Args:
        session: makes the calls.
        most_pages: how many pages of a list are read.
    """

    def __init__(self, session: GitHubSession, *, most_pages: int = MOST_PAGES) -> None:
        self._session = session
        self._most_pages = most_pages

    def since(self, hook: str, moment: datetime, *, failed: bool = False) -> Iterator[HookDelivery]:
        """Return a hook's deliveries, newest first, back to a moment or to the last page that is read.

        Args:
            hook: `APP_HOOK`, or the REST path of an organization's or repository's hook.
            moment: older deliveries are left out.
            failed: whether only those are listed that were answered with 400 to 599.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        params = {"status": "failure"} if failed else None
        pages = self._session.pages(f"{hook}/deliveries", hook_access(hook), _delivery, params=params, by_cursor=True)
        for page in islice(pages, self._most_pages):
            for delivery in page:
                if delivery.delivered_at < moment:
                    return
                yield delivery

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Have a delivery sent again, under the same guid.

        Raises:
            UpstreamError: GitHub does not do it.
        """
        self._session.call("POST", f"{hook}/deliveries/{delivery.id}/attempts", hook_access(hook))


def hook_access(hook: str) -> ScopeAccess | None:
    """Return the scope that a hook belongs to; None if it is the App's own."""
    if hook == APP_HOOK:
        return None
    parts = _HOOK.fullmatch(hook)
    kind, name = parts.groups() if parts else ("orgs", "")
    return ScopeAccess(Scope("organization" if kind == "orgs" else "repository", name), None)


def _delivery(entry: Any) -> HookDelivery:
    status = int(entry["status_code"])
    return HookDelivery(
        int(entry["id"]),
        str(entry["guid"]),
        moment_of(entry["delivered_at"]),
        str(entry["event"]),
        entry["action"],
        HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST,  # GitHub counts these as delivered
        bool(entry["redelivery"]),
        HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR,
    )
