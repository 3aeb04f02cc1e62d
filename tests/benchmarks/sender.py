"""Sends a burst of deliveries as GitHub does, in a process of its own: `python -m tests.benchmarks.sender`.

What to send is read from standard input, and what was answered is written to standard output; both are JSON.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp

from sandbox.deployment import GITHUB_ADDRESS
from sandbox.functions.front import CLIENT_ADDRESS
from tests.benchmarks.payload import full_payload
from tests.builders import delivery

# Seconds. GitHub waits for ten; a sender that waits longer tells by how much an answer was late.
PATIENCE = 120.0


async def send(given: Mapping[str, Any]) -> dict[str, Any]:
    """Send all deliveries at once, or as many at a time as the platform hands to each instance.

    Args:
        given: the webhook's `urls`, one for each instance; the `secret`; the `ids` of the jobs; their `action`; and
            `at_once`, how many deliveries each instance has at a time.

    Returns:
        When it began (epoch seconds), how often each status was answered, the seconds of each answer, and the seconds
        until kept requests are tried.
    """
    payload, deliveries = full_payload(action=given["action"]), []
    if given["action"] == "completed":
        payload["workflow_job"] |= {"conclusion": "cancelled", "runner_id": None, "runner_name": None}
    for job, url in zip(given["ids"], itertools.cycle(given["urls"]), strict=False):
        payload["workflow_job"]["id"] = job
        headers, body = delivery(json.dumps(payload).encode(), secret=given["secret"])
        del headers["x-forwarded-for"]  # the front end writes it
        deliveries.append((url, headers | {CLIENT_ADDRESS: GITHUB_ADDRESS}, body))
    places = {url: asyncio.Semaphore(given["at_once"]) for url in given["urls"]}
    statuses: Counter[str] = Counter()
    seconds: list[float] = []
    waits: list[int] = []

    async def deliver(session: aiohttp.ClientSession, url: str, headers: dict[str, str], body: bytes) -> None:
        status, answer = "no answer", {}
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with places[url], session.post(url, data=body, headers=headers) as response:
                answer = await response.json()
                status = str(response.status)
        seconds.append(time.perf_counter() - started)
        statuses[status] += 1
        if "next_try_in_s" in answer:
            waits.append(answer["next_try_in_s"])

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began, started = time.time(), time.perf_counter()
        await asyncio.gather(*(deliver(session, *each) for each in deliveries))
    return {"began": began, "statuses": statuses, "seconds": seconds, "waits": waits}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send(json.load(sys.stdin)))))
