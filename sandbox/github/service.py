"""GitHub on a loopback port: REST API, webhooks, and the service that hands jobs to runners."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from sandbox.github import rest_apps, rest_contents, rest_runners, rest_runs
from sandbox.github.app_manifests import AppManifests
from sandbox.github.core import GitHubCore
from sandbox.github.rest import Rest
from sandbox.github.runner_service import RunnerService

# Seconds between two looks at the clock while the application is served.
TICK = 0.2

MAX_BODY = 26 * 1024 * 1024


class GitHub(GitHubCore):
    """A GitHub to serve with `Server(github.application)`; see `GitHubCore` for what can be set and done."""

    @property
    def application(self) -> web.Application:
        """A new aiohttp application that serves this GitHub."""
        application = web.Application(
            middlewares=[self.recorder.middleware, self.faults.middleware], client_max_size=MAX_BODY
        )
        RunnerService(self).register(application.router)
        manifests = AppManifests(self)
        manifests.register(application.router)
        routes = [*rest_runners.routes(), *rest_runs.routes(), *rest_apps.routes(), *manifests.routes()]
        routes += rest_contents.routes()
        Rest(self, routes).register(application.router)
        application.cleanup_ctx.append(self._ticking)
        return application

    async def _ticking(self, _application: web.Application) -> AsyncIterator[None]:
        async def forever() -> None:
            while True:
                await asyncio.sleep(TICK)
                self.tick()

        task = asyncio.create_task(forever())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(self.hooks.close)
