"""One call to GitHub's REST API: headers, time-outs, and what each kind of failure means."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from orchestrator.bounded_http import bounded_session
from orchestrator.clock import Clock, utc_now
from orchestrator.egress import DIRECT, Egress
from orchestrator.errors import GitHubRefused, TransientError, UpstreamRefused
from orchestrator.github.budget import Budget
from orchestrator.runtime import MakeLock

API_VERSION = "2022-11-28"
USER_AGENT = "azure-batch-actions-runners"
# Seconds to connect, and seconds between bytes of the answer. A delivery has 7 s in all.
TIMEOUTS = (3.0, 6.0)
# Seconds for one answer in all.
TOTAL_TIMEOUT = 10.0
# How often one call is redirected. GitHub does it once, where a repository was renamed or moved.
MOST_REDIRECTS = 3
# Seconds. GitHub docs, "Rate limits for the REST API": if the answer names no time, wait at least a minute after a
# secondary limit.
UNHINTED_WAIT = 60.0
# What the text of a 403 says where it is a rate limit's, whatever its headers say.
_LIMIT_WORDS = ("rate limit", "abuse detection")


# Redirects after which a call is made again as it was, and those after which only a question is asked elsewhere.
_SAME_CALL_AGAIN = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
_ASK_ELSEWHERE = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER)


@dataclass(frozen=True)
class Response:
    """A successful answer of GitHub's.

    Attributes:
        status: the HTTP status.
        json: the body, None if there is none.
        headers: the headers, their names in any case.
    """

    status: int
    json: Any
    headers: Mapping[str, str]


class GitHubClient:
    """Calls to one GitHub, over connections that stay open. Safe under threads.

    Args:
        api_url: `GithubApiUrl`, without a trailing slash.
        clock: tells the time, which is compared with `x-ratelimit-reset`.
        timeouts: seconds to connect, and seconds between bytes of the answer.
        total: seconds for one answer in all.
        lock: makes a lock.
        egress: the way out.

    Attributes:
        clock: see above.
    """

    def __init__(
        self,
        api_url: str,
        clock: Clock = utc_now,
        *,
        timeouts: tuple[float, float] = TIMEOUTS,
        total: float = TOTAL_TIMEOUT,
        lock: MakeLock = threading.Lock,
        egress: Egress = DIRECT,
    ) -> None:
        self.clock = clock
        self._api_url = api_url
        self._timeouts = timeouts
        self._budget = Budget(clock, lock=lock)
        self._session = bounded_session(total, egress)
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": USER_AGENT,
                "X-GitHub-Api-Version": API_VERSION,
            }
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # calls share no cookies

    def begin_pass(self, period: float) -> None:
        """Share out the hour's requests anew; see `Budget.begin_pass`."""
        self._budget.begin_pass(period)

    def usage(self) -> Mapping[str, int | None]:
        """Return what was used of GitHub's limits since this was asked last; see `Budget.usage`."""
        return self._budget.usage()

    def requests_left(self) -> int | None:
        """Return how many requests are left of the hour; see `Budget.requests_left`."""
        return self._budget.requests_left()

    def call(
        self,
        method: str,
        path: str,
        *,
        authorization: str | None,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        background: bool = False,
    ) -> Response:
        """Make one call and return a 2xx or 304 answer.

        Args:
            method: the HTTP method.
            path: below the API's base URL, beginning with a slash.
            authorization: the header's value; None for an anonymous call.
            json: the request's body.
            params: the query.
            headers: further headers.
            background: whether no job waits for the call; such calls leave a part of GitHub's limits to the others.

        A redirect within GitHub is followed: a repository was renamed or moved.

        Raises:
            TransientError: No answer, one that is not GitHub's own, a 5xx or a rate limit; with the wait if GitHub
                named one.
            GitHubRefused: Any other 4xx, with GitHub's own words.
        """
        what, url = f"{method} {path}", self._api_url + path
        content: dict[str, Any] = {"json": json, "params": params}
        for _ in range(1 + MOST_REDIRECTS):
            self._budget.spend(authorization or "", method, background=background)
            response = self._send(what, method, url, headers=_with(authorization, headers), **content)
            wait = rate_limit_wait(response.status_code, response.headers, response.text, self.clock())
            self._budget.learn(authorization or "", response.headers, wait)
            target = self._redirected(method, response)
            if target is None:
                return self._understood(what, response, wait)
            url, content = target, {"json": json}
        raise TransientError(f"GitHub redirects {what} again and again")

    def _redirected(self, method: str, response: requests.Response) -> str | None:
        """Return where to make a call instead; None if the answer is no redirect that can be followed.

        Source: GitHub docs, "Best practices for using the REST API": a 301 may be followed for what only asks; after a
        307 or 308 the same call is made again.
        """
        location = response.headers.get("location")
        followed = (*_SAME_CALL_AGAIN, *_ASK_ELSEWHERE) if method == "GET" else _SAME_CALL_AGAIN
        if not location or response.status_code not in followed:
            return None
        target = urljoin(response.url, location)
        # The credential is for this host alone.
        return target if _origin(target) == _origin(self._api_url) else None

    def _understood(self, what: str, response: requests.Response, wait: float | None) -> Response:
        """Return a 2xx or 304 answer; raise what any other means."""
        status = response.status_code
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or status == HTTPStatus.NOT_MODIFIED:
            return Response(status, _json(response, what), response.headers)
        if wait is not None:
            raise TransientError(f"GitHub's rate limit is used up ({what}: {status})", retry_after=wait)
        message = _message(response)
        # A redirect that was not followed was not done. A refusal without GitHub's words is that of a proxy.
        refused = status >= HTTPStatus.BAD_REQUEST and message is not None
        if not refused or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            raise TransientError(
                f"GitHub answered {status} to {what}",
                retry_after=_seconds(response.headers.get("retry-after"), self.clock()),
            )
        date = _moment(response.headers.get("date", ""))
        raise GitHubRefused(f"GitHub refused {what}: {status} ({message})", status, date)

    def _send(self, what: str, method: str, url: str, *, last_try: bool = False, **content: Any) -> requests.Response:
        try:
            return self._session.request(method, url, timeout=self._timeouts, allow_redirects=False, **content)
        except requests.ConnectionError as error:
            if last_try or isinstance(error, requests.ConnectTimeout) or not _was_closed(error):
                raise TransientError(f"GitHub is not reachable ({what}: {type(error).__name__})") from None
        except (requests.exceptions.InvalidHeader, UnicodeError):  # its message quotes the header, with the token
            raise UpstreamRefused("the credential for GitHub holds what no HTTP header may") from None
        except (requests.RequestException, ValueError) as error:
            raise TransientError(f"GitHub does not answer ({what}: {type(error).__name__})") from None
        # GitHub may close a kept connection just when it is used again. A new connection shows whether GitHub is there.
        return self._send(what, method, url, last_try=True, **content)


@contextmanager
def expecting(otherwise: str) -> Iterator[None]:
    """Read an answer's JSON inside. An answer of another shape than documented probably comes from a proxy.

    Args:
        otherwise: the message of the error.

    Raises:
        TransientError: The answer has another shape.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise TransientError(otherwise) from None


def array(value: Any) -> list[Any]:
    """Return a JSON array as a list. Iterating over an object or a string would silently give nothing.

    Raises:
        TypeError: The value is not an array.
    """
    if not isinstance(value, list):
        raise TypeError
    return value


def text(value: Any) -> str:
    """Return a JSON string.

    Raises:
        TypeError: The value is no string.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def rate_limit_wait(status: int, headers: Mapping[str, str], body: str, now: datetime) -> float | None:
    """Return how many seconds to wait if this answer is a rate limit's, else None.

    Args:
        status: the HTTP status.
        headers: the answer's headers; a mapping that minds the case has their names in lower case.
        body: the answer's body.
        now: the time.

    Source: GitHub docs, "Rate limits for the REST API": 403 or 429; `retry-after` first, then `x-ratelimit-reset`
    where nothing remains, else at least a minute. An older Enterprise Server, or a proxy that drops headers, leaves
    only the words.
    """
    if status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    after = _seconds(headers.get("retry-after"), now)
    if after is not None:
        return after
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - now.timestamp()) if reset.isdecimal() else UNHINTED_WAIT
    if status == HTTPStatus.TOO_MANY_REQUESTS or any(words in body.lower() for words in _LIMIT_WORDS):
        return UNHINTED_WAIT
    return None


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Read a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(1.0, parsedate_to_datetime(retry_after).timestamp() - now.timestamp())
    except (ValueError, OverflowError):
        return None


def _moment(date: str) -> datetime | None:
    """Read a `Date` (RFC 9110, 6.6.1); None if it is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _was_closed(error: BaseException) -> bool:
    """Return whether GitHub, or a proxy, closed the connection before it answered anything."""
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):  # the first includes http.client.RemoteDisconnected
        return True
    # requests and urllib3 put the error that they wrap among the arguments of their own, or make it its cause.
    causes = (*error.args, error.__cause__)
    return any(_was_closed(cause) for cause in causes if isinstance(cause, BaseException))


def _with(authorization: str | None, headers: Mapping[str, str] | None) -> Mapping[str, str]:
    return {**(headers or {}), **({"Authorization": authorization} if authorization is not None else {})}


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _json(response: requests.Response, what: str) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except (ValueError, RecursionError):
        raise TransientError(f"GitHub's answer to {what} is not JSON") from None


def _message(response: requests.Response) -> str | None:
    """Return GitHub's own words on an error, for the operator: short, and on one line; None if there are none."""
    try:
        message = response.json()["message"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    return " ".join(message.split())[:200] if isinstance(message, str) else None
