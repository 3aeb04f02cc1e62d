"""`python -m sandbox.functions --app DIR`: one process, one function app."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from azure_functions_runtime import invocation_id_cv
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.functions.front import Front, Keys
from sandbox.functions.runtime import RUNNING, AppBroken, Function, Result, Runtime
from sandbox.functions.triggers import QueueListener, QueueOptions, Timer, write_outputs


def main() -> int:
    """Run the host until SIGTERM; return 1 if the app is broken."""
    parser = argparse.ArgumentParser(description="a Functions host for one machine")
    parser.add_argument("--app", type=Path, required=True, help="the folder of function_app.py")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", action="append", default=[], help="a function key; without one a key is refused")
    parser.add_argument("--master-key", default="master")
    parser.add_argument("--front-end", action="store_true", help="add App Service's headers to each request")
    parser.add_argument("--settings", type=Path, help="a local.settings.json; the environment wins over it")
    parser.add_argument("--max-polling-interval", type=float, help="seconds; changes host.json's")
    options = parser.parse_args()
    _log_with_names()
    if options.settings:
        values = json.loads(options.settings.read_text(encoding="utf-8"))["Values"]
        os.environ.update({name: value for name, value in values.items() if name not in os.environ})
    try:
        asyncio.run(_serve(options))
    except AppBroken as error:
        print(json.dumps({"ready": False, "error": str(error)}), flush=True)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    app = options.app.resolve()
    path = app / "host.json"
    host: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    runtime = await Runtime.load(app)
    queues = QueueOptions.read(host, options.max_polling_interval)
    listeners: list[QueueListener] = []

    async def call(function: Function, given: Datum, metadata: Mapping[str, Datum]) -> Result:
        result = await runtime.call(function, given, metadata)
        if result.error is None:
            await write_outputs(function, result, listeners, encode=queues.base64)
        return result

    listeners += [QueueListener(call, f, queues) for f in _triggered_by(runtime, "queueTrigger")]
    timers = {f.name: Timer(call, f) for f in _triggered_by(runtime, "timerTrigger")}
    background: set[asyncio.Task[Any]] = set()

    def run(name: str, given: str) -> bool:
        by_name = {function.name: function for function in runtime.functions}
        if name not in by_name or by_name[name].trigger["type"] == "httpTrigger":
            return False
        given_datum = Datum(given.encode(), "bytes")
        work = timers[name].fire(past_due=False) if name in timers else call(by_name[name], given_datum, {})
        background.add(asyncio.create_task(work))
        return True

    prefix = host.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    keys = Keys(tuple(options.key), options.master_key)
    front = Front(runtime.functions, call, keys, prefix=prefix, front_end=options.front_end, run=run)
    runner = web.AppRunner(front.application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    background |= {asyncio.create_task(listener.listen()) for listener in listeners}
    background |= {asyncio.create_task(timer.tick()) for timer in timers.values()}

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    print(json.dumps({"ready": True, "url": url, "functions": [f.name for f in runtime.functions]}), flush=True)
    await stopped.wait()
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await runner.cleanup()


def _triggered_by(runtime: Runtime, kind: str) -> list[Function]:
    return [function for function in runtime.functions if function.trigger["type"] == kind]


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
