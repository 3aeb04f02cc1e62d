"""HTTP whose every answer has an end: the transport of all calls to GitHub and Azure.

The time-outs of `requests` bound the wait for the next bytes. A server or a proxy that sends a byte now and then would
hold a thread for ever. So each answer, headers and body, has a time in all, whatever reads it.
"""

import functools
import http.client
import io
import os
from collections.abc import Callable
from time import monotonic
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

# As many connections are kept open as the Functions worker may have threads.
KEPT_CONNECTIONS = 32
# The variables that may name a file, or a folder, of certificates to trust; the first that is set counts.
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def bounded_session(total: float) -> requests.Session:
    """Return a session whose answers have an end.

    It never takes a password from a .netrc file, which would replace the caller's own authorization. Which proxy and
    which certificates to use is read from the usual environment variables, once: looking them up takes a third of the
    time of a call. For a host the proxy is looked up with the first call (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).

    Args:
        total: seconds for one answer, from the moment that its request was sent.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _BoundedAdapter(total)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, total: float) -> None:
        super().__init__(pool_maxsize=KEPT_CONNECTIONS)
        self._bounded = functools.cache(functools.partial(_bounded_connection, total))
        self._certificates = next(filter(None, map(os.environ.get, _CERTIFICATES)), True)
        self._proxies = functools.cache(get_environ_proxies)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request, by the proxy and with the certificates that the environment names."""
        origin = "/".join((request.url or "").split("/", 3)[:3])
        if options.get("verify") is True:
            options["verify"] = self._certificates
        return super().send(request, *arguments, **{**options, "proxies": self._proxies(origin)})

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Return the pool of a request's connections, which read their answers in time."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = self._bounded(type(pool).ConnectionCls)
        return pool


def _bounded_connection(total: float, connection: type[Any]) -> type[Any]:
    """Return a class of connections that read an answer, also a proxy's, for so many seconds at most."""
    response_class = functools.partial(_BoundedResponse, total)
    return type(connection.__name__, (connection,), {"response_class": staticmethod(response_class)})


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, total: float, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(_BoundedSocket(sock, monotonic() + total), *arguments, **options)  # type: ignore[arg-type]


class _BoundedSocket:
    """What `HTTPResponse` asks of a socket: the stream that it reads the answer from."""

    def __init__(self, sock: Any, end: float) -> None:
        self._sock = sock
        self._end = end

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedStream(self._sock, self._end))


class _BoundedStream(io.RawIOBase):
    """The bytes of one answer; no read waits beyond the answer's end.

    Args:
        sock: where they come from; its time-out bounds each read as well.
        end: the moment, of the monotonic clock, after which nothing is read.
    """

    def __init__(self, sock: Any, end: float) -> None:
        self._stream: io.RawIOBase = sock.makefile("rb", buffering=0)
        self._set_timeout: Callable[[float], None] = sock.settimeout
        self._pause: float | None = sock.gettimeout()
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._set_timeout(left if self._pause is None else min(left, self._pause))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()
