"""Keeps what passed over the wire, so that tests can count calls and check them against the published API schemas."""

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiohttp import web

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
type Api = Literal["batch", "github", "webhook", "queue", "claim"]


class Recorder:
    """The exchanges of one stand-in, oldest first, one dictionary each."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._exchanges: list[dict[str, Any]] = []

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        """A copy of what was recorded so far."""
        with self._lock:
            return list(self._exchanges)

    @property
    def calls(self) -> list[str]:
        """`METHOD /path -> status` of every exchange: what most tests want to compare."""
        return [f"{e['method']} {e['path']} -> {e['status']}" for e in self.exchanges]

    @property
    def statuses(self) -> list[int]:
        """What each was answered with."""
        return [exchange["status"] for exchange in self.exchanges]

    def clear(self) -> None:
        """Forget what was recorded."""
        with self._lock:
            self._exchanges.clear()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record one exchange (aiohttp middleware; outermost, so that faults are recorded too)."""
        body = (await request.read()).decode("utf-8", "replace")
        response = await handler(request)
        content = response.body if isinstance(response, web.Response) else None
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else None
        exchange = {
            "api": self._api,
            "method": request.method,
            "path": request.path,
            "url": str(request.url),
            "headers": dict(request.headers),
            "body": body or None,
            "status": response.status,
            "response_headers": dict(response.headers),
            "response_body": text or None,
        }
        with self._lock:
            self._exchanges.append(exchange)
        return response


class NoRecorder(Recorder):
    """Keeps nothing: a simulation makes far too many requests."""

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let one request pass (aiohttp middleware)."""
        return await handler(request)
