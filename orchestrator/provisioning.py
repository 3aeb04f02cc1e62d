"""One queued workflow job -> one runner task: the use case behind the webhook and the queue.

Runners are counted, not bound: GitHub hands a job to any idle runner that matches. So a job that ends with a runner is
no reason to take a waiting task away, whosever it was; only one that ends without ever getting one leaves one too many.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from orchestrator.errors import RunnerNameTaken, SettingsError, UpstreamError
from orchestrator.github.scope import Registrant, Scope
from orchestrator.profiles import RunnerProfile
from orchestrator.registration import Registrar, another_name
from orchestrator.runner_version import is_behind, require_accepted
from orchestrator.settings import Settings
from orchestrator.webhook import WorkflowJob, WorkflowJobEvent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunnerTask:
    """A runner's container as Batch shall run it.

    Attributes:
        task_id: unique for the workflow job and its attempt, which makes starting it again harmless.
        pool: the pool's id.
        display_name: what the portal shows.
        image: full image reference.
        os: what the pool's nodes run.
        run_options: for creating the container, beside `--rm`.
        slots: task slots on the node.
        max_hours: wall-clock limit.
        environment: what the runner image reads; holds secrets.
    """

    task_id: str
    pool: str
    display_name: str
    image: str
    os: Literal["linux", "windows"]
    run_options: str
    slots: int
    max_hours: float
    environment: Mapping[str, str] = field(repr=False)


class Tasks(Protocol):
    """Where runner tasks run."""

    def add(self, task: RunnerTask) -> bool:
        """Create the task; return False if there is one of its id already."""

    def exists(self, pool: str, task_id: str) -> bool:
        """Whether there is a task of this id, in whatever state."""

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits for a node; return False if there is none that does."""


@dataclass(frozen=True)
class Outcome:
    """What was done about a job.

    Attributes:
        result: its runner task was created, existed already, was removed, or is left alone.
        task_id: the task.
        pool: where it runs.
        image: what it runs.
        profile: the profile that it came from.
    """

    result: Literal["created", "exists", "removed", "left"]
    task_id: str
    pool: str
    image: str
    profile: str


class Provisioner:
    """Starts runners.

    Args:
        settings: the app settings.
        registrar: gives a runner its registration.
        tasks: takes the runner's task.
    """

    def __init__(self, settings: Settings, registrar: Registrar, tasks: Tasks) -> None:
        self._settings = settings
        self._registrar = registrar
        self._tasks = tasks

    def serve(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        """Start a queued job's runner unless that was done before; take back that of a job that ended without one.

        Raises:
            TransientError: GitHub or Batch is not answering; the same call later may succeed.
            UpstreamRefused: GitHub or Batch will not do it until somebody changes something.
            SettingsError: GitHub refuses the runner in the profile's image.
        """
        if event.action == "queued":
            return self._start_runner(event, profile)
        # The task ends but stays known, so that a late or repeated `queued` does not start it again. A runner that is
        # starting already may serve another job, and leaves by itself if none comes.
        task = task_id(event.workflow_job)
        result: Literal["removed", "left"] = "removed" if self._tasks.end_waiting(profile.pool, task) else "left"
        return Outcome(result, task, profile.pool, profile.image, profile.name)

    def _start_runner(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        self._check_runner_version(profile)
        job = event.workflow_job
        installation = event.installation.id if event.installation else None
        registrant = Registrant(runner_scope(event, self._settings), installation)
        labels = profile.runner_labels(job.labels)
        created = Outcome("created", task_id(job), profile.pool, profile.image, profile.name)
        already = replace(created, result="exists")

        name = created.task_id
        try:
            registration = self._registrar.register(registrant, name, labels, profile.runner_group)
        except RunnerNameTaken:
            # Either the job has its runner, or an earlier try got no further than its registration.
            if self._tasks.exists(profile.pool, created.task_id):
                return already
            name = another_name(name)
            registration = self._registrar.register(registrant, name, labels, profile.runner_group)

        environment = {
            "GHR_URL": registrant.scope.url(self._settings.github_web_url),
            "GHR_NAME": name,
            "GHR_LABELS": ",".join(labels),
            **({"GHR_GROUP": profile.runner_group} if profile.runner_group else {}),
            "GHR_EPHEMERAL": "true",
            "GHR_IDLE_MINUTES": f"{profile.idle_minutes:g}",
            **registration.environment,
        }
        if self._tasks.add(_runner_task(event, profile, environment)):
            return created
        try:
            self._registrar.withdraw(registrant, registration)
        except UpstreamError as error:
            logger.warning("a registration that nobody needs stays until GitHub forgets it: %s", error)
        return already

    def _check_runner_version(self, profile: RunnerProfile) -> None:
        version = profile.runner_version or self._settings.runner_version
        own = profile.runner_version not in (None, self._settings.runner_version)
        setting = f"RunnerProfiles[{profile.name}].runnerVersion" if own else "RunnerVersion"
        require_accepted(version, setting)
        if is_behind(version):
            logger.warning("%s: %s is behind; GitHub stops a runner 30 days after its successor", setting, version)


def task_id(job: WorkflowJob) -> str:
    """Return the id of a job's runner task: the idempotency key of everything that starts runners."""
    return f"runner-{job.id}-{job.run_attempt}"


def runner_scope(event: WorkflowJobEvent, settings: Settings) -> Scope:
    """Return where the job's runner registers, by `RunnerScope`; a repository where there is no organization."""
    if settings.runner_scope == "enterprise":
        if settings.github_enterprise is None:
            raise SettingsError([("GithubEnterprise", "is missing: RunnerScope is enterprise")])
        return Scope("enterprise", settings.github_enterprise)
    if settings.runner_scope == "organization" and event.organization is not None:
        return Scope("organization", event.organization.login)
    return Scope("repository", event.repository.full_name)


def _runner_task(event: WorkflowJobEvent, profile: RunnerProfile, environment: Mapping[str, str]) -> RunnerTask:
    job = event.workflow_job
    return RunnerTask(
        task_id=task_id(job),
        pool=profile.pool,
        display_name=f"{event.repository.full_name} run {job.run_id} job {job.id} attempt {job.run_attempt}",
        image=profile.image,
        os=profile.os,
        run_options=profile.run_options,
        slots=profile.slots,
        max_hours=profile.max_hours or 0,
        environment=environment,
    )
