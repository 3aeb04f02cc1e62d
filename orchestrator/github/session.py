"""Calls about a scope: authorized for it, tried once more with a new token, read page by page."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

from requests.utils import parse_header_links

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import Answer, GitHubClient, array, understanding
from orchestrator.github.credentials import UNAUTHORIZED, Credential
from orchestrator.runners.scope import Scope, ScopeAccess

NOT_MODIFIED = 304
FORBIDDEN = 403
NOT_FOUND = 404
PAGE = 100
# A listing that is longer is none of GitHub's: a scope has 10,000 runners at most, a filtered list of runs 1,000.
PAGES = 100
# Pages that are remembered, so that GitHub may answer "not modified", which costs nothing of the rate limit.
REMEMBERED = 500


class _Page(NamedTuple):
    """A page of a listing, and what tells whether it is still the same."""

    etag: str
    entries: list[Any]
    more: bool


class GitHubSession:
    """Makes calls for whatever scope the credential reaches. Safe under threads."""

    def __init__(self, client: GitHubClient, credential: Credential) -> None:
        self._client = client
        self._credential = credential
        self._lock = Lock()
        self._pages: OrderedDict[tuple[object, ...], _Page] = OrderedDict()

    def now(self) -> datetime:
        """Return the time, by the client's clock."""
        return self._client.now()

    def call(
        self,
        method: str,
        path: str,
        access: ScopeAccess,
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
            authorization = self._credential.authorization(*access)
            try:
                return self._client.call(
                    method, path, authorization=authorization, json=json, params=params, headers=headers, upkeep=upkeep
                )
            except GitHubRefused as error:
                retry = error.status == UNAUTHORIZED and self._credential.rejected(*access, authorization)
                if last_try or not retry:
                    raise _explained(error, access.scope) from None
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def listing[T](
        self,
        path: str,
        access: ScopeAccess,
        key: str,
        read: Callable[[Any], T],
        *,
        params: Mapping[str, str] | None = None,
        upkeep: bool = True,
    ) -> Iterator[T]:
        """List something, page by page, without paying for pages that have not changed.

        Args:
            path: the REST path.
            access: for whom.
            key: the property of the answer that holds the entries.
            read: reads one entry.
            params: the query, without paging.
            upkeep: see `GitHubClient.call`.

        Raises:
            UpstreamError: GitHub does not tell, or not all.
        """
        for number in range(1, PAGES + 1):
            query = {**(params or {}), "per_page": str(PAGE), "page": str(number)}
            page = self._page(path, access, key, read, query, upkeep=upkeep)
            yield from page.entries
            if not page.more:
                return
        raise TransientError(f"GitHub's answer to GET {path} has no end")

    def _page[T](
        self,
        path: str,
        access: ScopeAccess,
        key: str,
        read: Callable[[Any], T],
        query: Mapping[str, str],
        *,
        upkeep: bool,
    ) -> _Page:
        # One path may answer each installation differently.
        name: tuple[object, ...] = (access, path, *query.values())
        with self._lock:
            known = self._pages.get(name)
        headers = {"If-None-Match": known.etag} if known else None
        answer = self.call("GET", path, access, params=query, headers=headers, upkeep=upkeep)
        if known and answer.status == NOT_MODIFIED:
            page = known
        else:
            with understanding(f"GitHub's answer to GET {path} holds no {key}"):
                entries = [read(entry) for entry in array(answer.json[key])]
            # The link decides; a full page without one is followed too, because a proxy may have dropped it.
            more = next_link(answer) is not None or len(entries) >= PAGE
            page = _Page(str(answer.headers.get("etag", "")), entries, more)
        with self._lock:
            self._pages.pop(name, None)
            if page.etag:
                self._pages[name] = page
            if len(self._pages) > REMEMBERED:
                self._pages.popitem(last=False)
        return page


def next_link(answer: Answer) -> str | None:
    """Return the address of a listing's next page, if there is one.

    Source: GitHub docs, "Using pagination in the REST API": a page may be short though others follow.
    """
    links = parse_header_links(answer.headers.get("link", ""))
    return next((link["url"] for link in links if link.get("rel") == "next"), None)


def _explained(error: GitHubRefused, scope: Scope) -> GitHubRefused:
    """Add what an operator should look at."""
    hint = {
        UNAUTHORIZED: "has GithubToken expired?",
        FORBIDDEN: f"may the credentials do that for {scope}?",
        NOT_FOUND: f"may the credentials see that of {scope}?",
    }.get(error.status)
    return GitHubRefused(f"{error}: {hint}" if hint else str(error), error.status)
