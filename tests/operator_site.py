"""A deployed function as the command line asks it: one route that answers as it was told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.server import Server


@dataclass
class Site:
    """A function that gives its answers one after the other, the last one again and again."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=list)
    asked: list[Mapping[str, str | None]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer."""
        names = ("Accept", "x-functions-key")
        self.asked.append({name: request.headers.get(name) for name in names} | dict(request.query))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    @contextmanager
    def served(self, route: str) -> Iterator["Site"]:
        """Serve one route of the function."""
        application = web.Application()
        application.router.add_get(f"/api/{route}", self.answer)
        with Server(application) as server:
            self.url = server.url
            yield self
