"""HTTP whose every answer has an end."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from orchestrator.bounded_http import bounded_session
from orchestrator.egress import Egress

OK = b"HTTP/1.1 200 OK\r\n"


class Trickle:
    """A server that answers one request: with some bytes at once, and then the same few again and again.

    Args:
        beginning: the bytes that come at once.
        again: those that come again and again, without end; none if the answer is complete.
    """

    def __init__(self, beginning: bytes, again: bytes = b"") -> None:
        self.request = b""
        self._beginning = beginning
        self._again = again
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError):
            self.request = connection.recv(65_536)
            connection.sendall(self._beginning)
            while self._again and not self._over.wait(0.02):
                connection.sendall(self._again)

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Serve; give the address."""
        self._thread.start()
        yield self.url
        self._over.set()
        self._thread.join(5)
        self._listener.close()


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"", b"H"),
        (OK + b"X-Endless: ", b"a"),
        (OK, b"A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 1000000\r\n\r\n", b" "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (OK + b"Connection: close\r\n\r\n", b" "),
    ],
)
@pytest.mark.parametrize("pause", [5.0, None])
def test_an_answer_without_end(beginning: bytes, again: bytes, pause: float | None) -> None:
    """Bytes that keep coming do not hold the caller, whatever part of the answer they are."""
    with Trickle(beginning, again).served() as url, pytest.raises(requests.RequestException):
        bounded_session(0.2).get(url, timeout=(5, pause))


def test_a_proxy_without_end() -> None:
    """A proxy whose answer never ends does not hold the caller either."""
    endless = Trickle(b"HTTP/1.1 200 Connection established\r\n", b"A: b\r\n")
    with endless.served() as url, pytest.raises(requests.RequestException):
        bounded_session(0.2, Egress(proxy=url)).get("https://github.invalid/", timeout=(5, 5))
    assert endless.request.startswith(b"CONNECT github.invalid:443 ")


def test_no_time_left() -> None:
    """An answer whose time is over is not read, even if it is there."""
    with Trickle(OK + b"Content-Length: 0\r\n\r\n").served() as url, pytest.raises(requests.ReadTimeout):
        bounded_session(0).get(url, timeout=(5, 5))


def test_a_whole_answer() -> None:
    """An answer that comes in time is read as always."""
    with Trickle(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi").served() as url:
        assert bounded_session(5).get(url, timeout=(5, 5)).text == "hi"


def test_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process's environment says of proxies is left to the settings."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    with Trickle(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi").served() as url:
        assert bounded_session(5).get(url, timeout=(5, 5)).text == "hi"


def test_no_password_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a .netrc file says of the host does not replace the caller's authorization."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password s3cret\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    server = Trickle(OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    with server.served() as url:
        bounded_session(5).get(url, headers={"Authorization": "Bearer ours"}, timeout=(5, 5))
    assert b"Authorization: Bearer ours\r\n" in server.request
