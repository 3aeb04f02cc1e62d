"""What a pass costs at scale: its look at Batch, its comparison in each scope, its matching; and a task's creation."""

import gc
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.matching import assign
from orchestrator.reconcile.pass_ import Pass
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState
from tests.benchmarks.canned_batch import CannedBatch, canned_batch
from tests.benchmarks.table import Row, cpu_ms
from tests.builders import queued_job, settings

ROOT = Path(__file__).parents[2]
TASKS = 50_000
REPOSITORIES = 500
CREATED = 300
KEY = "a2V5"
MIB = 1024 * 1024
ROUNDS = 7

# Each look in a fresh process: what it costs, and the most memory that the process ever had.
_LOOK = """
import json, pathlib, re, sys, time
from datetime import UTC, datetime
from tests.benchmarks.batch_pass import look
times = []
for count in (1, 2, 3):
    began = time.process_time()
    found = look(sys.argv[1])
    times.append((time.process_time() - began) * 1000)
    print(json.dumps({"cpu": times[-1], "tasks": found}), flush=True)
    input()
# Of this program alone: what `getrusage` tells includes the process that has started it.
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
print(json.dumps(int(peak) / 1024))
"""


def rows() -> Iterator[Row]:
    """Measure all of it."""
    yield from _creation()
    yield from _looks()
    yield from _scopes()
    yield from _matching()


def _creation() -> Iterator[Row]:
    """A task created by the SDK, against the same request by http.client."""
    with canned_batch(100, 10) as batch:
        tasks = RunnerTasks(BatchAccount(batch.url, AzureNamedKeyCredential("acct", KEY)))
        connection = http.client.HTTPConnection(urlsplit(batch.url).netloc)
        body = json.dumps({"id": "runner-1-1", "environmentSettings": ["x" * 20] * 40}).encode()

        def plain(_number: int) -> None:
            headers = {"Content-Type": "application/json; odata=minimalmetadata", "Authorization": "SharedKey a:b"}
            connection.request("POST", "/jobs/a/tasks?api-version=2025-06-01", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == http.client.CREATED

        made = iter([_task(number) for number in range((ROUNDS + 1) * CREATED)])
        actions = {
            "the same request by http.client": lambda: deque(map(plain, range(CREATED)), 0),
            "a task created by the SDK": lambda: deque(map(tasks.add, islice(made, CREATED)), 0),
        }
        cpu = cpu_ms(actions, rounds=ROUNDS)
        floor = next(iter(cpu.values()))
        for what, spent in cpu.items():
            yield Row(what, spent / CREATED, "ms CPU", floor / CREATED)


def _task(number: int) -> RunnerTask:
    notes = TaskNotes(
        url="https://github.com/acme", name=f"runner-{number}-1", labels=("self-hosted", "ubuntu-latest"),
        idle_minutes=10, expires_at=datetime(2100, 1, 1, tzinfo=UTC),
        origin=Origin(event=_event(number + 1), profile="linux"),
    )  # fmt: skip
    return RunnerTask(
        task_id=f"runner-{number}-1", pool="linux", account="org0", display_name="acme/app run 1 job 1 attempt 1",
        image="acme.azurecr.io/githubactions-runner:x", os="linux", run_options="", slots=1, max_hours=7,
        environment=notes.environment("A" * 29), queued_at=datetime(2100, 1, 1, tzinfo=UTC),
    )  # fmt: skip


_tasks: list[RunnerTasks] = []
_known = FinishedTasks()


def look(url: str) -> int:
    """Look at Batch as a pass does; return how many tasks there are."""
    if not _tasks:
        _tasks.append(RunnerTasks(BatchAccount(url, AzureNamedKeyCredential("acct", KEY))))
    return len(_tasks[0].listed(["linux"], datetime.now(UTC), _known))


def _looks() -> Iterator[Row]:
    for kind in ("token", "jit"):
        with canned_batch(TASKS, REPOSITORIES, jit=kind == "jit") as batch:
            yield from _looks_at(batch, kind)


def _looks_at(batch: CannedBatch, kind: str) -> Iterator[Row]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _LOOK, batch.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    floor = 0.0
    for name in ("the first look", "the second look", "the third look"):
        told = json.loads(process.stdout.readline())
        assert told["tasks"] == TASKS, told
        asked, size = batch.asked()
        if not floor:
            pages = [batch.body(path) for path in asked]
            floor = statistics.median(_timed(partial(list, map(json.loads, pages))) for _ in range(3))
            yield Row(f"{kind}: json.loads of the first look's pages", floor, "ms CPU", floor)
            del pages
            batch.asked()
        environments = sum("environmentSettings" in path and "id%20eq" in path for path in asked)
        note = f"{size / MIB:.1f} MiB in {len(asked)} calls, {environments} for environments of finished tasks"
        yield Row(f"{kind}: {name}, {TASKS:,} tasks", told["cpu"], "ms CPU", floor, note)
        process.stdin.write("\n")
        process.stdin.flush()
    yield Row(f"{kind}: the process's peak memory", json.loads(process.stdout.readline()), "MiB")
    process.wait()


def _timed(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


def _event(number: int, repository: str = "acme/app") -> WorkflowJobEvent:
    owner, _, name = repository.partition("/")
    payload = queued_job()
    payload["workflow_job"] |= {"id": number}
    payload["repository"] |= {"name": name, "full_name": repository, "owner": {"login": owner}}
    return workflow_job_event(json.dumps(payload | {"organization": {"login": owner}}).encode())


def _scopes() -> Iterator[Row]:
    """The facts of every scope put together, in organization scope and in repository scope."""
    now = datetime.now(UTC)
    actions = {}
    for scope in ("organization", "repository"):
        tasks = [_state(number, f"acme/service-{number % 5000}", scope, now) for number in range(20_000)]
        actions[f"{scope} scope, 5,000 repositories, 20,000 tasks"] = partial(
            _views, settings(RunnerScope=scope), tasks, now
        )
    gc.freeze()  # both are measured as in a process of their own: neither looks through what the rows before have left
    cpu = cpu_ms(actions, rounds=ROUNDS)
    gc.unfreeze()
    for what, spent in cpu.items():
        yield Row(what, spent, "ms CPU", next(iter(cpu.values())))


def _views(configured: Settings, tasks: Sequence[TaskState], now: datetime) -> None:
    current = Pass(configured, tasks, now, AccountRule(None))
    for number in range(1000):
        current.add_job(_JOBS[number])
    for facts in list(current.scopes.values()):
        current.view(facts, ())


_JOBS = [_event(10**9 + number, f"acme/service-{number}") for number in range(1000)]


def _state(number: int, repository: str, scope: str, now: datetime) -> TaskState:
    url = f"https://github.com/{repository if scope == 'repository' else 'acme'}"
    state: Any = "waiting" if number % 50 == 0 else "finished"
    ended = now - timedelta(hours=2) if state == "finished" else None
    notes = TaskNotes(url=url, origin=Origin(event=_event(number + 1, repository), profile="linux"))
    return TaskState(f"runner-{number + 1}-1", "batchLinux", state, now, ended_at=ended, exit_code=0, notes=notes)


@dataclass(frozen=True)
class _Supply:
    made_for: int


@dataclass(frozen=True)
class _Demand:
    key: int
    kind: int = 0

    def accepts(self, _supply: _Supply, /) -> bool:
        return True


def _matching() -> Iterator[Row]:
    """Jobs of one kind, each with a task that was made for a job which is gone."""
    floor = 0.0
    for count in (1000, 10_000):
        jobs = [_Demand(number) for number in range(count)]
        supplies = [_Supply(number + 10**6) for number in range(count)]
        spent = statistics.median(_timed(partial(assign, jobs, [supplies])) for _ in range(3))
        floor = floor or spent
        yield Row(f"{count:,} jobs matched with other jobs' tasks", spent, "ms CPU", floor)
