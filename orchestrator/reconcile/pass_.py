"""One pass: what it has learned, scope by scope, and what it has done (pure)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.config.profiles import groups_of_others
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.view import ScopeView, WaitingJob
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope
from orchestrator.runners.task import TaskState


@dataclass
class ScopeFacts:
    """What a pass has learned about one scope.

    Attributes:
        scope: the scope.
        installation: the GitHub App's, if an event named it.
        jobs: its queued jobs, by job key.
        runners: those registered there; None while they are not listed.
        complete: whether every repository that has tasks here was looked at.
        problem: why nothing can be decided here, if so.
    """

    scope: Scope
    installation: int | None = None
    jobs: dict[str, WaitingJob] = field(default_factory=dict)
    runners: Sequence[Runner] | None = None
    complete: bool = True
    problem: str | None = None

    @property
    def access(self) -> ScopeAccess:
        """The scope and how to reach it."""
        return ScopeAccess(self.scope, self.installation)


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
    """

    def __init__(self, settings: Settings, tasks: Sequence[TaskState], now: datetime, rule: AccountRule) -> None:
        self._settings = settings
        self.tasks = tasks
        self.now = now
        self.rule = rule
        self.latest_events: dict[str, WorkflowJobEvent] = {}
        self.scopes: dict[str, ScopeFacts] = {}
        self.node_slots: Mapping[str, int] = {}
        self.counts: Counter[str] = Counter()
        for task in sorted(tasks, key=lambda task: task.created_at, reverse=True):
            if task.notes.origin is not None and rule.refusal(task.notes.origin.event) is None:
                event = task.notes.origin.event
                self.latest_events.setdefault(event.repository.full_name, event)
                self.scope_of(event)

    def scope_of(self, event: WorkflowJobEvent) -> ScopeFacts:
        """Return the facts of the scope where the job's runner registers."""
        scope = runner_scope(event, self._settings)
        facts = self.scopes.setdefault(self._url(scope), ScopeFacts(scope))
        if facts.installation is None:
            facts.installation = event.installation_id
        return facts

    def add_job(self, event: WorkflowJobEvent) -> None:
        """Take note of a queued job if it is to get a runner."""
        job = _waiting_job(event, self._settings)
        if job is not None:
            self.scope_of(event).jobs[job.job_key] = job

    def add_problem(self, repository: str, known_event: WorkflowJobEvent | None, error: UpstreamError) -> None:
        """Take note that the queued jobs of a repository are unknown.

        If GitHub does not answer, nothing is decided in the scope of the repository's runners. If GitHub refuses (404,
        403), the other repositories of the scope go on, but no task there is ended as surplus, because this repository
        might need it.

        Args:
            repository: its full name.
            known_event: a job of the repository; without it, every scope that may be the repository's is affected.
            error: what went wrong.
        """
        affected = [self.scope_of(known_event)] if known_event is not None else self._possible_scopes(repository)
        for facts in affected:
            facts.complete = False
            if not isinstance(error, GitHubRefused):
                facts.problem = f"{repository}: {error}"

    def view(self, facts: ScopeFacts, runners: Sequence[Runner]) -> ScopeView:
        """Return what is known of a scope, for the decision."""
        url = self._url(facts.scope)
        elsewhere = (task for task in self.tasks if task.notes.url != url) if facts.jobs else ()
        return ScopeView(
            access=facts.access,
            jobs=list(facts.jobs.values()),
            runners=runners,
            tasks=[task for task in self.tasks if task.notes.url == url],
            others=[task for task in elsewhere if task.job_key in facts.jobs],
            complete=facts.complete,
            period=timedelta(minutes=self._settings.reconcile_minutes),
            node_slots=self.node_slots,
        )

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
        return scope.url(self._settings.github_web_url)


def _waiting_job(event: WorkflowJobEvent, settings: Settings) -> WaitingJob | None:
    """Return the job if it is to get a runner."""
    admission = admit(event, settings)
    if not isinstance(admission, Admitted):
        return None
    labels = frozenset(label.lower() for label in event.workflow_job.labels)
    closed = groups_of_others(settings.profiles, event.repository.full_name)
    return WaitingJob(event, admission.profile, labels, closed)
