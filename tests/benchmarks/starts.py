"""CPU of starting a queued job's runner with the real clients, by the way to its registration.

The stand-ins have threads of their own in this process, so only the time of the thread that starts runners is counted.
"""

import json
import time
from collections.abc import Iterator, Mapping

from orchestrator.application import Application
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.result import Result
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.github import GitHub
from sandbox.server import Server
from tests.batch_tasks import SETTLED
from tests.benchmarks.table import Row
from tests.builders import environment, queued_job

# GitHub takes fewer than twice as many JIT configurations in a minute.
TIMES = 100
WAYS: Mapping[str, Mapping[str, str]] = {
    "token": {},
    "jit": {"RunnerRegistration": "jit"},
    "claim": {
        "RunnerRegistration": "claim",
        "ClaimKey": "k" * 32,
        "ClaimUrl": "https://site.example/api/ClaimRunner",
        "ClaimSources": "198.51.100.20",
    },
}


def rows() -> Iterator[Row]:
    """Measure each way, after the first job of the process."""
    for way, changes in WAYS.items():
        spent, calls = _started(changes)
        yield Row(f"started, registration by {way}", spent / TIMES * 1000, "ms CPU", note=f"{calls / TIMES:.2f} calls")


def _started(changes: Mapping[str, str]) -> tuple[float, int]:
    """Start runners; return the seconds of this thread's CPU, and how many calls went to GitHub and Batch."""
    github, batch = GitHub(), Batch([Pool("batchLinux", scale="fixed")])
    github.add_repository("acme/app")
    with Server(github.application) as api, Server(batch.application) as account:
        own = environment(
            GithubApiUrl=api.url, GithubToken="ghp_sandbox", BatchAccountUrl=account.url,
            BatchAccountName=batch.account, BatchAccountKey=batch.key, **changes,
        )  # fmt: skip
        handle, settings = Application(own)._upstream().handle, Settings.from_environment(own)
        began, before = 0.0, 0
        for number in range(TIMES + 1):
            if number == 1:  # the first one opened the connections
                began, before = time.thread_time(), len(github.recorder.calls) + len(batch.recorder.calls)
            job = queued_job()["workflow_job"] | {"id": number + 1, "created_at": SETTLED.isoformat()}
            event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
            admission = admit(event, settings)
            assert isinstance(admission, Admitted)
            assert handle(event, admission.profile).result == Result.CREATED
        return time.thread_time() - began, len(github.recorder.calls) + len(batch.recorder.calls) - before
