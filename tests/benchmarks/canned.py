"""A GitHub and a Batch of canned answers, on virtual time: as many repositories, runs and runners as a row asks for.

Everything that can change changes from pass to pass: a runner, a run in progress and its jobs. What is quiet keeps its
ETag. GitHub's hourly limit counts as it does; an answer of 304 is free.
"""

import asyncio
import hashlib
import io
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from orchestrator import upstream
from orchestrator.config.settings import Settings
from orchestrator.github import client
from orchestrator.health.facts import QueueFacts
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.measurements import PoolSize
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState
from sandbox.chaos.threads import Threads
from sandbox.chaos.virtual_time import START, VirtualLoop
from tests.builders import environment, private_key
from tests.fakes import MemoryStore

GITHUB_SECONDS, BATCH_SECONDS = 0.25, 0.14
PERIOD = 300.0
LABELS = ["self-hosted", "linux"]
PROFILE = '[{"name": "linux", "labels": ["self-hosted", "linux"], "pool": "batchLinux", "image": "r.io/runner"}]'
_DAY = 86_400.0


class NoQueues:
    """Queues in which nothing is."""

    def unexplained(self) -> list[bytes]:
        """Return nothing."""
        return []

    def look(self) -> QueueFacts:
        """Return that they are empty."""
        return QueueFacts()

    check = look


@dataclass
class World:
    """What GitHub has.

    Attributes:
        repositories: full names.
        active: those with unfinished runs, and a task in the last day.
        runs: unfinished runs of each active repository.
        runners: registered ones, of each organization.
        app: whether a GitHub App asks.
        limit: requests per hour of a credential.
        registration: the way to a runner.
        lost: jobs that nobody told of: by job id, its repository, its run and since when it is queued.
        started: when a runner of a job was started.
        calls: how many were made, pass by pass.
        counted: how many of these GitHub counts against the hour.
        statuses: the answers.
        skipped: in how many scopes a pass could decide nothing.
        seconds: how long a pass took.
    """

    repositories: Sequence[str]
    active: frozenset[str]
    runs: int = 1
    runners: int = 500
    app: bool = False
    limit: int = 5_000
    registration: str = "token"
    lost: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    skipped: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Come to life."""
        self.loop = VirtualLoop()
        self.threads = Threads(self.loop)
        self._windows: dict[str, tuple[float, int]] = {}
        self._accounts = sorted({name.partition("/")[0] for name in self.repositories})
        self._bodies: dict[str, tuple[bytes, str]] = {}
        self._unserved: dict[str, list[int]] = {}

    def lose(self, job: int, repository: str, run: int | None = None) -> None:
        """Queue a job that no delivery tells of."""
        self.lost[job] = (repository, run or job, self.loop.now())
        self._unserved.setdefault(repository, []).append(job)

    # The passes ------------------------------------------------------------------------------------------------------

    def live(
        self,
        passes: int,
        before: Callable[[int], object] = lambda _number: None,
        *,
        least: int | None = None,
        new_process_at: int | None = None,
    ) -> "World":
        """Make passes, each five minutes after the one before or when that has ended.

        Args:
            passes: how many at most.
            before: is called before each, with its number.
            least: after so many it ends when every lost job has its runner.
            new_process_at: from this pass on another process makes them, which has read the record of the one before.
        """
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._live(passes, before, passes if least is None else least, new_process_at))
        return self

    async def _live(self, passes: int, before: Callable[[int], object], least: int, new_process_at: int | None) -> None:
        adapter, store = _Adapter(self), MemoryStore()

        def session(*_arguments: object) -> requests.Session:
            made = requests.Session()
            made.mount("https://", adapter)
            return made

        way: dict[str, str] = (
            {"GithubToken": "", "GithubAppId": "4711", "GithubAppPrivateKey": private_key()} if self.app else {}
        )
        settings = Settings.from_environment(
            environment(
                RunnerProfiles=PROFILE, RunnerRegistration=self.registration,
                AllowedOrganizations=",".join(self._accounts), **way,
            )
        )  # fmt: skip
        with (
            mock.patch.object(client, "bounded_session", session),
            mock.patch.object(upstream, "RunnerTasks", return_value=Batch(self)),
            mock.patch.object(upstream, "PoolStatus", return_value=Batch(self)),
            mock.patch.object(upstream, "MemoryBlob", return_value=store),
            self._listening(),
        ):
            for number in range(passes):
                if number in (0, new_process_at):
                    store.fresh = number > 0
                    connected = upstream.connect(settings, self.threads.runtime, queue=NoQueues)
                if number >= least and len(self.started) >= len(self.lost):
                    return
                before(number)
                began, calls, free = self.loop.time(), self.statuses.total(), self.statuses[304]
                self._skipped = 0
                await asyncio.wrap_future(self.threads.submit(connected.control_loop.run))
                self.calls.append(self.statuses.total() - calls)
                self.counted.append(self.calls[-1] - (self.statuses[304] - free))
                self.seconds.append(self.loop.time() - began)
                self.skipped.append(self._skipped)
                await asyncio.sleep(max(0.0, PERIOD - (self.loop.time() - began)))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Count the lines that say that nothing was decided in a scope; show no line."""
        world = self

        class Count(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                line = json.loads(record.getMessage())
                world._skipped += line.get("result") == "skipped" and "scope" in line

        logger, count = logging.getLogger("orchestrator"), Count()
        logger.addHandler(count)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(count)
            logger.propagate = True

    def found_after(self, jobs: Iterable[int], share: float) -> float:
        """Return within how many minutes a share of some lost jobs had a runner; infinite if they had none."""
        waits = sorted((self.started.get(job, math.inf) - self.lost[job][2]) / 60 for job in jobs)
        return waits[math.ceil(share * len(waits)) - 1]

    # GitHub ----------------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> "_Answer":
        """Answer a call of the REST API."""
        self.threads.sleep(GITHUB_SECONDS)
        name = headers.get("Authorization", "")
        window = int(self.loop.now() // 3600)
        begun, used = self._windows.get(name, (window, 0))
        used = used if begun == window else 0
        own = {
            "x-ratelimit-limit": str(self.limit), "x-ratelimit-remaining": str(max(0, self.limit - used - 1)),
            "x-ratelimit-reset": str((window + 1) * 3600),
        }  # fmt: skip
        if used >= self.limit:
            return _Answer(403, b'{"message": "API rate limit exceeded"}', own)
        body, links = self._body(method, path, query)
        etag = hashlib.sha1(body).hexdigest()  # noqa: S324 - no secret
        is_known = method == "GET" and headers.get("If-None-Match") == etag
        self._windows[name] = (window, used if is_known else used + 1)
        if is_known:
            return _Answer(304, b"", own | {"x-ratelimit-remaining": str(self.limit - used)})
        return _Answer(200 if method == "GET" else 201, body, own | {"etag": etag} | links)

    def _body(self, method: str, path: str, query: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
        if method == "POST":
            until = datetime.fromtimestamp(self.loop.now() + 3600, UTC).isoformat()
            # An installation's token is its own; GitHub's runner is whatever was asked for.
            token = {"token": f"ghs_{path}{self.loop.now() // 3600}", "expires_at": until}
            return json.dumps({**token, "runner": {"id": 1}, "encoded_jit_config": "x"}).encode(), {}
        key, entries = self._entries(path, query)
        if entries is None:
            return json.dumps(key).encode(), {}
        size, page = int(query.get("per_page", "30")), int(query.get("page", "1"))
        part = entries[(page - 1) * size : page * size]
        links = {"link": f'<https://x?page={page + 1}>; rel="next"'} if len(entries) > page * size else {}
        return json.dumps({key: part} if key else part, default=lambda make: make()).encode(), links

    def _entries(self, path: str, query: Mapping[str, str]) -> tuple[Any, Sequence[Any] | None]:  # noqa: PLR0911 - one per path
        parts = path.strip("/").split("/")
        if path == "/app":
            return {"owner": {"login": self._accounts[0]}}, None
        if path == "/app/installations":
            return "", [
                {"id": n, "account": {"login": a, "type": "Organization"}}
                for n, a in enumerate(self._accounts, start=1)
            ]
        if path == "/installation/repositories" or path.endswith("/repos"):
            own = self._listed(query)
            return ("repositories", own) if parts[0] == "installation" else ("", own)
        if path.endswith("/deliveries"):
            return "", []
        if path.endswith("/actions/runners"):
            if "name" in query:
                return "runners", []
            return "runners", _Runners(self.runners, round(self.loop.time() // PERIOD))
        if path.endswith("/runner-groups"):
            return "runner_groups", [{"id": 1, "name": "Default", "default": True, "visibility": "all"}]
        repository = "/".join(parts[1:3])
        if parts[-1] == "jobs":
            return "jobs", self._jobs(int(parts[5]))
        return "workflow_runs", self._runs(repository, query)

    def _listed(self, query: Mapping[str, str]) -> list[Any]:
        pushed = [name in self.active for name in self.repositories]
        now = self.loop.now()
        entries = [
            {"full_name": name, "private": True, "pushed_at": _timestamp(now - 3600 if is_active else START - 9 * _DAY)}
            for name, is_active in zip(self.repositories, pushed, strict=True)
        ]
        return sorted(entries, key=lambda entry: entry["pushed_at"], reverse=True) if "sort" in query else entries

    def _runs(self, repository: str, query: Mapping[str, str]) -> list[Any]:
        status = query.get("status")
        owner, name = repository.split("/")
        about = {
            "name": name, "full_name": repository, "private": True,
            "owner": {"login": owner, "type": "Organization"},
        }  # fmt: skip
        queued = dict.fromkeys(self.lost[job][1] for job in self._unserved.get(repository, ()))
        found = [(run, "queued") for run in queued if status in (None, "queued")]
        if repository in self.active and status in (None, "in_progress"):
            first = 10_000_000 + self.repositories.index(repository) * 1000
            found += [(first + number, "in_progress") for number in range(self.runs)]
        changed = _timestamp(self.loop.now() // PERIOD * PERIOD)
        return [
            {"id": run, "status": state, "updated_at": changed if state == "in_progress" else "", "repository": about}
            for run, state in found
        ]

    def _jobs(self, run: int) -> list[Any]:
        queued = [job for jobs in self._unserved.values() for job in jobs if self.lost[job][1] == run]
        if not queued:
            return [{"status": "in_progress", "id": 1, "run_id": run, "at": self.loop.time() // PERIOD, "labels": []}]
        return [
            {"id": job, "run_id": run, "run_attempt": 1, "status": "queued", "labels": LABELS,
             "created_at": _timestamp(self.lost[job][2])}
            for job in queued
        ]  # fmt: skip

    # Batch -----------------------------------------------------------------------------------------------------------

    def start(self, task_id: str) -> None:
        """Take note of a task; its job is served at once."""
        job = int(task_id.split("-")[1])
        self.started.setdefault(job, self.loop.now())
        if job in self.lost and job in self._unserved.get(self.lost[job][0], ()):
            self._unserved[self.lost[job][0]].remove(job)

    def tasks(self) -> Iterator[TaskState]:
        """Yield a finished task of each active repository."""
        at = datetime.fromtimestamp(self.loop.now(), UTC) - timedelta(hours=2)
        for number, repository in enumerate(sorted(self.active), start=1):
            owner, name = repository.split("/")
            event = {
                "action": "queued",
                "workflow_job": {"id": number, "run_id": 1, "labels": LABELS, "status": "queued"},
                "repository": {"name": name, "full_name": repository, "owner": {"login": owner}, "private": True},
                "organization": {"login": owner},
                "installation": {"id": self._accounts.index(owner) + 1} if self.app else None,
            }  # fmt: skip
            notes = TaskNotes(
                url=f"https://github.com/{owner}", labels=tuple(LABELS),
                origin=Origin.model_validate({"event": event, "profile": "linux"}),
            )  # fmt: skip
            yield TaskState(
                f"runner-{number}-1", "batchLinux", "finished", at, started_at=at, ended_at=at, exit_code=0, notes=notes
            )


class Batch:
    """The runner tasks, and their pool."""

    def __init__(self, world: World) -> None:
        self._world = world

    def listed(self, _pools: Iterable[str], _now: datetime, _known: FinishedTasks) -> Sequence[TaskState]:
        """Return the recent tasks."""
        return list(self._world.tasks())

    def add(self, task: RunnerTask) -> bool:
        """Create a task."""
        self._world.threads.sleep(BATCH_SECONDS)
        self._world.start(task.task_id)
        return True

    def live(self, _pool: str) -> Iterable[TaskState]:
        """Return none: the rows know no quota."""
        return ()

    def state(self, _pool: str, _task_id: str, **_: str) -> TaskState | None:
        """Return none: each job is started once."""

    def slots_per_node(self, _pool: str) -> int:
        """Return one."""
        return 1

    def size(self, _pool: str) -> PoolSize:
        """Return the size of a pool that does not grow."""
        self._world.threads.sleep(BATCH_SECONDS)
        return PoolSize(1, 1, 1, None)

    def look(self, _pool: str) -> None:
        """Return nothing: no operator asks."""

    facts = look


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


class _Runners(Sequence[Any]):
    """A list of runners of which one on each page changes from pass to pass."""

    def __init__(self, count: int, turn: int) -> None:
        self._count = count
        self._turn = turn

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: Any) -> Any:
        return [
            {"id": n, "name": f"other-{n}-{self._turn if n % 100 == 0 else 0}", "status": "online", "busy": True,
             "labels": []}
            for n in range(*part.indices(self._count))
        ]  # fmt: skip


class _Adapter(BaseAdapter):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def send(self, request: requests.PreparedRequest, *_arguments: Any, **_options: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        headers = {name: str(value) for name, value in request.headers.items()}
        path = re.sub("^/api/v3", "", str(parts.path))
        answer = self._world.answer(request.method or "", path, dict(parse_qsl(str(parts.query))), headers)
        self._world.statuses[answer.status] += 1
        response = requests.Response()
        response.status_code = answer.status
        response.encoding = "utf-8"
        response.headers.update(answer.headers)
        response.raw = io.BytesIO(answer.body)
        response.url = request.url or ""
        response.request = request
        return response

    def close(self) -> None:
        """Do nothing."""


def _timestamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
