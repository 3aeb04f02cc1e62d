"""The function's door for claims, on the network: what stands between the containers and the application."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from orchestrator.delivery.answer import Answer
from sandbox.faults import FaultPlan

# From where all containers call: their NAT gateway.
CONTAINER_ADDRESS = "198.51.100.20"


class Door:
    """Takes claims for the instances that are alive.

    Args:
        claim: gives one to an instance; None is returned if that ended meanwhile.

    Attributes:
        faults: what goes wrong on the way to it.
    """

    def __init__(self, claim: Callable[[Mapping[str, str], bytes], Awaitable[Answer | None]]) -> None:
        self._claim = claim
        self.faults = FaultPlan()

    @property
    def application(self) -> web.Application:
        """A new aiohttp application."""
        application = web.Application(middlewares=[self.faults.middleware])
        application.router.add_post("/api/ClaimRunner", self._take)
        return application

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers["x-forwarded-for"] = f"{CONTAINER_ADDRESS}:50123"
        answer = await self._claim(headers, await request.read())
        if answer is None and request.transport is not None:
            request.transport.abort()
        if answer is None:
            return web.Response()  # nobody is left to read it
        return web.Response(text=answer.text, status=answer.status, headers=answer.headers)
