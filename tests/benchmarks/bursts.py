"""Bursts of deliveries at one instance and at several: what is answered how fast, and when every job has its task.

GitHub, Batch and the queue answer as late as they do in Azure. The senders, the stand-ins and the instances share this
machine, so that each time is an upper bound. `make bench-bursts` measures it, apart from
`make bench`, because it takes minutes.
"""

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from sandbox.batch.model import Pool
from sandbox.deployment import ROOT, Deployment
from sandbox.faults import Fault
from sandbox.functions.process import FunctionsHost
from tests.benchmarks.runtime import cpu_seconds
from tests.benchmarks.table import Row, show
from tests.waiting import until

# Seconds that the tasks of a burst are waited for.
PATIENCE = 120.0
# What an instance gets at a time where the platform sets no limit.
NO_LIMIT = 10_000
# Seconds that Batch, GitHub and the queue take for an answer: from, to.
LATENCIES = {"batch": (0.08, 0.2), "github": (0.2, 0.4), "queue": (0.01, 0.03)}

_ids = itertools.count(1000)


def rows() -> Iterator[Row]:
    """Measure bursts of queued jobs, of JIT registrations, and of cancelled jobs beside waiting tasks."""
    yield from _queued(2000)
    yield from _queued(5000)
    yield from _queued(5000, instances=4, at_once=32)
    yield from _jit(2000)
    yield from _cancelled(256, waiting=1000)


def _queued(count: int, instances: int = 1, at_once: int = NO_LIMIT) -> Iterator[Row]:
    what = f"{count:,} queued" + (f", {instances} instances, {at_once} at once" if instances > 1 else "")
    with _Instances(instances) as system:
        cpu = system.cpu_seconds()
        sent = system.send(_some(count), at_once=at_once)
        answered = system.cpu_seconds() - cpu
        yield _answers(what, sent, f"{answered:.1f} s CPU until then")
        missing = system.wait_for_tasks(count + instances)
        took = time.time() - sent["began"]
        note = f"{missing} are missing" if missing else f"{system.cpu_seconds() - cpu:.1f} s CPU"
        yield Row(f"{what}: all tasks", took, "s", note=note)


def _jit(count: int) -> Iterator[Row]:
    with _Instances(RunnerRegistration="jit") as system:
        sent = system.send(_some(count))
        yield _answers(f"{count:,} JIT", sent)
        # When a minute's requests come back, they are to be no more than GitHub registers in a minute.
        minutes = Counter(int(wait // 60) for wait in sent["waits"])
        most = max(minutes.values(), default=0)
        yield Row(f"{count:,} JIT: the last is tried after", max(sent["waits"], default=0), "s",
                  note=f"{most} in one minute at most")  # fmt: skip


def _cancelled(count: int, waiting: int) -> Iterator[Row]:
    with _Instances() as system:
        for _ in range(waiting // 250):
            system.send(_some(250))
        system.wait_for_tasks(waiting)
        cpu = system.cpu_seconds()
        jobs = _some(count)
        system.send(jobs)
        system.wait_for_tasks(waiting + count)
        started = system.cpu_seconds() - cpu
        cpu = system.cpu_seconds()
        sent = system.send(jobs, action="completed")
        cancelled = system.cpu_seconds() - cpu
        yield _answers(f"{count} cancelled beside {waiting:,} waiting", sent)
        yield Row(f"{count} cancelled: CPU against {count} started", cancelled, "s CPU", started)


def _some(count: int) -> list[int]:
    return list(itertools.islice(_ids, count))


def _answers(what: str, sent: Mapping[str, Any], more: str = "") -> Row:
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(sent["statuses"].items()))
    note = ", ".join(filter(None, (f"p50 {statistics.median(sent['seconds']):.1f} s", statuses, more)))
    return Row(f"{what}: the slowest answer", max(sent["seconds"]), "s", note=note)


class _Instances:
    """A deployment of some instances, with latencies; each instance has had a job. Use it as a context manager."""

    def __init__(self, count: int = 1, **settings: str) -> None:
        # Pools that never have a machine: starting runners is not what is measured.
        pools = [Pool("batchLinux", scale="fixed"), Pool("batchWindows", "windows", scale="fixed")]
        # The addresses of the stand-in are known from the beginning: no instance has to ask GitHub for them first.
        own = {"AllowedSources": "192.0.2.0/24", **settings}
        self._deployment = Deployment(pools=pools, settings=own)
        self._count = count
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            first = stack.enter_context(self._deployment)
            # The answered ping means that the stand-in's addresses are known.
            until(lambda: first.github.deliveries and first.github.deliveries[0].answer)
            self._hosts = [first.host]
            for _ in range(self._count - 1):
                host = FunctionsHost(ROOT, first.settings(), keys=[first.key], front_end=True, max_polling_interval=0.2)
                self._hosts.append(stack.enter_context(host))
            for service, (least, most) in LATENCIES.items():
                faults = getattr(first, service).faults
                faults.add(Fault("latency", times=None, seconds=least, up_to=most))
            self.send(_some(self._count))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def send(self, jobs: list[int], action: str = "queued", at_once: int = NO_LIMIT) -> dict[str, Any]:
        """Send a delivery for each job, and return what was answered; see `sender.send`."""
        urls = [f"{host.url}/api/ProvideActionsRunner?code={self._deployment.key}" for host in self._hosts]
        given = {"urls": urls, "secret": self._deployment.secret, "ids": jobs, "action": action, "at_once": at_once}
        sent = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.sender"], input=json.dumps(given),
            stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, timeout=2 * PATIENCE,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(sent.stdout)
        return answer

    def wait_for_tasks(self, count: int) -> int:
        """Wait until there are so many tasks, or for as long as `PATIENCE`; return how many are missing."""
        end = time.monotonic() + PATIENCE
        while (missing := count - len(self._deployment.batch.task_bodies())) > 0 and time.monotonic() < end:
            time.sleep(0.5)
        return missing

    def cpu_seconds(self) -> float:
        """Return what the instances have used so far."""
        return sum(cpu_seconds(host.pid) for host in self._hosts)


if __name__ == "__main__":
    show("Bursts", rows())
