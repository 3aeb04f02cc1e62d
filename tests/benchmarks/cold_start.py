"""From a fresh process to the first answer, for deliveries that need the SDKs and such that do not."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.payload import full_payload
from tests.benchmarks.table import Row
from tests.builders import delivery, environment

ROOT = Path(__file__).parents[2]
ROUNDS = 7

_FLOOR = "import hmac, hashlib, json, sys; json.loads(sys.stdin.buffer.read())"
_ANSWER = """
import asyncio, json, sys
import azure.functions as func
import function_app
given = json.load(sys.stdin)
request = func.HttpRequest("POST", "/api/ProvideActionsRunner", headers=given["headers"], body=given["body"].encode())
answer = asyncio.run(function_app.application.receive(dict(request.headers), request.get_body()))
assert answer.status == given["status"], answer
MORE
heavy = {"requests", "azure.batch", "azure.storage.queue", "azure.identity", "jwt"} & set(sys.modules)
assert bool(heavy) is HEAVY, heavy
"""
_PREPARE = "function_app.application._upstream()"


def rows() -> Iterator[Row]:
    """Measure the floor (a bare interpreter with hmac and json), then each kind of first answer."""
    kinds = {
        "refused: forged signature": (401, delivery(full_payload(), secret="forged"), "", False),
        "ignored: labels not ours": (200, delivery(full_payload(labels=["ubuntu-latest"])), "", False),
        "ready to start a runner: all clients made": (401, delivery(full_payload(), secret="forged"), _PREPARE, True),
    }
    floor_cpu, floor_wall = _measure(_FLOOR, "{}")
    yield Row("floor: python, hmac, json", floor_cpu, "ms CPU", floor_cpu, f"{floor_wall:.0f} ms wall")
    for kind, (status, (headers, body), more, heavy) in kinds.items():
        given = json.dumps({"status": status, "headers": headers, "body": body.decode()})
        cpu, wall = _measure(_ANSWER.replace("MORE", more).replace("HEAVY", str(heavy)), given)
        yield Row(kind, cpu, "ms CPU", floor_cpu, f"{wall:.0f} ms wall")


def _measure(code: str, given: str) -> tuple[float, float]:
    """Return the median CPU and wall milliseconds of a fresh process, after one that warms the file cache."""
    clock = "import time as _t; _w = _t.perf_counter()\n"
    report = "\nprint(_t.process_time() * 1000, (_t.perf_counter() - _w) * 1000)"
    figures = []
    for _ in range(ROUNDS + 1):
        done = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", clock + code + report],
            input=given, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60,
            env={**_compiled(os.environ), **environment()},
        )  # fmt: skip
        cpu, wall = done.stdout.split()[-2:]
        figures.append((float(cpu), float(wall)))
    return statistics.median(c for c, _ in figures[1:]), statistics.median(w for _, w in figures[1:])


def _compiled(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the process keep its bytecode, as the deployed package has it."""
    return {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
