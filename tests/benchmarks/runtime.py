"""Deliveries through the Functions runtime over HTTP, beside a function there that does no more than the floor."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp

from sandbox.batch.model import Pool
from sandbox.deployment import GITHUB_ADDRESS, Deployment
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.functions.process import FunctionsHost
from tests.benchmarks.payload import full_payload
from tests.benchmarks.table import Row
from tests.builders import delivery
from tests.waiting import until

REQUESTS = 1500
QUEUED = 300  # each makes a task with the real SDK
AT_ONCE = 8

_FLOOR = """
import hashlib, hmac, json
import azure.functions as func
app = func.FunctionApp()

@app.route("ProvideActionsRunner", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def floor(req: func.HttpRequest) -> func.HttpResponse:
    body = req.get_body()
    digest = hmac.new(b"SECRET", body, hashlib.sha256).hexdigest()
    json.loads(body)
    return func.HttpResponse(digest[:0], status_code=200)
"""


def rows() -> Iterator[Row]:
    """Measure the floor, then deliveries of each kind; a queued one ends with its task on the Batch stand-in."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "function_app.py").write_text(_FLOOR, encoding="utf-8")
        with FunctionsHost(Path(folder), {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}) as host:
            url = f"{host.url}/api/ProvideActionsRunner"
            floor, rate = _measure(host, url, [delivery(full_payload())] * REQUESTS, 200)
            yield Row("floor: hmac + json in a function", floor, "ms CPU", floor, f"{rate:,.0f} a second")
    # A pool that never has a machine: starting runners is not what is measured.
    pools = [Pool("batchLinux", scale="fixed"), Pool("batchWindows", "windows", scale="fixed")]
    with Deployment(pools=pools) as deployment:
        # The answered ping means that the stand-in's addresses are known.
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        secret = deployment.secret
        kinds = {
            "refused: forged signature": (401, [delivery(full_payload(), secret="forged")] * REQUESTS),
            "ignored: labels not ours": (
                200, [delivery(full_payload(labels=["ubuntu-latest"]), secret=secret)] * REQUESTS,
            ),
            "queued: a task on Batch": (201, [_queued(number, secret) for number in range(QUEUED)]),
        }  # fmt: skip
        for kind, (status, deliveries) in kinds.items():
            spent, rate = _measure(deployment.host, deployment.webhook_url, deliveries, status)
            yield Row(kind, spent, "ms CPU", floor, f"{rate:,.0f} a second, {AT_ONCE} at once")


def _queued(number: int, secret: str) -> tuple[dict[str, str], bytes]:
    payload = full_payload()
    payload["workflow_job"] |= {"id": 1000 + number}
    return delivery(json.dumps(payload).encode(), secret=secret)


def _measure(
    host: FunctionsHost, url: str, deliveries: list[tuple[dict[str, str], bytes]], status: int
) -> tuple[float, float]:
    """Return the host's CPU milliseconds per delivery, and deliveries per second."""
    asyncio.run(_send(url, deliveries[:20], status))
    cpu, started = cpu_seconds(host.pid), time.perf_counter()
    asyncio.run(_send(url, deliveries[20:], status))
    took = time.perf_counter() - started
    count = len(deliveries) - 20
    return (cpu_seconds(host.pid) - cpu) * 1000 / count, count / took


async def _send(url: str, deliveries: list[tuple[dict[str, str], bytes]], status: int) -> None:
    waiting = iter(deliveries)

    async def one_after_another(session: aiohttp.ClientSession) -> None:
        for headers, body in waiting:
            async with session.post(url, data=body, headers=_as_sent(headers)) as answer:
                assert answer.status == status, await answer.text()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one_after_another(session) for _ in range(AT_ONCE)))


def _as_sent(headers: Mapping[str, str]) -> dict[str, str]:
    """Let the front end write the caller's address, as it does."""
    own = {name: value for name, value in headers.items() if name != "x-forwarded-for"}
    return own | {CLIENT_ADDRESS: GITHUB_ADDRESS}


def cpu_seconds(pid: int) -> float:
    """Return what the kernel has counted for a process: user and system time (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
