"""One page on this machine that sends a manifest to GitHub, and takes the browser back from there."""

import html
import json
import re
import secrets
import socketserver
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from orchestrator.cli.github_app.manifest import Wish
from orchestrator.errors import SettingsError, TransientError

HOST = "127.0.0.1"
# Seconds that a connection may stay silent. Browsers open some ahead that they never use.
SILENCE = 10
# Seconds between two looks at whether the server is to stop.
_POLL = 0.05
# What a code can look like: it becomes a part of an address.
_CODE = re.compile(r"[A-Za-z0-9_-]{1,255}")
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # Neither address is told to the next page, and no other page may show these or add anything to them.
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Loopback:
    """The page, served while the context lasts.

    It answers only under an address that nobody can guess, because other users of this machine reach the port as well;
    and only to the name 127.0.0.1, because a web page could make another name lead here. What GitHub sends back counts
    only with the state that this page sent along, and once.

    Args:
        wish: the App to ask for.
        port: the port; 0 for any that is free.
    """

    def __init__(self, wish: Wish, port: int = 0) -> None:
        self._wish = wish
        self._key = secrets.token_urlsafe(24)
        self._state = secrets.token_urlsafe(24)
        self._codes: Queue[str] = Queue()
        self._unused = threading.Lock()
        try:
            self._server = _Server((HOST, port), self._handler())
        except (OSError, OverflowError) as error:
            raise SettingsError.of("--port", f"cannot be opened ({type(error).__name__}): is it in use?") from None
        self._host = f"{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{self._host}/{self._key}"

    @property
    def redirect_url(self) -> str:
        """Where GitHub sends the browser back to."""
        return f"{self.address}/registered"

    def code(self, seconds: float) -> str:
        """Wait until GitHub has sent the browser back; return the code that it brought.

        Args:
            seconds: how long to wait.

        Raises:
            TransientError: Nobody has come back.
        """
        try:
            return self._codes.get(timeout=seconds)
        except Empty:
            raise TransientError("the browser did not come back from GitHub in time: no App was saved") from None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = SILENCE

            def do_GET(self) -> None:
                loopback._answer(self)

            def version_string(self) -> str:
                return "registration"

            def log_message(self, *_: Any) -> None:
                """Log nothing: the addresses are secrets."""

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        target = urlsplit(request.path)
        status, text, code = self._decide(request.headers.get("Host", ""), target.path, parse_qs(target.query))
        body = text.encode()
        request.send_response(status)
        for name, value in {**_HEADERS, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
        if code is not None:  # last, because the process may end as soon as it has the code
            self._codes.put(code)

    def _decide(self, host: str, path: str, query: Mapping[str, list[str]]) -> tuple[HTTPStatus, str, str | None]:
        """Return the answer to a request, and the code if it brought one."""
        if host != self._host:
            return HTTPStatus.MISDIRECTED_REQUEST, _page("This address belongs to another name."), None
        if _same(path, f"/{self._key}"):
            return HTTPStatus.OK, self._form(), None
        if _same(path, f"/{self._key}/registered"):
            return self._come_back(query)
        return HTTPStatus.NOT_FOUND, _page("There is nothing here."), None

    def _come_back(self, query: Mapping[str, list[str]]) -> tuple[HTTPStatus, str, str | None]:
        """Return the answer to a browser that comes back from GitHub, and its code if that counts."""
        if not _same(query.get("state", [""])[0], self._state):
            return HTTPStatus.FORBIDDEN, _page("This did not begin on this page. Nothing was saved."), None
        code = query.get("code", [""])[0]
        if not _CODE.fullmatch(code):
            return HTTPStatus.BAD_REQUEST, _page("GitHub sent no code. Nothing was saved."), None
        if not self._unused.acquire(blocking=False):
            return HTTPStatus.GONE, _page("This was used already."), None
        return HTTPStatus.OK, _page("GitHub has registered the App. Go back to the terminal."), code

    def _form(self) -> str:
        wish = self._wish
        manifest = json.dumps(wish.manifest(self.redirect_url), indent=2)
        action = f"{wish.form_url}?{urlencode({'state': self._state})}"
        return _page(
            "This asks GitHub for the App below. Sign in to GitHub first. On GitHub's page you can change its name.",
            f'<form action="{html.escape(action)}" method="post">'
            f'<input type="hidden" name="manifest" value="{html.escape(manifest)}">'
            f"<pre>{html.escape(manifest)}</pre><button>Continue at {html.escape(wish.github_url)}</button></form>",
        )


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Where another program could otherwise take the same port (Windows).
    allow_reuse_address = False

    def handle_error(self, *_: Any) -> None:
        """Say nothing of connections that break: browsers do that."""


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _page(text: str, content: str = "") -> str:
    title = "GitHub App for the runners"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1><p>{html.escape(text)}</p>{content}</html>"
    )
