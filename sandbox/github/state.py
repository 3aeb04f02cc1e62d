"""How GitHub Actions behaves: which runner gets which job and when. Pure: the caller tells the time, nothing waits."""

import base64
import itertools
import json
import random
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sandbox.github.model import (
    CONCLUSIONS,
    SECONDARY_LIMIT,
    Event,
    EventKind,
    Job,
    JobPlan,
    Refusal,
    Registration,
    Repository,
    Run,
    Runner,
    RunnerGroup,
    Scope,
)

# Public repositories may not use it until somebody allows that, as at GitHub.
DEFAULT_GROUP = RunnerGroup(1, "Default", public=False)
MAX_LABELS = 100
MAX_NAME = 64


@dataclass(frozen=True)
class Limits:
    """GitHub's own periods, in seconds.

    Attributes:
        offline_after: a runner that has not asked for work for so long is offline.
        pickup: an assigned job that did not start in this time is queued again (documented: 60 s).
        queued: a job queued for longer fails (documented: 24 h).
        unused_ephemeral: an ephemeral runner that never connected is removed (documented: 1 day).
        unused: so is any other runner (documented: 14 days).
        lost: a job whose runner went silent fails this long after it should have ended (seen: about 10 min).
        registrations: so many runners register in each `registrations_period` of a scope (documented: 1,500 in five
            minutes).
    """

    offline_after: float = 30.0
    pickup: float = 60.0
    queued: float = 86_400.0
    unused_ephemeral: float = 86_400.0
    unused: float = 14 * 86_400.0
    lost: float = 600.0
    registrations: int = 1_500
    registrations_period: float = 300.0


class ActionsState:
    """Runs, jobs and runners of every scope. Not safe under threads: its owner holds the lock."""

    def __init__(self, *, limits: Limits | None = None, seed: int | None = None) -> None:
        """Begin with nothing.

        Args:
            limits: GitHub's periods.
            seed: makes runner secrets repeatable (None: unguessable).
        """
        self.limits = limits or Limits()
        self.repositories: dict[str, Repository] = {}
        self.runs: dict[int, Run] = {}
        self.jobs: dict[int, Job] = {}
        self.runners: dict[int, Runner] = {}
        self.groups: dict[Scope, list[RunnerGroup]] = {}
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self._random = random.Random(seed) if seed is not None else secrets.SystemRandom()  # noqa: S311 - a stand-in
        self._ids = itertools.count(1001)
        self._job_ids = itertools.count(30_000_000_001)
        self._open: dict[int, Job] = {}
        self._jit: dict[str, int] = {}
        self._runs_of: dict[int, list[Run]] = {}
        self._registered: dict[Scope, deque[float]] = {}
        self._events: list[Event] = []

    # What happened -------------------------------------------------------------------------------------------------

    def take_events(self) -> list[Event]:
        """Return what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def _emit(self, now: float, kind: EventKind, job: Job | None = None, runner: Runner | None = None) -> None:
        self._events.append(Event(now, kind, replace(job) if job else None, replace(runner) if runner else None))

    # Repositories and groups ---------------------------------------------------------------------------------------

    def add_repository(self, repository: Repository) -> Repository:
        """Create a repository, or replace the one of the same name."""
        self.repositories[repository.full_name.lower()] = repository
        return repository

    def add_file(self, full_name: str, ref: str, path: str, content: bytes) -> None:
        """Put a file into a branch of a repository."""
        self.files.setdefault((full_name.lower(), ref), {})[path] = content

    def repository(self, full_name: str) -> Repository:
        """Return a repository; one that nobody mentioned yet is created, private, owned by an organization."""
        found = self.repositories.get(full_name.lower())
        return found or self.add_repository(Repository(next(self._ids), full_name))

    def add_group(
        self, scope: Scope, name: str, *, public: bool, repositories: Iterable[str] | None, restricted: bool = False
    ) -> RunnerGroup:
        """Create a runner group in an organization or enterprise, or put another in the place of the default one."""
        names = None if repositories is None else frozenset(name.lower() for name in repositories)
        number = DEFAULT_GROUP.id if name == DEFAULT_GROUP.name else next(self._ids)
        group = RunnerGroup(number, name, public, names, restricted)
        others = [other for other in self.groups.get(scope, []) if other.id != number]
        self.groups[scope] = [*others, group]
        return group

    def groups_of(self, scope: Scope) -> list[RunnerGroup]:
        """Every group of a scope, the default one first."""
        groups = {group.id: group for group in (DEFAULT_GROUP, *self.groups.get(scope, []))}
        return list(groups.values())

    # Runs and jobs -------------------------------------------------------------------------------------------------

    def queue_run(self, full_name: str, plans: Sequence[JobPlan], now: float, *, workflow: str = "CI") -> Run:
        """Start a workflow run whose jobs need no other job first."""
        repository = self.repository(full_name)
        own = self._runs_of.setdefault(repository.id, [])
        run = Run(next(self._ids) + 7_000_000_000, len(own) + 1, repository, workflow, now)
        self.runs[run.id] = run
        own.append(run)
        for plan in plans:
            self._add_job(run, plan, now)
        self.assign(now)
        return run

    def rerun(self, run_id: int, now: float) -> Run:
        """Start the next attempt of a finished run: the same jobs under new ids.

        Raises:
            Refusal: 404 for an unknown run, 403 for one that has not ended.
        """
        run = self.run(run_id)
        if run.status != "completed":
            raise Refusal(403, "This workflow is already running")
        plans = [job.plan for job in run.latest]
        run.attempt += 1
        for plan in plans:
            self._add_job(run, plan, now)
        self.assign(now)
        return run

    def approve(self, job_id: int, now: float) -> Job:
        """Let a job that waits for its environment proceed."""
        job = self.job(job_id)
        if job.status == "waiting":
            job.status = "queued"
            self._emit(now, "queued", job)
            self.assign(now)
        return job

    def cancel(self, job_id: int, now: float) -> Job:
        """Cancel a job; a runner that works on it is told nothing here and ends in its own time."""
        job = self.job(job_id)
        if job.status != "completed":
            self._complete(job, "cancelled", now)
        return job

    def run(self, run_id: int) -> Run:
        """Return a run, or refuse with 404."""
        if run_id not in self.runs:
            raise Refusal(404, "Not Found")
        return self.runs[run_id]

    def runs_of(self, full_name: str) -> list[Run]:
        """Return the runs of a repository, oldest first."""
        repository = self.repositories.get(full_name.lower())
        return self._runs_of.get(repository.id, []) if repository is not None else []

    def job(self, job_id: int) -> Job:
        """Return a job, or refuse with 404."""
        if job_id not in self.jobs:
            raise Refusal(404, "Not Found")
        return self.jobs[job_id]

    def _add_job(self, run: Run, plan: JobPlan, now: float) -> None:
        job = Job(next(self._job_ids), run.id, run.attempt, run.repository, plan, "queued", now)
        run.jobs.append(job)
        self.jobs[job.id] = job
        if plan.environment is not None:
            job.status = "waiting"
        self._open[job.id] = job
        self._emit(now, job.status, job)

    def _complete(self, job: Job, conclusion: str, now: float) -> None:
        self._release(job)
        job.status, job.conclusion, job.completed_at = "completed", conclusion, now
        self._open.pop(job.id, None)
        self._emit(now, "completed", job)

    def _release(self, job: Job) -> None:
        """Take an assigned job that has not started back from its runner."""
        runner = self.runners.get(job.assigned_to) if job.assigned_to is not None else None
        job.assigned_to = job.assigned_at = None
        if runner is not None and runner.job_id == job.id and job.status == "queued":
            runner.busy, runner.job_id = False, None

    # Runners: registration -----------------------------------------------------------------------------------------

    def register(self, scope: Scope, wish: Registration, now: float) -> Runner:
        """Register a runner.

        Raises:
            Refusal: 409 when the name is taken in this scope; 422 (404 for JIT) for a name, labels or group not valid;
                403 when too many have registered lately.
        """
        if not 0 < len(wish.name) <= MAX_NAME or not 0 < len(wish.labels) <= MAX_LABELS:
            raise Refusal(422, "Validation Failed")
        group = next((g for g in self.groups_of(scope) if wish.group in (None, "", g.id, g.name)), None)
        if group is None:
            raise Refusal(404 if wish.jit else 422, f"Could not find any self-hosted runner group named {wish.group!r}")
        lately = self._registered.setdefault(scope, deque())
        while lately and now - lately[0] >= self.limits.registrations_period:
            lately.popleft()
        if len(lately) >= self.limits.registrations:
            raise Refusal(403, SECONDARY_LIMIT)
        for old in [r for r in self.runners.values() if r.scope == scope and r.name.lower() == wish.name.lower()]:
            if not wish.replace:
                raise Refusal(409, f"Already exists - A runner with the name {wish.name} already exists.")
            self._drop(old, now)
        secret = f"secret-{self._random.getrandbits(128):032x}"
        runner = Runner(next(self._ids), scope, wish, group, now, secret)
        self.runners[runner.id] = runner
        lately.append(now)
        self._emit(now, "runner_registered", runner=runner)
        return runner

    def jit_config(self, runner: Runner) -> str:
        """Return what `run.sh --jitconfig` takes: base64 of JSON that holds the runner's files."""
        files = {
            ".runner": {
                "AgentId": str(runner.id), "AgentName": runner.name, "DisableUpdate": "False", "Ephemeral": "True",
                "WorkFolder": "_work",
            },
            ".credentials": {"Scheme": "OAuth", "Data": {"clientId": runner.secret}},
        }  # fmt: skip
        inner = {name: base64.b64encode(json.dumps(body).encode()).decode() for name, body in files.items()}
        config = base64.b64encode(json.dumps(inner).encode()).decode()
        self._jit[config] = runner.id
        return config

    def runner_of_jit(self, config: str) -> Runner:
        """Return the runner a JIT configuration was made for.

        Raises:
            Refusal: 404, the configuration is unknown or its runner is gone.
        """
        runner = self.runners.get(self._jit.get(config, 0))
        if runner is None:
            raise Refusal(404, "The runner registration has been deleted from the server")
        return runner

    def runner_of_secret(self, secret: str) -> Runner:
        """Return the runner that holds a secret, or refuse with 401."""
        for runner in self.runners.values():
            if secrets.compare_digest(runner.secret.encode(), secret.encode()):
                return runner
        raise Refusal(401, "The runner registration has been deleted from the server")

    def remove(self, runner_id: int, now: float) -> None:
        """Remove a runner.

        Raises:
            Refusal: 404 for an unknown runner, 422 for one that is running a job.
        """
        runner = self.runners.get(runner_id)
        if runner is None:
            raise Refusal(404, "Not Found")
        if runner.busy:
            raise Refusal(422, f'Runner "{runner.name}" is still running a job')
        self._drop(runner, now)

    def _drop(self, runner: Runner, now: float) -> None:
        del self.runners[runner.id]
        self._emit(now, "runner_removed", runner=runner)

    # Runners: work -------------------------------------------------------------------------------------------------

    def connect(self, runner: Runner, now: float) -> None:
        """A runner's listener opened its session."""
        self._seen(runner, now)

    def listen(self, runner: Runner, now: float) -> Job | None:
        """A runner asks for work: return the job it must do, or note that it listens and return None."""
        self._seen(runner, now)
        if not runner.busy:
            runner.listening = True
            self.assign(now)
        job = self.jobs.get(runner.job_id or 0)
        if job is None or job.assigned_to != runner.id or job.status != "queued":
            return None
        runner.listening = False
        return job

    def unlisten(self, runner: Runner, now: float, *, gone: bool = False) -> None:
        """A runner's question timed out, or (`gone`) its connection broke."""
        runner.listening = False
        if not gone:
            self._seen(runner, now)

    def start(self, runner: Runner, job_id: int, now: float) -> Job:
        """A runner began the job it was given.

        Raises:
            Refusal: 409 when the job is no longer this runner's.
        """
        job = self.job(job_id)
        if job.assigned_to != runner.id or job.status != "queued":
            raise Refusal(409, "The job is not assigned to this runner")
        self._seen(runner, now)
        job.status, job.started_at = "in_progress", now
        job.runner_id, job.runner_name, job.runner_group = runner.id, runner.name, runner.group
        self._emit(now, "in_progress", job, runner)
        return job

    def finish(self, runner: Runner, job_id: int, conclusion: str, now: float) -> Job:
        """A runner ended its job. An ephemeral runner is removed by that.

        Raises:
            Refusal: 409 when the job was not this runner's, 422 for an unknown conclusion.
        """
        job = self.job(job_id)
        if conclusion not in CONCLUSIONS:
            raise Refusal(422, "Validation Failed")
        if job.runner_id != runner.id:
            raise Refusal(409, "The job is not assigned to this runner")
        self._seen(runner, now)
        if job.status == "in_progress":
            self._complete(job, conclusion, now)
        runner.busy, runner.job_id = False, None
        if runner.ephemeral:
            self._drop(runner, now)
        return job

    def assign(self, now: float) -> None:
        """Give queued jobs, oldest first, to listening runners that may take them."""
        idle = [r for r in self.runners.values() if r.listening and not r.busy]
        for job in self._open.values():
            if not idle:
                return
            fitting = [runner for runner in idle if runner.serves(job)] if job.unassigned else []
            if not fitting:
                continue
            runner = fitting[0]  # the one that has been registered longest
            idle.remove(runner)
            runner.busy, runner.job_id = True, job.id
            job.assigned_to, job.assigned_at = runner.id, now
            self._emit(now, "assigned", job, runner)

    def _seen(self, runner: Runner, now: float) -> None:
        runner.last_seen = now
        if not runner.online:
            runner.online = True
            self._emit(now, "runner_online", runner=runner)

    # Time ----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time have passed: what GitHub does on its own happens."""
        for job in list(self._open.values()):
            self._age_job(job, now)
        for runner in list(self.runners.values()):
            self._age_runner(runner, now)
        self.assign(now)

    def _age_job(self, job: Job, now: float) -> None:
        limits = self.limits
        if job.status == "queued" and job.assigned_at is not None and now - job.assigned_at >= limits.pickup:
            runner = self.runners.get(job.assigned_to or 0)
            self._release(job)
            if runner is not None:
                runner.listening = False
            self._emit(now, "requeued", job, runner)
        if job.status == "queued" and now - job.created_at >= limits.queued:
            self._complete(job, "failure", now)
        if job.started_at is not None and now >= job.started_at + job.plan.duration_s + limits.lost:
            runner = self.runners.get(job.runner_id or 0)
            self._complete(job, "failure", now)  # "The self-hosted runner lost communication with the server"
            if runner is not None and runner.job_id == job.id:
                runner.busy, runner.job_id = False, None

    def _age_runner(self, runner: Runner, now: float) -> None:
        limits = self.limits
        job = self.jobs.get(runner.job_id or 0)
        if job is not None and job.completed_at is not None and runner.busy:  # cancelled, and never heard of again
            runner.busy = now < job.completed_at + job.plan.duration_s + limits.lost
        if runner.last_seen is None:
            if now - runner.created_at >= (limits.unused_ephemeral if runner.ephemeral else limits.unused):
                self._drop(runner, now)
        elif not runner.busy and not runner.listening and now - runner.last_seen >= limits.offline_after:
            silent = limits.unused_ephemeral if runner.ephemeral else limits.unused
            if now - runner.last_seen >= silent:
                self._drop(runner, now)
            elif runner.online:
                runner.online = False
                self._emit(now, "runner_offline", runner=runner)
