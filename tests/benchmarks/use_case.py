"""CPU per delivery from `func.HttpRequest` to `func.HttpResponse`, beside floors of the standard library alone.

Beside them what starting a runner costs, by the way to its registration.

The log lines are counted, up to their text.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import importlib
import json
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import azure.functions as func

from orchestrator.application import Application
from orchestrator.config.profiles import Profile
from orchestrator.delivery.deadline import within
from orchestrator.delivery.hook_ranges import PublishedRanges
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import Runtime
from tests.benchmarks import starts
from tests.benchmarks.payload import as_sent, full_payload
from tests.benchmarks.table import Row, cpu_ms
from tests.builders import SECRET, environment, sign

if TYPE_CHECKING:
    from orchestrator.upstream import Upstream

type Function = Callable[[func.HttpRequest], Coroutine[object, object, func.HttpResponse]]

TIMES = 300
HMAC, JSON = "floor: hmac", "floor: hmac + json.loads"
QUEUED, HOP = "queued, the hand-off stubbed", "  of that: to a thread and back"


class _Application(Application):
    """The application without GitHub and Batch."""

    def _connect(self) -> "Upstream":
        stub = SimpleNamespace(handle=_created, hook_ranges=lambda _: PublishedRanges(None, None))
        return cast("Upstream", stub)


class _Formatting(logging.Handler):
    """Makes each line's text, as the Functions worker's handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format it, and no more."""
        self.format(record)


def _created(_event: WorkflowJobEvent, profile: Profile) -> Outcome:
    return Outcome(Result.CREATED, "runner-1-1", profile)


def rows() -> Iterator[Row]:
    """Measure deliveries of each kind, without starting the runner itself; then that alone."""
    runtime = Runtime()
    function = _function(_Application(environment(), runtime))
    secret, payload = SECRET.encode(), full_payload()
    _, body = as_sent(payload)
    signature = sign(body)
    over: dict[str, Any] = {"runner_id": 7, "runner_name": "runner-1-1", "conclusion": "success", "status": "completed"}
    kinds = {
        "refused: foreign address": (403, HMAC, as_sent(payload, x_forwarded_for="8.8.8.8:1")),
        "refused: forged signature": (401, HMAC, as_sent(payload, secret="forged")),
        "ignored: completed, had its runner": (200, JSON, as_sent(full_payload(action="completed", **over))),
        "ignored: action in_progress": (200, JSON, as_sent(full_payload(action="in_progress", **over))),
        "ignored: labels not ours": (200, JSON, as_sent(full_payload(labels=["ubuntu-latest"]))),
        QUEUED: (201, JSON, as_sent(payload)),
    }

    def verify() -> None:
        digest = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(digest, signature)

    def verify_and_parse() -> None:
        verify()
        assert json.loads(body)["action"] == "queued"

    async def hop() -> None:
        await within(7.0, runtime.upstream_threads, lambda: None)

    with _lines_made(), asyncio.Runner() as loop:
        measured = {HMAC: _often(verify), JSON: _often(verify_and_parse), HOP: _often_awaited(loop, hop)}
        for kind, (status, _, (headers, content)) in kinds.items():
            request = func.HttpRequest("POST", "/api/ProvideActionsRunner", headers=headers, body=content)
            assert loop.run(function(request)).status_code == status, kind
            measured[kind] = _often_awaited(loop, functools.partial(function, request))
        cpu = {kind: spent / TIMES for kind, spent in cpu_ms(measured).items()}
    for floor in (HMAC, JSON):
        yield Row(floor, cpu[floor], "ms CPU", cpu[floor], f"{len(body):,} bytes")
    for kind, (_, floor, _) in kinds.items():
        yield Row(kind, cpu[kind], "ms CPU", cpu[floor], f"{1000 / cpu[kind]:,.0f} a second")
    yield Row(HOP, cpu[HOP], "ms CPU", cpu[JSON])
    yield from starts.rows()


def _function(application: Application) -> Function:
    """Return the HTTP function with its application replaced."""
    os.environ.update(environment())  # it is read when the module is loaded
    module = importlib.import_module("function_app")
    module.application = application  # type: ignore[attr-defined]
    (found,) = [f for f in module.app.get_functions() if f.get_function_name() == "ProvideActionsRunner"]
    return cast("Function", found.get_user_function())


def _often(action: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(TIMES):
            action()

    return run


def _often_awaited(loop: asyncio.Runner, action: Callable[[], Coroutine[object, object, object]]) -> Callable[[], None]:
    async def run() -> None:
        for _ in range(TIMES):
            await action()

    return lambda: loop.run(run())


@contextlib.contextmanager
def _lines_made() -> Iterator[None]:
    """Let the log make its lines, and write them nowhere."""
    logger, handler = logging.getLogger("orchestrator"), _Formatting()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    logger.propagate = True
