"""One pass: what it has learned, scope by scope, and what it has done (pure)."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from orchestrator.config.profiles import groups_of_others
from orchestrator.config.settings import Settings
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.action import Action
from orchestrator.reconcile.findings import Gap, Prospect
from orchestrator.reconcile.view import ScopeView, WaitingJob
from orchestrator.result import Result
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope
from orchestrator.runners.task import TaskState

# GitHub lets no job wait longer for a runner.
QUEUED_AT_MOST = timedelta(hours=24)
# The runners of a scope are listed in each pass while a task lives there, and for so long after the last one ended.
LISTED_AFTER_THE_END = timedelta(hours=1)
# Of so many other scopes that had tasks the runners are listed in one pass, by turns: what is left behind is removed.
OTHERS_PER_PASS = 20


@dataclass
class ScopeFacts:
    """What a pass has learned about one scope.

    Attributes:
        scope: the scope.
        installation: the GitHub App's, if an event named it.
        jobs: its queued jobs, by job key.
        runners: those registered there; None while they are not listed.
        all_runners: whether these are all; if not, they are those of the tasks that run.
        complete: whether every repository that has tasks here was looked at.
        problem: why nothing can be decided here, if so: the runners are unknown.
    """

    scope: Scope
    installation: int | None = None
    jobs: dict[str, WaitingJob] = field(default_factory=dict)
    runners: Sequence[Runner] | None = None
    all_runners: bool = True
    complete: bool = True
    problem: str | None = None

    @property
    def access(self) -> ScopeAccess:
        """The scope and how to reach it."""
        return ScopeAccess(self.scope, self.installation)


class Settled(NamedTuple):
    """What became of an action.

    Attributes:
        action: what was to be done.
        result: what came of it; None if there was no time for it.
        reason: why it failed, or why it was to be done.
    """

    action: Action
    result: Result | None
    reason: str


class Pass:
    """What a pass knows; it begins with the scopes of all tasks whose accounts may have runners.

    Args:
        settings: the app settings.
        tasks: all runner tasks.
        now: the time.
        rule: which accounts may have runners; nothing is asked about the others.

    Attributes:
        tasks: as given.
        now: as given.
        rule: as given.
        latest_events: the latest job of each repository that has tasks, by the repository's full name.
        scopes: the facts of each scope, by the scope's address.
        node_slots: how many slots a node has, by pool, where that was asked.
        counts: how often each action was done; also how many of them `failed`, and how many scopes were `skipped`.
        prospects: what the jobs of the scopes that were decided about can count on, by job key.
        refused: queued jobs that may have no runner, and why.
        settled: what became of each action.
        gaps: what is not known.
    """

    def __init__(self, settings: Settings, tasks: Sequence[TaskState], now: datetime, rule: AccountRule) -> None:
        self._settings = settings
        self._web_url = settings.github_web_url
        self.tasks = tasks
        self.now = now
        self.rule = rule
        self.latest_events: dict[str, WorkflowJobEvent] = {}
        self.scopes: dict[str, ScopeFacts] = {}
        self.node_slots: Mapping[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.prospects: dict[str, Prospect] = {}
        self.refused: list[tuple[WaitingJob, str]] = []
        self.settled: list[Settled] = []
        self.gaps: list[Gap] = []
        self._open: set[str] = set()
        # So that a pass over many scopes does not go through all tasks for each of them.
        self._by_url: dict[str, list[TaskState]] = {}
        self._by_job: dict[str, list[TaskState]] = {}
        for task in tasks:
            self._by_url.setdefault(task.notes.url, []).append(task)
            self._by_job.setdefault(task.job_key, []).append(task)
        for task in sorted(tasks, key=lambda task: task.created_at, reverse=True):
            event = task.event
            if event is not None and rule.refusal(event) is None:
                self.latest_events.setdefault(event.repository.full_name, event)
                self.scope_of(event)

    def scope_of(self, event: WorkflowJobEvent) -> ScopeFacts:
        """Return the facts of the scope where the job's runner registers."""
        scope = runner_scope(event, self._settings)
        facts = self.scopes.setdefault(self._url(scope), ScopeFacts(scope))
        if facts.installation is None:
            facts.installation = event.installation_id
        return facts

    def listed_first(self) -> Sequence[ScopeFacts]:
        """Return the scopes whose runners are listed before jobs are looked for; elsewhere, only where jobs turn up.

        Where repositories are scopes of their own, the lists of all of them could use up the calls of every pass.
        """
        oldest = self.now - LISTED_AFTER_THE_END
        lately = {task.notes.url for task in self.tasks if task.state != "finished" or task.end > oldest}
        others = sorted(url for url in self.scopes if url not in lately)
        # The timer is late or early by some seconds, so this is the nearest turn.
        turn = round(self.now.timestamp() / (60 * self._settings.reconcile_minutes))
        begin = turn * OTHERS_PER_PASS % max(1, len(others))
        now_others = (others + others)[begin : begin + min(OTHERS_PER_PASS, len(others))]
        return [facts for url, facts in self.scopes.items() if url in lately] + [self.scopes[url] for url in now_others]

    def add_job(self, event: WorkflowJobEvent) -> None:
        """Take note of a queued job if it is to get a runner."""
        job = _waiting_job(event, self._settings)
        if job is not None:
            self.scope_of(event).jobs[job.job_key] = job

    def refuse(self, event: WorkflowJobEvent, reason: str) -> None:
        """Take note of a queued job that may have no runner although a profile serves it."""
        job = _waiting_job(event, self._settings)
        if job is not None:
            self.refused.append((job, reason))

    def leave_open(
        self, repository: str, known_event: WorkflowJobEvent | None, reason: str, *, may_need_others: bool = True
    ) -> None:
        """Take note that not all queued jobs of a repository are known.

        The tasks that were started for its jobs stay. The other repositories of the scope go on.

        Args:
            repository: its full name.
            known_event: a job of the repository; without it, every scope that may be the repository's is affected.
            reason: why they are not known.
            may_need_others: whether no task of the scope is to be ended as surplus, because this repository might need
                it.
        """
        self._open.add(repository.lower())
        self.gaps.append(Gap(what=f"repository {repository}", skipped=False, reason=reason))
        if may_need_others:
            affected = [self.scope_of(known_event)] if known_event is not None else self._possible_scopes(repository)
            for facts in affected:
                facts.complete = False

    def view(self, facts: ScopeFacts, runners: Sequence[Runner]) -> ScopeView:
        """Return what is known of a scope, for the decision."""
        url = self._url(facts.scope)
        tasks = self._by_url.get(url, [])
        return ScopeView(
            access=facts.access,
            jobs=list(facts.jobs.values()),
            runners=runners,
            tasks=tasks,
            others=[task for key in facts.jobs for task in self._by_job.get(key, ()) if task.notes.url != url],
            complete=facts.complete and facts.all_runners,
            all_runners=facts.all_runners,
            period=timedelta(minutes=self._settings.reconcile_minutes),
            assumed=self._assumed(tasks, facts.jobs),
            node_slots=self.node_slots,
        )

    def _assumed(self, tasks: Iterable[TaskState], known: Container[str]) -> list[WaitingJob]:
        """Return the jobs of living tasks that may be queued in a repository that was left open."""
        assumed: dict[str, WaitingJob] = {}
        for task in tasks:
            event = task.event if task.state != "finished" else None
            if event is None or task.job_key in known or event.repository.full_name.lower() not in self._open:
                continue
            job = _waiting_job(event, self._settings)
            if job is not None and job.age(self.now) < QUEUED_AT_MOST:
                assumed[job.job_key] = job
        return list(assumed.values())

    def summary(self) -> dict[str, object]:
        """Return what the pass saw and did, for the log."""
        ages = [job.age(self.now) for facts in self.scopes.values() for job in facts.jobs.values()]
        return {
            "scopes": len(self.scopes),
            "jobs": len(ages),
            "longest_wait_s": round(max(ages, default=timedelta()).total_seconds()),
            "waiting": sum(task.state == "waiting" for task in self.tasks),
            "running": sum(task.state == "running" for task in self.tasks),
            "actions": dict(self.counts),
        }

    def _possible_scopes(self, repository: str) -> list[ScopeFacts]:
        scopes = [Scope("organization", repository.partition("/")[0]), Scope("repository", repository)]
        if self._settings.github_enterprise is not None:
            scopes.append(Scope("enterprise", self._settings.github_enterprise))
        urls = [self._url(scope) for scope in scopes]
        return [self.scopes[url] for url in urls if url in self.scopes]

    def _url(self, scope: Scope) -> str:
        return scope.url(self._web_url)


def _waiting_job(event: WorkflowJobEvent, settings: Settings) -> WaitingJob | None:
    """Return the job if it is to get a runner."""
    admission = admit(event, settings)
    if not isinstance(admission, Admitted):
        return None
    labels = frozenset(label.lower() for label in event.workflow_job.labels)
    closed = groups_of_others(settings.profiles, event.repository.full_name)
    return WaitingJob(event, admission.profile, labels, closed)
