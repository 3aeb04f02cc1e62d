"""One call to GitHub's REST API: headers, time-outs, and what each kind of failure means."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from orchestrator.clock import Clock, utc_now
from orchestrator.errors import GitHubRefused, TransientError, UpstreamRefused
from orchestrator.github.budget import Budget

API_VERSION = "2022-11-28"
USER_AGENT = "azure-batch-actions-runners"
# Seconds to connect, and seconds between bytes of the answer. A delivery has 7 s in all.
TIMEOUTS = (3.0, 6.0)
# As many connections are kept open as the Functions worker may have threads.
KEPT_CONNECTIONS = 32
# Seconds. GitHub docs, "Rate limits for the REST API": if the answer names no time, wait at least a minute after a
# secondary limit.
UNHINTED_WAIT = 60.0


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


class _Authorization(AuthBase):
    """Sets the header. With an `auth` of its own `requests` does not look for a password in a .netrc file."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


class GitHubClient:
    """Calls to one GitHub, over connections that stay open. Safe under threads.

    Args:
        api_url: `GithubApiUrl`, without a trailing slash.
        clock: tells the time, which is compared with `x-ratelimit-reset`.
        timeouts: seconds to connect, and seconds between bytes of the answer.
        lock: makes a lock.

    Attributes:
        clock: see above.
    """

    def __init__(
        self,
        api_url: str,
        clock: Clock = utc_now,
        *,
        timeouts: tuple[float, float] = TIMEOUTS,
        lock: Callable[[], AbstractContextManager[object]] = threading.Lock,
    ) -> None:
        self.clock = clock
        self._api_url = api_url
        self._timeouts = timeouts
        self._budget = Budget(clock, lock=lock)
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": USER_AGENT,
                "X-GitHub-Api-Version": API_VERSION,
            }
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # calls share no cookies
        adapter = HTTPAdapter(pool_maxsize=KEPT_CONNECTIONS)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

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

        Raises:
            TransientError: No answer, a redirection, a 5xx or a rate limit; with the wait if GitHub named one.
            GitHubRefused: Any other 4xx.
        """
        self._budget.spend(authorization or "", method, background=background)
        response = self._send(method, path, authorization, json=json, params=params, headers=headers)
        status, what = response.status_code, f"{method} {path}"
        wait = rate_limit_wait(status, response.headers, response.text, self.clock())
        self._budget.learn(authorization or "", response.headers, wait)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or status == HTTPStatus.NOT_MODIFIED:
            return Response(status, _json(response, what), response.headers)
        if wait is not None:
            raise TransientError(f"GitHub's rate limit is used up ({what}: {status})", retry_after=wait)
        # Only redirects of GET are followed. A redirected POST or DELETE was not done.
        if response.ok or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            raise TransientError(
                f"GitHub answered {status} to {what}",
                retry_after=_seconds(response.headers.get("retry-after"), self.clock()),
            )
        date = _moment(response.headers.get("date", ""))
        raise GitHubRefused(f"GitHub refused {what}: {status}{_message(response)}", status, date)

    def _send(
        self, method: str, path: str, authorization: str | None, *, last_try: bool = False, **content: Any
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._api_url + path,
                auth=_Authorization(authorization),
                timeout=self._timeouts,
                allow_redirects=method == "GET",
                **content,
            )
        except requests.ConnectionError as error:
            if last_try or isinstance(error, requests.ConnectTimeout) or not _was_closed(error):
                raise TransientError(f"GitHub is not reachable ({method} {path}: {type(error).__name__})") from None
        except requests.RequestException as error:
            raise TransientError(f"GitHub does not answer ({method} {path}: {type(error).__name__})") from None
        except ValueError:  # its message quotes the header, and with it the token
            raise UpstreamRefused("the credential for GitHub holds what no HTTP header may") from None
        # GitHub may close a kept connection just when it is used again. A new connection shows whether GitHub is there.
        return self._send(method, path, authorization, last_try=True, **content)


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
    except (KeyError, TypeError, ValueError, AttributeError):
        raise TransientError(otherwise) from None


def array(value: Any) -> list[Any]:
    """Return a JSON array as a list. Iterating over an object or a string would silently give nothing.

    Raises:
        TypeError: The value is not an array.
    """
    if not isinstance(value, list):
        raise TypeError
    return value


def rate_limit_wait(status: int, headers: Mapping[str, str], text: str, now: datetime) -> float | None:
    """Return how many seconds to wait if this answer is a rate limit's, else None.

    Args:
        status: the HTTP status.
        headers: the answer's headers; a mapping that minds the case has their names in lower case.
        text: the answer's body.
        now: the time.

    Source: GitHub docs, "Rate limits for the REST API": 403 or 429; `retry-after` first, then `x-ratelimit-reset`
    where nothing remains, else at least a minute.
    """
    if status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    after = _seconds(headers.get("retry-after"), now)
    if after is not None:
        return after
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - now.timestamp()) if reset.isdecimal() else UNHINTED_WAIT
    if status == HTTPStatus.TOO_MANY_REQUESTS or "secondary rate limit" in text.lower():
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
    except ValueError:
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


def _json(response: requests.Response, what: str) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except requests.JSONDecodeError:
        raise TransientError(f"GitHub's answer to {what} is not JSON") from None


def _message(response: requests.Response) -> str:
    """Return GitHub's own words on an error, for the operator: short, and on one line."""
    try:
        message = response.json()["message"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        return ""
    return f" ({' '.join(str(message).split())[:200]})"
