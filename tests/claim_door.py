"""The function's route that redeems claims, as the runner images' entrypoint asks it: it answers as it was told."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CLAIM = "v1.eyJ0YXNrIjoicnVubmVyLTEtMSJ9.S2V5ZWRIYXNoT2ZUaGF0"


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        status: of HTTP.
        content: the body: JSON, or what is sent as it is.
        headers: more of them.
        trickles: whether more comes for ever, byte by byte, and in which part: `headers` or `body`.
    """

    status: int
    content: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trickles: str = ""


def granted(environment: Mapping[str, str]) -> Reply:
    """Return the answer that registers a runner."""
    return Reply(200, {"environment": environment})


def refused(status: int, code: str, **headers: str) -> Reply:
    """Return an answer that does not; underscores in headers are hyphens."""
    content = {"result": "refused", "code": code, "reason": "A sentence."}
    return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Door:
    """What is answered, one after the other and the last one again and again, and what was asked.

    Attributes:
        replies: still to come.
        asked: method, path, type of the content, and the content of each request.
        url: the route's address.
    """

    replies: Sequence[Reply]
    asked: list[tuple[str, str, str | None, Any]] = field(default_factory=list)
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def nonces(self) -> list[str]:
        """The nonce of each request."""
        return [content["nonce"] for *_, content in self.asked]


@contextmanager
def door(*replies: Reply, context: ssl.SSLContext | None = None) -> Iterator[Door]:
    """Serve a door at a loopback port, by TLS as `localhost` if there is a context."""
    found = Door(replies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append((self.command, self.path, self.headers["Content-Type"], content))
            _answer(self, found)

        def do_GET(self) -> None:
            found.asked.append((self.command, self.path, None, None))
            _answer(self, found)

        do_CONNECT = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        host = "http://127.0.0.1" if context is None else "https://localhost"
        found.url = f"{host}:{server.server_port}/api/ClaimRunner"
        try:
            yield found
        finally:
            found.closing.set()
            server.shutdown()


def _answer(handler: http.server.BaseHTTPRequestHandler, found: Door) -> None:
    reply = found.replies[0]
    found.replies = found.replies[1:] or found.replies
    body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
    handler.send_response(reply.status)
    if not reply.trickles:
        handler.send_header("Content-Length", str(len(body)))
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    if reply.trickles != "headers":
        handler.end_headers()
        handler.wfile.write(body)
    else:
        handler.flush_headers()
    try:
        while reply.trickles and not found.closing.wait(0.02):
            handler.wfile.write(b"x")
    except OSError:
        pass  # it went away
