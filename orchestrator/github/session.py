"""Calls about a scope: authorized for it, tried once more with a new token, read page by page."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from threading import Lock
from typing import Any

from orchestrator.errors import GitHubRefused
from orchestrator.github.client import Answer, GitHubClient, understanding
from orchestrator.github.credentials import UNAUTHORIZED, Credential
from orchestrator.github.scope import Registrant, Scope

FORBIDDEN = 403
NOT_FOUND = 404
PAGE = 100
# Lists that are remembered, so that GitHub may answer "not modified", which costs nothing of the rate limit.
REMEMBERED = 500


class GitHubSession:
    """Makes calls for whatever scope the credential reaches. Safe under threads."""

    def __init__(self, client: GitHubClient, credential: Credential) -> None:
        self._client = client
        self._credential = credential
        self._lock = Lock()
        self._lists: OrderedDict[tuple[str, ...], tuple[str, list[Any]]] = OrderedDict()

    def now(self) -> datetime:
        """Return the time, by the client's clock."""
        return self._client.now()

    def call(
        self,
        method: str,
        path: str,
        registrant: Registrant,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        upkeep: bool = False,
    ) -> Answer:
        """Make one call; after a 401 once more with a new token, if there can be one.

        Raises:
            UpstreamError: GitHub does not do it; see `GitHubClient.call`.
        """
        for last_try in (False, True):
            authorization = self._credential.authorization(*registrant)
            try:
                return self._client.call(
                    method, path, authorization=authorization, json=json, params=params, headers=headers, upkeep=upkeep
                )
            except GitHubRefused as error:
                retry = error.status == UNAUTHORIZED and self._credential.rejected(*registrant, authorization)
                if last_try or not retry:
                    raise _explained(error, registrant.scope) from None
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def listing[T](
        self,
        path: str,
        registrant: Registrant,
        key: str,
        read: Callable[[Any], T],
        *,
        params: Mapping[str, str] | None = None,
        upkeep: bool = True,
    ) -> Iterator[T]:
        """List something, page by page, without paying for pages that have not changed.

        Args:
            path: the REST path.
            registrant: for whom.
            key: the property of the answer that holds the entries.
            read: reads one entry.
            params: the query, without paging.
            upkeep: see `GitHubClient.call`.

        Raises:
            UpstreamError: GitHub does not tell, or not all.
        """
        page = 1
        while True:
            query = {**(params or {}), "per_page": str(PAGE), "page": str(page)}
            entries = self._page(path, registrant, key, read, query, upkeep=upkeep)
            yield from entries
            if len(entries) < PAGE:
                return
            page += 1

    def _page[T](
        self,
        path: str,
        registrant: Registrant,
        key: str,
        read: Callable[[Any], T],
        query: Mapping[str, str],
        *,
        upkeep: bool,
    ) -> list[T]:
        name = (path, *query.values())
        with self._lock:
            etag, known = self._lists.get(name, ("", []))
        headers = {"If-None-Match": etag} if etag else None
        answer = self.call("GET", path, registrant, params=query, headers=headers, upkeep=upkeep)
        if etag and answer.json is None:
            return known
        with understanding(f"GitHub's answer to GET {path} holds no {key}"):
            entries = [read(entry) for entry in answer.json[key]]
        with self._lock:
            self._lists[name] = (str(answer.headers.get("etag", "")), entries)
            self._lists.move_to_end(name)
            if len(self._lists) > REMEMBERED:
                self._lists.popitem(last=False)
        return entries


def _explained(error: GitHubRefused, scope: Scope) -> GitHubRefused:
    """Add what an operator should look at."""
    hint = {
        UNAUTHORIZED: "has GithubToken expired?",
        FORBIDDEN: f"may the credentials do that for {scope}?",
        NOT_FOUND: f"may the credentials see that of {scope}?",
    }.get(error.status)
    return GitHubRefused(f"{error}: {hint}" if hint else str(error), error.status)
