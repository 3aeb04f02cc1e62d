"""HTTP whose every answer has an end, by the way out that is set: the transport of all calls to GitHub and Azure.

The time-outs of `requests` bound the wait for the next bytes. A server or a proxy that sends a byte now and then would
hold a thread for ever. So each answer, headers and body, has a time in all, whatever reads it.
"""

import functools
import http.client
import io
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from orchestrator.egress import DIRECT, Egress

# As many connections are kept open as there are threads for deliveries and kept requests (`runtime`).
KEPT_CONNECTIONS = 64


def bounded_session(total: float, egress: Egress = DIRECT) -> requests.Session:
    """Return a session whose answers have an end.

    It looks at no environment variable and no file: a .netrc could replace the caller's own authorization.

    Args:
        total: seconds for one answer, from the moment that its request was sent.
        egress: the proxy, and the certificate authorities to believe.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _BoundedAdapter(total, egress)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, total: float, egress: Egress) -> None:
        self._egress = egress
        self._trust = _trust(egress.ca_certificates) if egress.ca_certificates else None
        super().__init__(pool_maxsize=KEPT_CONNECTIONS)
        self._bounded = functools.cache(functools.partial(_bounded_connection, total))

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of connections that need no proxy."""
        super().init_poolmanager(*arguments, ssl_context=self._trust, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections by a proxy."""
        return super().proxy_manager_for(proxy, ssl_context=self._trust, **options)

    def cert_verify(self, conn: Any, *arguments: Any) -> None:
        """Tell a pool which authorities to believe."""
        super().cert_verify(conn, *arguments)  # type: ignore[no-untyped-call]
        if self._trust is not None:
            conn.ca_certs = None  # it has them all; each connection would load the public ones again

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Make a call, by the proxy if there is one for it."""
        proxy = self._egress.proxy_for(request.url or "")
        return super().send(request, *arguments, **options | {"proxies": {"https": proxy} if proxy else {}})

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Return the pool of a request's connections, which read their answers in time."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = self._bounded(type(pool).ConnectionCls)
        return pool


@functools.cache
def _trust(certificates: str) -> ssl.SSLContext:
    """Return what to believe: the public authorities, and these."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    # Since Python 3.13 a chain must keep to RFC 5280 to the letter. The authorities of companies often do not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=certificates)
    return context


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
