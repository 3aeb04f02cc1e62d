"""`python -m sandbox.functions --app DIR`: one process, one function app."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from aiohttp import web
from azure_functions_runtime import invocation_id_cv
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.functions.front import Front, Keys
from sandbox.functions.process import KEYS, MASTER
from sandbox.functions.runtime import RUNNING, AppBroken, Function, Result, Runtime
from sandbox.functions.triggers import QueueListener, QueueOptions, Timer, write_outputs

logger = logging.getLogger(__name__)


def main() -> int:
    """Run the host until SIGTERM; return 1 if the app is broken."""
    parser = argparse.ArgumentParser(description="a Functions host for one machine")
    parser.add_argument("--app", type=Path, required=True, help="the folder of function_app.py")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--front-end", action="store_true", help="add App Service's headers to each request")
    parser.add_argument("--settings", type=Path, help="a local.settings.json; the environment wins over it")
    parser.add_argument("--max-polling-interval", type=float, help="seconds; changes host.json's")
    options = parser.parse_args()
    _log_with_names()
    if options.settings:
        values = json.loads(options.settings.read_text(encoding="utf-8"))["Values"]
        os.environ.update({name: value for name, value in values.items() if name not in os.environ})
    # Standard output is for the one line that says the host is ready: what the app prints goes to the log.
    with redirect_stdout(sys.stderr):
        try:
            asyncio.run(_serve(options))
        except AppBroken as error:
            _announce(ready=False, error=str(error))
            return 1
    return 0


def _announce(**state: object) -> None:
    print(json.dumps(state), file=sys.__stdout__, flush=True)


async def _serve(options: argparse.Namespace) -> None:
    app = options.app.resolve()
    path = app / "host.json"
    host: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    runtime = await Runtime.load(app)
    queues = QueueOptions.read(host, options.max_polling_interval)
    listeners: list[QueueListener] = []

    async def call(function: Function, given: Datum, metadata: Mapping[str, Datum]) -> Result:
        result = await runtime.call(function, given, metadata)
        if result.error is not None:
            return result
        try:
            await write_outputs(function, result, listeners, encode=queues.base64)
        except Exception as error:  # noqa: BLE001 - whatever hinders an output has failed the call
            text = f"an output failed: {error if isinstance(error, AppBroken) else type(error).__name__}"
            logger.error("%s: %s", function.name, text)  # noqa: TRY400 - a traceback could show the message
            return Result(text)
        return result

    queue_functions = [f for f in _triggered_by(runtime, "queueTrigger") if not _is_disabled(f.name)]
    listeners += [QueueListener(call, f, queues) for f in queue_functions]
    timers = {f.name: Timer(call, f) for f in _triggered_by(runtime, "timerTrigger")}

    def run(name: str, given: str) -> bool:
        by_name = {function.name: function for function in runtime.functions}
        if name not in by_name or by_name[name].trigger["type"] == "httpTrigger":
            return False
        given_datum = Datum(given.encode(), "bytes")
        work = timers[name].fire() if name in timers else call(by_name[name], given_datum, {})
        background.create_task(work)
        return True

    prefix = host.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    function_keys = [key for key in os.environ.pop(KEYS, "").split(",") if key]
    keys = Keys(tuple(function_keys), os.environ.pop(MASTER, ""))
    limit = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "104857600"))
    front = Front(runtime.functions, call, keys, prefix=prefix, front_end=options.front_end, body_limit=limit, run=run)
    runner = web.AppRunner(front.application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    # App Service's front end makes its connections before a burst: none of them waits for a place here.
    await web.TCPSite(runner, "127.0.0.1", options.port, backlog=4096).start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    # A group, so that a listener that breaks takes the host down instead of leaving it deaf.
    async with asyncio.TaskGroup() as background:
        loops = [listener.listen() for listener in listeners]
        loops += [timer.tick() for name, timer in timers.items() if not _is_disabled(name)]
        tasks = [background.create_task(loop) for loop in loops]
        _announce(ready=True, url=url, functions=[f.name for f in runtime.functions])
        await stopped.wait()
        await runner.cleanup()
        for task in tasks:
            task.cancel()


def _triggered_by(runtime: Runtime, kind: str) -> list[Function]:
    return [function for function in runtime.functions if function.trigger["type"] == kind]


def _is_disabled(name: str) -> bool:
    """Whether an app setting keeps a timer or queue from calling a function; by hand it is still called.

    Source: Azure Functions docs, "How to disable functions in Azure Functions".
    """
    return os.environ.get(f"AzureWebJobs.{name}.Disabled", "").lower() in {"1", "true"}


class _Named(logging.Filter):
    """Adds the function's name and the invocation's id to each line."""

    def filter(self, record: logging.LogRecord) -> bool:
        invocation = invocation_id_cv.get() or "-"
        record.invocation = invocation
        record.function = RUNNING.get(invocation, "host")
        return True


def _log_with_names() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Named())
    handler.setFormatter(logging.Formatter("%(levelname)s [%(function)s] [%(invocation)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("azure").setLevel(logging.WARNING)


sys.exit(main())
