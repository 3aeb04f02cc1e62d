"""One call to GitHub's REST API: headers, time-outs, and what each kind of failure means."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from orchestrator.errors import GitHubRefused, TransientError, UpstreamRefused
from orchestrator.github.budget import Budget

API_VERSION = "2022-11-28"
USER_AGENT = "azure-batch-actions-runners"
# Seconds to connect, and between bytes of the answer. A delivery has 7 s in all.
TIMEOUT = (3.0, 6.0)
# As many connections are kept as the Functions worker may have threads.
CONNECTIONS = 32
# GitHub docs, "Rate limits for the REST API": without a hint, wait at least a minute after a secondary limit.
UNHINTED_WAIT = 60.0


@dataclass(frozen=True)
class Answer:
    """A successful answer: its JSON (None without a body) and headers (any case)."""

    status: int
    json: Any
    headers: Mapping[str, str]


class _Authorization(AuthBase):
    """Sets the header itself, which also keeps `requests` from looking for a password in a .netrc."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


class GitHubClient:
    """Calls to one GitHub, over connections that stay open.

    Args:
        api_url: `GithubApiUrl`, without a trailing slash.
        clock: epoch seconds, compared with `x-ratelimit-reset`.
    """

    def __init__(self, api_url: str, clock: Callable[[], float] = time.time) -> None:
        self._api_url = api_url
        self._clock = clock
        self._budget = Budget(clock)
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": USER_AGENT,
                "X-GitHub-Api-Version": API_VERSION,
            }
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # nothing is shared between calls
        adapter = HTTPAdapter(pool_maxsize=CONNECTIONS)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def now(self) -> datetime:
        """Return the time, by the client's clock."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def call(
        self,
        method: str,
        path: str,
        *,
        authorization: str | None,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        upkeep: bool = False,
    ) -> Answer:
        """Make one call and return a 2xx or 304 answer.

        Args:
            method: the HTTP method.
            path: below the API's base URL, beginning with a slash.
            authorization: the header's value; None for an anonymous call.
            json: the request's body.
            params: the query.
            headers: further headers.
            upkeep: whether the call serves no new runner; such calls leave a reserve of GitHub's limits.

        Raises:
            TransientError: No answer, a redirection, a 5xx or a rate limit, with the wait that GitHub named.
            GitHubRefused: Any other 4xx.
        """
        self._budget.spend(authorization or "", method, upkeep=upkeep)
        response = self._send(method, path, authorization, json=json, params=params, headers=headers)
        what = f"{method} {path}"
        wait = rate_limit_wait(response.status_code, response.headers, response.text, self._clock())
        self._budget.learn(authorization or "", response.headers, wait)
        if 200 <= response.status_code < 300 or response.status_code == requests.codes.not_modified:  # noqa: PLR2004 - 2xx
            return Answer(response.status_code, _json(response, what), response.headers)
        if wait is not None:
            raise TransientError(f"GitHub's rate limit is used up ({what}: {response.status_code})", retry_after=wait)
        # A redirection of anything but a GET is not followed: what it asked for is not done.
        if response.ok or response.status_code >= 500 or response.status_code == requests.codes.timeout:  # noqa: PLR2004 - 5xx
            raise TransientError(
                f"GitHub answered {response.status_code} to {what}",
                retry_after=_seconds(response.headers.get("retry-after"), self._clock()),
            )
        raise GitHubRefused(f"GitHub refused {what}: {response.status_code}{_message(response)}", response.status_code)

    def _send(self, method: str, path: str, authorization: str | None, **content: Any) -> requests.Response:
        for last_try in (False, True):
            try:
                return self._session.request(
                    method,
                    self._api_url + path,
                    auth=_Authorization(authorization),
                    timeout=TIMEOUT,
                    allow_redirects=method == "GET",
                    **content,
                )
            except requests.ConnectionError as error:
                # GitHub may close a kept connection just as it is used again; a fresh one tells whether it is there.
                if last_try or isinstance(error, requests.ConnectTimeout) or not _was_closed(error):
                    raise TransientError(f"GitHub is not reachable ({method} {path}: {type(error).__name__})") from None
            except requests.RequestException as error:
                raise TransientError(f"GitHub does not answer ({method} {path}: {type(error).__name__})") from None
            except ValueError:  # it would quote the header, and the token in it
                raise UpstreamRefused("the credential for GitHub holds what no HTTP header may") from None
        raise AssertionError  # pragma: no cover - the loop returns or raises


@contextmanager
def understanding(otherwise: str) -> Iterator[None]:
    """Read a JSON answer inside; one of another shape than documented may be a proxy's, and pass.

    Raises:
        TransientError: It has another shape; with the message `otherwise`.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise TransientError(otherwise) from None


def array(value: Any) -> list[Any]:
    """Return a JSON array as such; an object or a text could be gone through as well, and hold nothing.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, list):
        raise TypeError
    return value


def rate_limit_wait(status: int, headers: Mapping[str, str], text: str, now: float) -> float | None:
    """Return how many seconds to wait if this answer is a rate limit's, else None.

    Args:
        status: the HTTP status.
        headers: the answer's headers, names in lower case or of any case.
        text: the answer's body.
        now: epoch seconds.

    Source: GitHub docs, "Rate limits for the REST API": 403 or 429; `retry-after` first, then `x-ratelimit-reset`
    where nothing remains, else at least a minute.
    """
    if status not in {403, 429}:
        return None
    after = _seconds(headers.get("retry-after"), now)
    if after is not None:
        return after
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - now) if reset.isdecimal() else UNHINTED_WAIT
    if status == requests.codes.too_many_requests or "secondary rate limit" in text.lower():
        return UNHINTED_WAIT
    return None


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Read a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(1.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None


def _was_closed(error: requests.ConnectionError) -> bool:
    """Whether a connection broke after it had been made, and nothing came back."""
    return any(name in repr(error) for name in ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"))


def _json(response: requests.Response, what: str) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except requests.JSONDecodeError:
        raise TransientError(f"GitHub's answer to {what} is not JSON") from None


def _message(response: requests.Response) -> str:
    """GitHub's own words on an error, for the operator: short, and on one line."""
    try:
        message = response.json()["message"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        return ""
    return f" ({' '.join(str(message).split())[:200]})"
