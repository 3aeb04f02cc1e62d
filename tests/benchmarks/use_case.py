"""CPU per delivery through the use case, beside a floor: the signature and the JSON by the standard library alone."""

import asyncio
import functools
import hashlib
import hmac
import json
import logging
from collections.abc import Iterator

from orchestrator.config.profiles import Profile
from orchestrator.delivery.hook_ranges import HookRanges, PublishedRanges
from orchestrator.delivery.receiver import DeliveryReceiver
from orchestrator.delivery.source_check import SourceCheck
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import Runtime
from tests.benchmarks.payload import full_payload
from tests.benchmarks.table import Row, cpu_ms
from tests.builders import SECRET, delivery, settings, sign

TIMES = 1000


def rows() -> Iterator[Row]:
    """Measure deliveries of each kind; starting the runner itself is left out."""
    logging.getLogger("orchestrator").setLevel(logging.CRITICAL)
    body = json.dumps(full_payload()).encode()
    signature = sign(body)

    def floor() -> None:
        digest = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(digest, signature)
        assert json.loads(body)["action"] == "queued"

    def provision(_event: WorkflowJobEvent, profile: Profile) -> Outcome:
        return Outcome(Result.CREATED, "runner-1-1", profile)

    ranges = HookRanges(lambda _: PublishedRanges(None, None))
    ranges.refresh()
    configured, runtime = settings(), Runtime()
    receiver = DeliveryReceiver(
        configured, SourceCheck(configured, ranges, runtime.hook_range_threads), provision, lambda _: [10.0],
        upstream_threads=runtime.upstream_threads, queue_threads=runtime.queue_threads,
    )  # fmt: skip
    kinds = {
        "refused: foreign address": (403, delivery(body, x_forwarded_for="8.8.8.8:1")),
        "refused: forged signature": (401, delivery(body, secret="forged")),
        "ignored: action in_progress": (200, delivery(full_payload(action="in_progress"))),
        "ignored: labels not ours": (200, delivery(full_payload(labels=["ubuntu-latest"]))),
        "queued, up to the upstream calls": (201, delivery(body)),
    }
    least = cpu_ms(floor, times=TIMES)
    yield Row("floor: hmac + json", least, "ms CPU", least, f"{1000 / least:,.0f} a second, {len(body):,} bytes")
    for kind, (status, (headers, content)) in kinds.items():
        assert asyncio.run(receiver.receive(headers, content)).status == status, kind
        spent = cpu_ms(functools.partial(_run_many, receiver, headers, content), times=1) / TIMES
        yield Row(kind, spent, "ms CPU", least, f"{1000 / spent:,.0f} a second")


def _run_many(receiver: DeliveryReceiver, headers: dict[str, str], body: bytes) -> None:
    async def deliver() -> None:
        for _ in range(TIMES):
            await receiver.receive(headers, body)

    asyncio.run(deliver())
