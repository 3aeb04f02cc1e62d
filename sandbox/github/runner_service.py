"""The stand-in's own protocol between GitHub and a runner, below `/_runner`: register, wait for work, report."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.github.core import GitHubCore
from sandbox.github.model import Event, Job, Label, Refusal, Registration, Runner, Scope
from sandbox.github.rest import json_object

# Seconds a runner can wait for work in one request.
LONGEST_WAIT = 50.0

# Seconds between two looks at whether a waiting runner is still there.
PROBE = 0.25

type Json = dict[str, Any]
type Operation = Callable[[web.Request, Json], Awaitable[web.Response]]


class RunnerService:
    """Serves runners. A waiting request is what makes a runner online and idle."""

    def __init__(self, core: GitHubCore) -> None:
        self._core = core
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}
        core.subscribe(self._wake)

    def register(self, router: web.UrlDispatcher) -> None:
        """Add the operations to an application."""
        router.add_post("/_runner/register", self._answering(self._register))
        router.add_post("/_runner/connect", self._answering(self._connect))
        router.add_get("/_runner/message", self._answering(self._message))
        router.add_post("/_runner/jobs/{job_id:[0-9]+}/started", self._answering(self._started))
        router.add_post("/_runner/jobs/{job_id:[0-9]+}/finished", self._answering(self._finished))
        router.add_post("/_runner/remove", self._answering(self._remove))

    @staticmethod
    def _answering(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            text = await request.text()
            try:
                return await operation(request, json_object(text))
            except Refusal as refusal:
                return web.json_response({"error": refusal.message}, status=refusal.status)

        return endpoint

    async def _register(self, _request: web.Request, body: Json) -> web.Response:
        version = body.get("version")
        if self._is_too_old(version):
            raise Refusal(404, f"minimum {self._core.runner_version_floor}")
        scope = Scope.of_url(str(body.get("url", "")))
        name, labels = body.get("name"), body.get("labels", [])
        if not isinstance(name, str) or not isinstance(labels, list):
            raise Refusal(422, "name and labels are required")
        with self._core.changing() as now:
            self._core.access.redeem(str(body.get("token", "")), scope, now)
            registration = Registration(
                name, _labels(body, labels), body.get("group"), str(body.get("os", "Linux")),
                bool(body.get("ephemeral", False)), bool(body.get("replace", False)), version,
            )  # fmt: skip
            runner = self._core.state.register(scope, registration, now)
        return web.json_response({"id": runner.id, "secret": runner.secret}, status=201)

    def _is_too_old(self, version: object) -> bool:
        floor = self._core.runner_version_floor
        return floor is not None and version is not None and _version(str(version)) < _version(floor)

    async def _connect(self, request: web.Request, body: Json) -> web.Response:
        if self._is_too_old(body.get("version")):
            raise Refusal(403, "version")
        with self._core.changing() as now:
            config = body.get("jitconfig")
            runner = self._core.state.runner_of_jit(config) if isinstance(config, str) else self._runner(request)
            self._core.state.connect(runner, now)
        return web.json_response({"id": runner.id, "name": runner.name, "secret": runner.secret})

    async def _message(self, request: web.Request, _body: Json) -> web.Response:
        try:
            wait = min(LONGEST_WAIT, float(request.query.get("wait", "0")))
        except ValueError:
            raise Refusal(400, "wait must be a number of seconds") from None
        loop = asyncio.get_running_loop()
        deadline, woken = loop.time() + wait, asyncio.Event()
        with self._core.lock:
            runner = self._runner(request)
            self._waiting[runner.id] = (loop, woken)
        try:
            while True:
                woken.clear()
                with self._core.changing() as now:
                    gone = request.transport is None or request.transport.is_closing()
                    removed = self._core.state.runners.get(runner.id) is not runner
                    job = None if gone or removed else self._core.state.listen(runner, now)
                    left = deadline - loop.time()
                    if job is None and (gone or removed or left <= 0):
                        self._core.state.unlisten(runner, now, gone=gone or removed)
                if removed:
                    raise Refusal(401, "The runner registration has been deleted from the server")
                if job is not None:
                    return web.json_response({"job": _brief(job)})
                if gone or left <= 0:
                    return web.Response(status=204)
                try:
                    await asyncio.wait_for(woken.wait(), min(left, PROBE))
                except TimeoutError:
                    continue
        finally:
            with self._core.lock:
                if self._waiting.get(runner.id, (None, None))[1] is woken:
                    del self._waiting[runner.id]

    async def _started(self, request: web.Request, _body: Json) -> web.Response:
        with self._core.changing() as now:
            self._core.state.start(self._runner(request), int(request.match_info["job_id"]), now)
        return web.json_response({})

    async def _finished(self, request: web.Request, body: Json) -> web.Response:
        with self._core.changing() as now:
            runner, job_id = self._runner(request), int(request.match_info["job_id"])
            self._core.state.finish(runner, job_id, str(body.get("conclusion")), now)
        return web.json_response({})

    async def _remove(self, _request: web.Request, body: Json) -> web.Response:
        with self._core.changing() as now:
            runner = self._redeemed(body, now)
            if runner.registration.jit:
                raise Refusal(403, "A just-in-time runner cannot remove itself")
            self._core.state.remove(runner.id, now)
        return web.json_response({})

    def _redeemed(self, body: Json, now: float) -> Runner:
        """Return the runner that a token and an id speak of; a registration token removes as well (seen in use)."""
        runner = self._core.state.runners.get(body["id"])
        if runner is None:
            raise Refusal(404, "Not Found")
        self._core.access.redeem(str(body["token"]), runner.scope, now)
        return runner

    def _runner(self, request: web.Request) -> Runner:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            raise Refusal(401, "Bad credentials")
        return self._core.state.runner_of_secret(secret)

    def _wake(self, event: Event) -> None:
        if event.runner is None or event.kind not in ("assigned", "runner_removed"):
            return
        with self._core.lock:
            found = self._waiting.get(event.runner.id)
        if found is not None and not found[0].is_closed():
            found[0].call_soon_threadsafe(found[1].set)


def _labels(body: Json, custom: list[Any]) -> tuple[Label, ...]:
    """The labels of a runner: its own ones first, as `config.sh` adds them, then those it was given."""
    own = ["self-hosted", body.get("os", "Linux"), "X64"]
    known = {str(name).lower() for name in own}
    given = [str(label) for label in custom if str(label).strip()]
    return (
        *(Label(str(name), "read-only") for name in own),
        *(Label(label) for label in dict.fromkeys(given) if label.lower() not in known),
    )


def _brief(job: Job) -> Json:
    return {"id": job.id, "name": job.name, "duration_s": job.plan.duration_s, "steps": list(job.plan.steps)}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(text)))
