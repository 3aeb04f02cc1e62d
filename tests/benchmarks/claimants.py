"""Plays containers that start at once, in a process of its own: `python -m tests.benchmarks.claimants`.

Where and what to claim is read from standard input, and what came of it is written to standard output; both are JSON.
"""

import asyncio
import json
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp

from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.gateway import GATEWAY_ADDRESS

# Seconds that a container waits for one answer.
PATIENCE = 60.0
_OK = 200


async def claim(given: Mapping[str, Any]) -> dict[str, Any]:
    """Claim all at once, each as the entrypoint of the images does.

    Args:
        given: the `url` and the `claims`.

    Returns:
        The seconds until each claim was granted, and how often each status was answered.
    """
    statuses: Counter[int] = Counter()
    seconds: list[float] = []

    async def ask(session: aiohttp.ClientSession, text: str) -> None:
        body, limit = {"claim": text, "nonce": secrets.token_hex(32)}, 1.0
        while True:
            async with session.post(given["url"], json=body, headers={CLIENT_ADDRESS: GATEWAY_ADDRESS}) as response:
                statuses[response.status] += 1
                await response.read()
            if response.status == _OK:
                seconds.append(time.perf_counter() - started)
                return
            asked, chance = response.headers.get("Retry-After"), random.random()  # noqa: S311 - no secret
            await asyncio.sleep(float(asked) * (1 + chance / 2) if asked else limit * chance)
            limit = min(2 * limit, 30.0)

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started = time.perf_counter()
        await asyncio.gather(*(ask(session, text) for text in given["claims"]))
    return {"seconds": seconds, "statuses": statuses}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(claim(json.load(sys.stdin)))))
