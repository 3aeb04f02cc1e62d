"""The way of the runner containers to the function: a NAT gateway, from whose address all of their calls come."""

from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
from aiohttp import web

from sandbox.faults import FaultPlan
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.recording import Recorder

# Where the calls of all containers seem to come from.
GATEWAY_ADDRESS = "198.51.100.20"
# Seconds. App Service's front end waits for as long.
PATIENCE = 230.0
# What a proxy does not pass on: it is about one connection.
_HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", CLIENT_ADDRESS.lower()})


class Gateway:
    """Passes calls on to the function; serve it with `Server(gateway.application)`.

    Attributes:
        site: the function's address; while nothing answers there, connections break.
        faults: what goes wrong on the way.
        recorder: what passed over the wire.
    """

    def __init__(self) -> None:
        self.site = ""
        self.faults = FaultPlan()
        self.recorder = Recorder("claim")

    @property
    def application(self) -> web.Application:
        """A new aiohttp application that passes every call on."""
        application = web.Application(middlewares=[self.recorder.middleware, self.faults.middleware])
        application.router.add_route("*", "/{path:.*}", self._pass_on)
        application.cleanup_ctx.append(self._connected)
        return application

    async def _connected(self, _application: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as self._session:
            yield

    async def _pass_on(self, request: web.Request) -> web.Response:
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        sent[CLIENT_ADDRESS] = GATEWAY_ADDRESS
        try:
            async with self._session.request(
                request.method, f"{self.site}{request.path_qs}", data=await request.read(), headers=sent,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=HTTPStatus.BAD_GATEWAY)  # nobody is left to read it
