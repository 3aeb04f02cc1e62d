"""Calls about a scope: authorized for it, tried once more with a new token, and lists read page by page."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from requests.utils import parse_header_links

from orchestrator.errors import (
    CallsSpent,
    CredentialRejected,
    GitHubRefused,
    ListTooLong,
    UpstreamError,
)
from orchestrator.github.app_token import what_to_look_at
from orchestrator.github.client import GitHubClient, Response, array, expecting
from orchestrator.github.credentials import Credential
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runtime import MakeLock

# Entries per page, the most that GitHub gives.
PAGE_SIZE = 100
# Pages of one list: 15,000 runners or repositories. GitHub lists no more than 1,000 runs of one status.
MOST_PAGES = 150
# Pages that are remembered. GitHub answers "not modified" for those that have not changed, which costs no request.
# Most are those of a repository without runs, and empty.
REMEMBERED_PAGES = 10_000


class Page(NamedTuple):
    """A page of a list.

    Attributes:
        etag: what GitHub tells by whether the page is still the same; empty if GitHub sent none.
        entries: what the page holds, as it was read.
        next_link: the address of the next page.
    """

    etag: str
    entries: list[Any]
    next_link: str | None


class GitHubSession:
    """Makes calls for whatever scope the credential reaches. Safe under threads.

    Args:
        client: makes the calls.
        credential: authorizes them.
        background: whether no job waits for these calls; they leave a part of GitHub's limits to the others.
        most_pages: a list with more pages than this is an error.
        remembered_pages: of how many pages the content is remembered.
        wait: waits for some seconds until a limit of GitHub's allows a call; returns False if it is not to be waited
            for.
        lock: makes a lock.

    Attributes:
        clock: the client's.
    """

    def __init__(
        self,
        client: GitHubClient,
        credential: Credential,
        *,
        background: bool = False,
        most_pages: int = MOST_PAGES,
        remembered_pages: int = REMEMBERED_PAGES,
        wait: Callable[[float | None], bool] = lambda _: False,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self.clock = client.clock
        self._client = client
        self._credential = credential
        self._background = background
        self._most_pages = most_pages
        self._remembered_pages = remembered_pages
        self._wait = wait
        self._lock = lock()
        self._pages: OrderedDict[tuple[object, ...], Page] = OrderedDict()

    def call(
        self,
        method: str,
        path: str,
        access: ScopeAccess | None,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Make one call; after a 401 once more with a new token, if there can be one.

        Args:
            method: the HTTP method.
            path: below the API's base URL, beginning with a slash.
            access: the scope that the call is about; None for what concerns the GitHub App itself.
            json: the request's body.
            params: the query.
            headers: further headers.

        Raises:
            UpstreamError: GitHub does not do it; see `GitHubClient.call`.
        """
        while True:
            try:
                return self._authorized(
                    access,
                    lambda authorization: self._client.call(
                        method,
                        path,
                        authorization=authorization,
                        json=json,
                        params=params,
                        headers=headers,
                        background=self._background,
                    ),
                )
            except CallsSpent as error:
                if not self._wait(error.retry_after):
                    raise

    def _authorized(
        self, access: ScopeAccess | None, call: Callable[[str], Response], *, last_try: bool = False
    ) -> Response:
        authorization = self._credential.authorization(access)
        try:
            return call(authorization)
        except GitHubRefused as error:
            if last_try or not self._credential.rejected(access, authorization, error):
                raise _explained(error, access) from None
        return self._authorized(access, call, last_try=True)

    def listing[T](
        self,
        path: str,
        access: ScopeAccess,
        key: str,
        read: Callable[[Any], T],
        *,
        params: Mapping[str, str] | None = None,
    ) -> Iterator[T]:
        """Return the entries of a list. Pages that have not changed since the last time cost nothing.

        Args:
            path: the REST path.
            access: the scope that the list is about.
            key: the property of the answer that holds the entries.
            read: reads one entry.
            params: the query, without paging.

        Raises:
            UpstreamError: GitHub does not tell, or not all.
        """
        for page in self.pages(path, access, read, key=key, params=params, remembered=True):
            yield from page

    def pages[T](
        self,
        path: str,
        access: ScopeAccess | None,
        read: Callable[[Any], T],
        *,
        key: str | None = None,
        params: Mapping[str, str] | None = None,
        by_cursor: bool = False,
        remembered: bool = False,
    ) -> Iterator[list[T]]:
        """Return the pages of a list. Each is asked for when the one before it has been used.

        Args:
            path: the REST path.
            access: see `call`.
            read: reads one entry.
            key: the property of the answer that holds the entries; None if the answer is their array.
            params: the query, without paging.
            by_cursor: whether GitHub's link names the next page by a cursor, not by a number.
            remembered: whether the pages are remembered, so that GitHub need not send them again unchanged.

        Raises:
            UpstreamError: GitHub does not tell, or the list has more pages than it may have.
        """
        query = {**(params or {}), "per_page": str(PAGE_SIZE)} | ({} if by_cursor else {"page": "1"})
        for _ in range(self._most_pages):
            page = self._page(path, access, read, key, query, remembered=remembered)
            yield page.entries
            following = _next_query(query, page)
            if following is None:
                return
            query = following
        raise ListTooLong(f"GitHub's answer to GET {path} has no end")

    def first_page[T](
        self,
        path: str,
        access: ScopeAccess,
        read: Callable[[Any], T],
        *,
        key: str,
        params: Mapping[str, str],
        empty: str = "",
    ) -> Page:
        """Return the first page of a list. It is remembered, so that GitHub need not send it again unchanged.

        Args:
            path: the REST path.
            access: see `call`.
            read: reads one entry.
            key: the property of the answer that holds the entries.
            params: the query, without paging.
            empty: the ETag that another process got with a page of no use; while it holds, the page has no entries.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        query = {**params, "per_page": str(PAGE_SIZE), "page": "1"}
        return self._page(path, access, read, key, query, remembered=True, empty=empty)

    def _page[T](
        self,
        path: str,
        access: ScopeAccess | None,
        read: Callable[[Any], T],
        key: str | None,
        query: Mapping[str, str],
        *,
        remembered: bool,
        empty: str = "",
    ) -> Page:
        # The same path can return different data per installation, and each reader keeps other things of it.
        name: tuple[object, ...] = (access, path, *query.values(), read)
        with self._lock:
            known = self._pages.get(name) or (Page(empty, [], None) if empty else None)
        headers = {"If-None-Match": known.etag} if known else None
        response = self.call("GET", path, access, params=query, headers=headers)
        if known and response.status == HTTPStatus.NOT_MODIFIED:
            page = known
        else:
            with expecting(f"GitHub's answer to GET {path} holds no {key or path.rpartition('/')[2]}"):
                entries = [read(entry) for entry in array(response.json if key is None else response.json[key])]
            page = Page(response.headers.get("etag", ""), entries, _next_link(response))
        if remembered:
            self._remember(name, page)
        return page

    def _remember(self, name: tuple[object, ...], page: Page) -> None:
        with self._lock:
            self._pages.pop(name, None)
            if page.etag:
                self._pages[name] = page
            if len(self._pages) > self._remembered_pages:
                self._pages.popitem(last=False)


def _next_query(query: Mapping[str, str], page: Page) -> dict[str, str] | None:
    """Return the query of the page that follows; None after the last page.

    Source: GitHub docs, "Using pagination in the REST API": a page may be short though others follow.
    """
    if "page" not in query:
        cursor = parse_qs(urlsplit(page.next_link or "").query).get("cursor")
        return {**query, "cursor": cursor[0]} if cursor else None
    # A full page without a link is taken for one that has a next page, because a proxy may have removed the header.
    if page.next_link is None and len(page.entries) < PAGE_SIZE:
        return None
    return {**query, "page": str(int(query["page"]) + 1)}


def _next_link(response: Response) -> str | None:
    links = parse_header_links(response.headers.get("link", ""))
    return next((link["url"] for link in links if link.get("rel") == "next"), None)


def _explained(error: GitHubRefused, access: ScopeAccess | None) -> UpstreamError:
    """Add what an operator should look at."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        hint = "has GithubToken expired?" if access is not None else what_to_look_at(error)
        return CredentialRejected(f"{error}: {hint}")
    if access is None:
        return error
    hints: dict[int, str] = {
        HTTPStatus.FORBIDDEN: f": may the credentials do that for {access.scope}?",
        HTTPStatus.NOT_FOUND: f": may the credentials see that of {access.scope}?",
    }
    return GitHubRefused(f"{error}{hints.get(error.status, '')}", error.status)
