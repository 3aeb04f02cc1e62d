"""What can go wrong between two services, as a plan that a stand-in follows.

A plan is a list of faults; each names the requests it hits, what happens to them and how often. Without a plan the
stand-in behaves.
"""

import asyncio
import fnmatch
import random
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
type Kind = Literal["latency", "status", "drop", "lost_answer", "trickle", "cut"]


@dataclass
class Fault:
    """One kind of trouble.

    Attributes:
        kind: `latency` waits before the request is handled; `status` answers with an error instead of handling it;
            `drop` closes the connection instead; `lost_answer` handles the request, then closes the connection;
            `trickle` answers with a blank now and then, without end; `cut` breaks the answer off.
        match: glob over `METHOD /path`, for example `POST /orgs/*/registration-token`.
        times: how many matching requests it hits; None for every one until the plan is cleared.
        skip: how many matching requests pass unharmed first.
        seconds: the wait of `latency`, and between two bytes of `trickle`.
        up_to: the longest wait of `latency`, where each is drawn anew; 0 if all are the same.
        status: the status of `status`, `trickle` and `cut`.
        headers: response headers of these, for example `{"Retry-After": "7"}`.
        body: the response body of `status`, and what arrives of that of `cut`.
    """

    kind: Kind
    match: str = "*"
    times: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    up_to: float = 0.0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


class FaultPlan:
    """The faults still to come, in order; the first that matches a request hits it. Safe under threads."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = list(faults)
        self._lock = threading.Lock()
        self.hits = 0

    def add(self, *faults: Fault) -> None:
        """Append faults to the plan."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Forget every fault: from now on the service behaves."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request and count it, or None."""
        request = f"{method} {path}"
        with self._lock:
            for fault in self._faults:
                if not fnmatch.fnmatchcase(request, fault.match):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                self.hits += 1
                return fault
        return None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Carry the plan out on one request (aiohttp middleware)."""
        fault = self.take(request.method, request.path)
        if fault is None:
            return await handler(request)
        if fault.kind == "latency":
            await asyncio.sleep(random.uniform(fault.seconds, max(fault.seconds, fault.up_to)))  # noqa: S311 - no secret
            return await handler(request)
        if fault.kind == "status":
            return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
        if fault.kind in ("trickle", "cut"):
            return await _answer_in_part(request, fault)
        if fault.kind == "lost_answer":
            await handler(request)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # nobody is left to read it


async def _answer_in_part(request: web.Request, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=fault.status, headers=fault.headers)
    response.content_length = len(fault.body) + 1_000_000
    await response.prepare(request)
    await response.write(fault.body.encode())
    while fault.kind == "trickle":
        await response.write(b" ")
        await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.close()
    return response
