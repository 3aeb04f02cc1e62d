"""One pass over the truth: look at GitHub and Batch, decide, act.

What to do is decided in `orchestrator.reconcile.plan`; here it is only asked and carried out. Where something could not
be asked, nothing is decided: that scope is left for the next pass, and the log says so.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, OrchestratorError, UpstreamError
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.plan import (
    STARTS,
    Action,
    DeleteTask,
    EndTask,
    GiveUp,
    RemoveRunner,
    ReplaceTask,
    ScopeView,
    StartRunner,
    Wait,
    WaitingJob,
    clean_up,
    decide,
)
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope
from orchestrator.runners.task import TaskState

logger = logging.getLogger(__name__)

# Repositories asked about in one pass: those with the most recent tasks, then the others by turns.
REPOSITORIES = 60
TURNS = 20
# How long a repository is looked at after its last task has disappeared.
MEMORY = timedelta(hours=24)
_START = "start runner"
# How loud an action is that a person may have to do something about.
_LEVELS: Mapping[type, int] = {GiveUp: logging.CRITICAL, Wait: logging.WARNING}


class Tasks(Protocol):
    """The runner tasks on Batch."""

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits; return False if there is none that does."""

    def end(self, pool: str, task_id: str) -> None:
        """End a task, whatever it does."""

    def delete(self, pool: str, task_id: str) -> None:
        """Forget a task."""


class Jobs(Protocol):
    """The workflow jobs on GitHub."""

    def queued(self, repository: str, installation: int | None) -> Sequence[WorkflowJobEvent]:
        """Return those of a repository that wait for a runner."""


class Registered(Protocol):
    """The runners that GitHub knows."""

    def listed(self, access: ScopeAccess) -> Sequence[Runner]:
        """Return all of a scope."""

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove one."""


class Starter(Protocol):
    """Starts runners."""

    def start(self, event: WorkflowJobEvent, profile: Profile, replacement: int = 0) -> Outcome:
        """Start one for a job."""


@dataclass
class _Place:
    """What a pass learns about one place where runners register."""

    scope: Scope
    installation: int | None = None
    jobs: dict[str, WaitingJob] = field(default_factory=dict)
    runners: Sequence[Runner] | None = None
    complete: bool = True
    trouble: str | None = None


class Reconciler:
    """Makes passes.

    Args:
        settings: the app settings.
        tasks: Batch's.
        jobs: GitHub's.
        runners: GitHub's.
        starter: starts runners.
        installed: the repositories that the credentials themselves tell of, with the App's installation.
        retention: how long a finished task is kept.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tasks: Tasks,
        jobs: Jobs,
        runners: Registered,
        starter: Starter,
        installed: Callable[[], Mapping[str, int]],
        retention: timedelta,
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._jobs = jobs
        self._runners = runners
        self._starter = starter
        self._installed = installed
        self._retention = retention
        self._period = timedelta(minutes=settings.reconcile_minutes)
        self._told: dict[str, tuple[WorkflowJobEvent, datetime]] = {}

    def run(self, tasks: Sequence[TaskState], now: datetime) -> None:
        """Make one pass; what fails is reported and left for the next.

        Args:
            tasks: all runner tasks that live, ended lately, or are past their retention.
            now: the time.
        """
        began = time.monotonic()
        done: Counter[str] = Counter()
        places: dict[str, _Place] = {}
        own = self._told_by(tasks, places, now)
        # Runners before jobs: one that takes a job in between counts as free although its job is gone, and no second
        # one is started. The other way round that job would seem to wait for nobody.
        for place in places.values():
            self._list_runners(place)
        self._list_jobs(own, places, now)
        for url, place in places.items():
            self._reconcile(url, place, tasks, now, done)
        for action in clean_up(tasks, places, now, self._retention):
            done[self._carry_out(action)] += 1
        waits = [job.age(now) for place in places.values() for job in place.jobs.values()]
        _log(
            logging.INFO,
            result="done",
            scopes=len(places),
            jobs=len(waits),
            longest_wait_s=round(max(waits, default=timedelta()).total_seconds()),
            waiting=sum(task.state == "waiting" for task in tasks),
            running=sum(task.state == "running" for task in tasks),
            actions=dict(done),
            ms=round((time.monotonic() - began) * 1000),
        )

    def _told_by(
        self, tasks: Iterable[TaskState], places: dict[str, _Place], now: datetime
    ) -> Mapping[str, WorkflowJobEvent]:
        """Return the latest job of each repository that has tasks, and note where their runners register.

        Last come those that had some when this process looked before: somebody may have deleted the Batch job with all
        its tasks. Nothing but where to look is taken from that memory.
        """
        own: dict[str, WorkflowJobEvent] = {}
        for task in sorted(tasks, key=lambda one: one.created_at, reverse=True):
            if task.notes.origin is not None:
                event = task.notes.origin.event
                own.setdefault(event.repository.full_name, event)
                self._place(places, event)
        self._told = {name: told for name, told in self._told.items() if now - told[1] < MEMORY}
        self._told |= {name: (event, now) for name, event in own.items()}
        return own | {name: event for name, (event, _) in self._told.items() if name not in own}

    def _list_runners(self, place: _Place) -> None:
        try:
            place.runners = self._runners.listed(ScopeAccess(place.scope, place.installation))
        except UpstreamError as error:
            place.trouble = str(error)

    def _list_jobs(self, own: Mapping[str, WorkflowJobEvent], places: dict[str, _Place], now: datetime) -> None:
        """Ask GitHub for the queued jobs of every repository in view, and sort them by where their runners register."""
        installed = self._installations()
        names = list(dict.fromkeys([*own, *self._settings.reconcile_repositories, *installed]))
        chosen = _by_turns(names, int(now.timestamp()) // 60 // self._settings.reconcile_minutes)
        for name in names:
            told = own.get(name)
            if name not in chosen:
                if told is not None:
                    self._place(places, told).complete = False
                continue
            installation = told.installation.id if told and told.installation else installed.get(name)
            try:
                events = self._jobs.queued(name, installation)
            except UpstreamError as error:
                self._blame(places, name, told, error)
                continue
            for event in events:
                job = self._waiting_job(event)
                if job is not None:
                    self._place(places, event).jobs[job.job_key] = job

    def _installations(self) -> Mapping[str, int]:
        try:
            return self._installed()
        except UpstreamError as error:
            _log(logging.WARNING, result="skipped", what="the App's installations", reason=str(error))
            return {}

    def _place(self, places: dict[str, _Place], event: WorkflowJobEvent) -> _Place:
        scope = runner_scope(event, self._settings)
        place = places.setdefault(scope.url(self._settings.github_web_url), _Place(scope))
        if place.installation is None and event.installation is not None:
            place.installation = event.installation.id
        return place

    def _blame(self, places: dict[str, _Place], name: str, told: WorkflowJobEvent | None, error: UpstreamError) -> None:
        """Take note that a repository's jobs are unknown.

        Nothing is decided where its runners register while GitHub does not answer. A repository that is gone, or that
        the credentials may not see, holds up no other: there only nothing is ended, for it might be needed.
        """
        _log(logging.WARNING, result="skipped", repository=name, reason=str(error))
        if told is not None:
            blamed = [self._place(places, told)]
        else:
            scopes = [Scope("organization", name.partition("/")[0]), Scope("repository", name)]
            if self._settings.github_enterprise is not None:
                scopes.append(Scope("enterprise", self._settings.github_enterprise))
            urls = [scope.url(self._settings.github_web_url) for scope in scopes]
            blamed = [places[url] for url in urls if url in places]
        for place in blamed:
            place.complete = False
            if not isinstance(error, GitHubRefused):
                place.trouble = f"{name}: {error}"

    def _waiting_job(self, event: WorkflowJobEvent) -> WaitingJob | None:
        admission = admit(event, self._settings)
        if not isinstance(admission, Admitted):
            return None
        return WaitingJob(event, admission.profile, frozenset(label.lower() for label in event.workflow_job.labels))

    def _reconcile(
        self, url: str, place: _Place, tasks: Sequence[TaskState], now: datetime, done: Counter[str]
    ) -> None:
        if place.runners is None and place.trouble is None:
            self._list_runners(place)  # it has jobs, and had no tasks
        if place.runners is None or place.trouble is not None:
            _log(logging.WARNING, result="skipped", scope=str(place.scope), reason=place.trouble)
            done["skipped"] += 1
            return
        access = ScopeAccess(place.scope, place.installation)
        jobs = list(place.jobs.values())
        own = [task for task in tasks if task.notes.url == url]
        others = [task for task in tasks if task.notes.url != url and task.job_key in place.jobs] if place.jobs else []
        view = ScopeView(access, url, jobs, place.runners, own, others, place.complete, self._period)
        for action in decide(view, now, STARTS - done[_START]):
            done[self._carry_out(action)] += 1

    def _carry_out(self, action: Action) -> str:
        """Do one thing and log it with its reason; return what it is called."""
        name, about = _described(action)
        try:
            outcome = self._do(action)
        except OrchestratorError as error:
            _log(logging.WARNING, result="failed", action=name, why=action.reason, reason=str(error), **about)
            return "failed"
        _log(_LEVELS.get(type(action), logging.INFO), result=outcome, action=name, reason=action.reason, **about)
        return name

    def _do(self, action: Action) -> str:  # noqa: PLR0911 - one per action
        match action:
            case StartRunner(job, replacement):
                return self._starter.start(job.event, job.profile, replacement).result
            case ReplaceTask(task, job, replacement):
                return self._replace(task, job, replacement)
            case EndTask(task):
                if task.state == "waiting":
                    return "ended" if self._tasks.end_waiting(task.pool, task.task_id) else "left"
                self._tasks.end(task.pool, task.task_id)
                return "ended"
            case DeleteTask(task):
                self._tasks.delete(task.pool, task.task_id)
                return "deleted"
            case RemoveRunner(access, runner):
                self._runners.remove(access, runner.id)
                return "removed"
            case Wait():
                return "waits"
            case _:
                return "given up"

    def _replace(self, task: TaskState, job: WaitingJob, replacement: int) -> str:
        """Start the new one first: at no time is there none. If the old one has started meanwhile, it stays instead."""
        started = self._starter.start(job.event, job.profile, replacement)
        if self._tasks.end_waiting(task.pool, task.task_id):
            return "replaced"
        self._tasks.end_waiting(started.pool, started.task_id)
        return "left"


def _described(action: Action) -> tuple[str, dict[str, object]]:
    """Name an action and what it is about, for the log."""
    match action:
        case StartRunner(job, _) | GiveUp(job):
            about = _about(job)
            return (_START if isinstance(action, StartRunner) else "give up"), about
        case ReplaceTask(task, job, _):
            return "replace task", {"task": task.task_id, **_about(job)}
        case Wait(job, task):
            return "wait", {"task": task.task_id, "pool": task.pool, **_about(job)}
        case EndTask(task):
            return "end task", {"task": task.task_id, "pool": task.pool}
        case DeleteTask(task):
            return "delete task", {"task": task.task_id, "pool": task.pool}
        case _:
            return "remove runner", {"runner": action.runner.name}


def _about(job: WaitingJob) -> dict[str, object]:
    return {"job": job.event.workflow_job.id, "repository": job.event.repository.full_name}


def _by_turns(names: Sequence[str], turn: int) -> frozenset[str]:
    """Choose the repositories of one pass: the first ones always, of the others some more with each turn."""
    first, others = names[: REPOSITORIES - TURNS], names[REPOSITORIES - TURNS :]
    begin = turn * TURNS % len(others) if others else 0
    return frozenset([*first, *[*others, *others][begin : begin + TURNS]])


def _log(level: int, **fields: object) -> None:
    logger.log(level, "%s", json.dumps({"pass": "reconciliation", **fields}))
