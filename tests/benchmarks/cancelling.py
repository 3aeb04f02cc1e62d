"""A matrix is cancelled while many tasks wait: what it costs beside starts, and whether all are answered in time."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Iterator

from orchestrator.application import Application
from orchestrator.delivery.answer import Answer
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.upstream import Upstream
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.github import GitHub
from sandbox.server import Server
from tests.benchmarks.table import Row
from tests.builders import delivery, environment, queued_job

MATRIX = 256
BURST = 32  # deliveries at once: the template's concurrency of one instance
IN_TIME = 10.0  # seconds that GitHub waits for an answer

_ids = itertools.count(1)


def rows() -> Iterator[Row]:
    """Measure a matrix's cancellation beside 1,000 and 5,000 waiting tasks."""
    logging.getLogger("orchestrator").setLevel(logging.CRITICAL)
    github, batch = GitHub(), Batch([Pool("batchLinux", scale="fixed")])
    github.add_repository("acme/app")
    with Server(github.application) as api, Server(batch.application) as account:
        own = environment(
            GithubApiUrl=api.url, BatchAccountUrl=account.url, BatchAccountName=batch.account,
            BatchAccountKey=batch.key, GithubToken="ghp_sandbox", AllowedSources="0.0.0.0/0",
        )  # fmt: skip
        application = Application(own)
        for waiting in (1000, 5000):
            _fill(application, batch, waiting)
            matrix = [next(_ids) for _ in range(MATRIX)]
            floor = _per_job(application, [_job("queued", number) for number in matrix])
            cancelled = _per_job(application, [_job("completed", number) for number in matrix])
            yield Row(f"a job started, beside {waiting:,} waiting tasks", floor, "ms CPU", floor)
            yield Row(f"a job cancelled, beside {waiting:,} waiting tasks", cancelled, "ms CPU", floor)
            slowest, late = _burst(application)
            note = f"{BURST} cancelled and {BURST} queued at once, {late} not answered or late"
            yield Row(f"the slowest answer, beside {waiting:,}", slowest, "s", note=note)


def _job(action: str, number: int | None = None) -> dict[str, object]:
    job = queued_job()["workflow_job"] | {"id": number or next(_ids)}
    if action == "completed":
        job |= {"conclusion": "cancelled"}
    return queued_job(action=action, workflow_job=job)


def _fill(application: Application, batch: Batch, waiting: int) -> None:
    while (missing := waiting - len(batch.task_bodies())) > 0:
        answers = _answers(application, [_job("queued") for _ in range(min(missing, MATRIX))])
        assert {answer.status for answer, _ in answers} == {201}


def _per_job(application: Application, jobs: list[dict[str, object]]) -> float:
    """Return the CPU milliseconds of a job, those of the stand-ins' threads left out."""
    upstream: Upstream = application._upstream()
    handled = []
    for job in jobs:
        event = workflow_job_event(json.dumps(job).encode())
        admission = admit(event, application._settings)
        assert isinstance(admission, Admitted)
        handled.append((event, admission.profile))
    started = time.thread_time()
    for event, profile in handled:
        upstream.handle(event, profile)
    return (time.thread_time() - started) * 1000 / len(jobs)


def _burst(application: Application) -> tuple[float, int]:
    """Return the seconds of the slowest answer, and how many deliveries were refused, failed or answered too late."""
    jobs = [_job(action) for _ in range(BURST) for action in ("completed", "queued")]
    answers = _answers(application, jobs)
    late = sum(answer.status not in (200, 201) or seconds > IN_TIME for answer, seconds in answers)
    return max(seconds for _, seconds in answers), late


def _answers(application: Application, jobs: list[dict[str, object]]) -> list[tuple[Answer, float]]:
    async def deliver(job: dict[str, object]) -> tuple[Answer, float]:
        started = time.perf_counter()
        answer = await application.receive(*delivery(job))
        return answer, time.perf_counter() - started

    async def all_at_once() -> list[tuple[Answer, float]]:
        return list(await asyncio.gather(*map(deliver, jobs)))

    return asyncio.run(all_at_once())
