"""Containers that start at once: when each has its registration.

GitHub, Batch and the storage account answer as late as they do in Azure, and GitHub counts points. The containers, the
stand-ins and the function share this machine, so that each time is an upper bound.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

from sandbox.batch.model import Pool
from sandbox.deployment import REPOSITORY, ROOT, Deployment
from sandbox.faults import Fault
from sandbox.github.limits import Budget
from sandbox.github.model import JobPlan
from tests.batch_tasks import NoExecutor
from tests.benchmarks.bursts import LATENCIES, PATIENCE
from tests.benchmarks.runtime import cpu_seconds
from tests.benchmarks.table import Row
from tests.waiting import until

# Points that GitHub gives a credential in a minute.
POINTS = 900


def rows() -> Iterator[Row]:
    """Measure as many containers as GitHub registers within a minute, and less."""
    yield from _at_once(100)


def long_rows() -> Iterator[Row]:
    """Measure more containers than GitHub registers within a minute."""
    yield from _at_once(400)


def _at_once(count: int) -> Iterator[Row]:
    executor = NoExecutor()
    pools = [Pool("batchLinux", slots_per_node=count, nodes=1, start_delay_s=0.0)]
    settings = {"RunnerRegistration": "claim", "WindowsPool": "", "AllowedSources": "192.0.2.0/24"}
    with Deployment(settings=settings, pools=pools, executor=executor) as deployment:
        deployment.github.budget = Budget(points=POINTS)
        deployment.github.queue_run(REPOSITORY, [JobPlan(("self-hosted", "ubuntu-latest"))] * count)
        until(lambda: len(executor.runs) == count, seconds=PATIENCE)
        for service, (least, most) in LATENCIES.items():
            getattr(deployment, service).faults.add(Fault("latency", times=None, seconds=least, up_to=most))
        asked = (deployment.batch, deployment.queue, deployment.github)
        for stand_in in asked:
            stand_in.recorder.clear()
        cpu = cpu_seconds(deployment.host.pid)
        claims = [run.environment["GHR_CLAIM"] for run, _ in executor.runs]
        given = {"url": f"{deployment.host.url}/api/ClaimRunner", "claims": claims}
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.claimants"], input=json.dumps(given),
            stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, timeout=10 * PATIENCE,
        )  # fmt: skip
        cpu = cpu_seconds(deployment.host.pid) - cpu
        # The host asks the queue for messages meanwhile.
        calls = [sum("/messages" not in call for call in one.recorder.calls) for one in asked]
        found = json.loads(done.stdout)
        refused = deployment.github.budget.refused["minute"]
    seconds, statuses = sorted(found["seconds"]), found["statuses"]
    answers = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
    what = f"{count} containers start at once"
    yield Row(f"{what}: registered, p50", seconds[count // 2], "s", note=f"{answers}; {refused} above GitHub's points")
    yield Row(f"{what}: registered, p95", seconds[count * 95 // 100], "s", note=f"the last after {seconds[-1]:.1f} s")
    each = ", ".join(
        f"{number / count:.2f} to {name}" for number, name in zip(calls, ("Batch", "storage", "GitHub"), strict=True)
    )
    yield Row(f"{what}: calls of each", sum(calls) / count, "calls", note=each)
    yield Row(f"{what}: CPU of each", 1000 * cpu / count, "ms CPU")
