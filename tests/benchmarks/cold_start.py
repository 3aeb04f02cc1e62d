"""From a fresh process to its first answer and its first job, beside one that only imports azure.functions."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.payload import as_sent, full_payload
from tests.benchmarks.table import Row
from tests.builders import environment

ROOT = Path(__file__).parents[2]
ROUNDS = 11

_BARE = "import hmac, hashlib, json"
_FLOOR = "import azure.functions"
# The package's functions are loaded, as the Functions worker does, and one delivery is answered.
_ANSWER = """
import asyncio, json, sys
import azure.functions as func
import function_app
given = json.load(sys.stdin)
(function,) = [f for f in function_app.app.get_functions() if f.get_function_name() == "ProvideActionsRunner"]
request = func.HttpRequest("POST", "/api/ProvideActionsRunner", headers=given["headers"], body=given["body"].encode())
answer = asyncio.run(function.get_user_function()(request))
assert answer.status_code == given["status"], answer.get_body()
heavy = {"requests", "azure.batch", "azure.storage.queue", "azure.identity", "jwt"} & set(sys.modules)
assert not heavy, heavy
"""
# What a job pays for its clients: they are made, or it makes them.
_FIRST_JOB = (
    _ANSWER
    + """
import threading
for thread in threading.enumerate():
    if WARM and isinstance(thread, threading.Timer):
        thread.join()
_c = _t.process_time(); _w = _t.perf_counter()
function_app.application._upstream()
print((_t.process_time() - _c) * 1000, (_t.perf_counter() - _w) * 1000)
sys.exit()
"""
)


def rows() -> Iterator[Row]:
    """Measure the floor, each kind of first answer, and what a first job has to wait for beyond that."""
    forged = _given(401, as_sent(full_payload(), secret="forged"))
    ignored = _given(200, as_sent(full_payload(labels=["ubuntu-latest"])))
    kinds = {
        "floor: import azure.functions": (_FLOOR, ""),
        "  bare: import hmac, hashlib, json": (_BARE, ""),
        "refused: forged signature": (_ANSWER, forged),
        "ignored: labels not ours": (_ANSWER, ignored),
        "the first job, at once: its clients": (_FIRST_JOB.replace("WARM", "False"), ignored),
        "the first job, a while later: its clients": (_FIRST_JOB.replace("WARM", "True"), ignored),
    }
    measured = _measure(kinds)
    floor = measured["floor: import azure.functions"][0]
    for kind, (cpu, wall) in measured.items():
        yield Row(kind, cpu, "ms CPU", floor, f"{wall:.0f} ms wall")


def _given(status: int, delivery: tuple[dict[str, str], bytes]) -> str:
    headers, body = delivery
    return json.dumps({"status": status, "headers": headers, "body": body.decode()})


def _measure(kinds: Mapping[str, tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Return the median CPU and wall milliseconds of fresh processes, by turns, after one that warms the file cache."""
    clock = "import time as _t; _w = _t.perf_counter()\n"
    report = "\nprint(_t.process_time() * 1000, (_t.perf_counter() - _w) * 1000)"
    figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS + 1):
        for kind, (code, given) in kinds.items():
            done = subprocess.run(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-c", clock + code + report],
                input=given, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60,
                env={**_compiled(os.environ), **environment()},
            )  # fmt: skip
            cpu, wall = done.stdout.split()[-2:]
            figures[kind].append((float(cpu), float(wall)))
    return {
        kind: (statistics.median(cpu for cpu, _ in found[1:]), statistics.median(wall for _, wall in found[1:]))
        for kind, found in figures.items()
    }


def _compiled(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the process keep its bytecode, as the deployed package has it."""
    return {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
