"""What lies around a provisioner: it does as told, and remembers."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.azure.batch_jobs import job_id
from orchestrator.config.profiles import Profile, RegistrationKind
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import RunnerNameTaken
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.claim import ClaimRegistrar
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import Provisioner
from orchestrator.runners.registration import Registration
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.task import RunnerTask, TaskState
from tests.builders import queued_job, settings
from tests.fakes import ManualClock

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OWN = "runner-29679449526-1"


class Registry:
    """A registrar that knows which names are taken."""

    def __init__(self, *taken: str, kind: RegistrationKind = "token") -> None:
        self.taken = set(taken)
        self.kind: RegistrationKind = kind
        self.asked: list[tuple[ScopeAccess, str, tuple[str, ...], str | None]] = []
        self.withdrawn: list[int | None] = []
        self.withdrawal: Exception | None = None

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register a runner."""
        self.asked.append((access, name, tuple(labels), group))
        if name in self.taken:
            raise RunnerNameTaken(name)
        return Registration(self.kind, "s3cret", NOW + timedelta(hours=1), 7)

    def withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        """Note what was given back."""
        assert isinstance(access.scope, Scope)
        self.withdrawn.append(registration.runner_id)
        if self.withdrawal:
            raise self.withdrawal


class TaskList:
    """Tasks, by their ids."""

    def __init__(self, *existing: str) -> None:
        self.existing = set(existing)
        self.states: dict[str, TaskState] = {}
        self.added: list[RunnerTask] = []
        self.ended: list[str] = []
        self.looked_up: list[str] = []
        self.created: list[str] = []
        self.starts_before_it_ends = False
        self.trouble: Exception | None = None

    def add(self, task: RunnerTask) -> bool:
        """Add one unless its id is known."""
        if self.trouble:
            raise self.trouble
        if task.task_id in self.existing:
            return False
        self.existing.add(task.task_id)
        self.added.append(task)
        return True

    def state(self, pool: str, task_id: str, *, account: str) -> TaskState | None:
        """Look for one."""
        assert account == "acme"
        self.looked_up.append(task_id)
        known = TaskState(task_id, pool, "waiting", NOW) if task_id in self.existing else None
        return self.states.get(task_id, known)

    def end_waiting(self, pool: str, task_id: str, *, account: str) -> bool:
        """End one that waits."""
        assert account == "acme"
        task = self.states.get(task_id)
        if task is None or task.state != "waiting" or task.pool != pool or self.starts_before_it_ends:
            return False
        self.ended.append(task_id)
        del self.states[task_id]
        return True


class OpenBoundary:
    """A boundary that admits every job, except where a test says why not.

    Attributes:
        account: why no account may have runners.
        job: why no job may have one.
    """

    def __init__(self, account: str | None = None, job: str | None = None) -> None:
        self.account = account
        self.job = job

    def account_refusal(self, event: WorkflowJobEvent) -> str | None:
        """Refuse the account."""
        assert event.workflow_job.id
        return self.account

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Refuse the job."""
        assert profile.name
        return self.account_refusal(event) or self.job


def provisioner(
    registry: Registry,
    tasks: TaskList,
    configured: Settings | None = None,
    asked: Callable[[WorkflowJobEvent], bool | None] = lambda _event: True,
    jit: Registry | None = None,
    boundary: OpenBoundary | None = None,
    take_share: Callable[[WorkflowJobEvent], None] = lambda _event: None,
) -> Provisioner:
    """Return a provisioner whose clock stands still; both registrations are the registry's, unless JIT has its own."""
    configured = configured or settings()
    clock, keys = ManualClock(NOW), configured.claim_keys
    return Provisioner(
        configured,
        {"token": registry, "jit": jit or registry},
        tasks,
        boundary=boundary or OpenBoundary(),
        is_queued=asked,
        created=tasks.created.append,
        clock=clock,
        within_quota=lambda _event, _profile, start: start(),
        take_share=take_share,
        claims=ClaimRegistrar(keys[0], job_id, clock) if keys else None,
    )


def provision(
    registry: Registry,
    tasks: TaskList,
    *labels: str,
    configured: Settings | None = None,
    jit: Registry | None = None,
    **changes: Any,
) -> Outcome:
    """Provision the runner of a queued job."""
    configured = configured or settings()
    event = workflow_job_event(json.dumps(queued_job(*labels, **changes)).encode())
    admission = admit(event, configured)
    assert isinstance(admission, Admitted)
    return provisioner(registry, tasks, configured, jit=jit).handle(event, admission.profile)
