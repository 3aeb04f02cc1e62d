"""One queued workflow job -> one runner task: the use case behind the webhook and the queue.

Runners are counted, not bound: GitHub hands a job to any idle runner that matches. So a job that ends with a runner is
no reason to take a waiting task away, whosever it was; only one that ends without ever getting one leaves one too many.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from orchestrator.config.profiles import RunnerProfile
from orchestrator.config.runner_version import is_behind, require_accepted
from orchestrator.config.settings import Settings
from orchestrator.errors import RunnerNameTaken, TransientError, UpstreamError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.registration import Registrar, Registration, another_name
from orchestrator.runners.scope import ScopeAccess, runner_scope
from orchestrator.runners.task import EXPIRES_AT, ORIGIN, Origin, RunnerTask, TaskState, task_id

logger = logging.getLogger(__name__)

# A job that was queued longer ago is asked after before it gets a runner: it may be an old delivery, sent once more.
STALE = timedelta(minutes=2)
# Cancelled jobs that are remembered, see `_first_time`.
REMEMBERED = 10_000


class Tasks(Protocol):
    """Where runner tasks run."""

    def add(self, task: RunnerTask) -> bool:
        """Create the task; return False if there is one of its id already."""

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits for a node; return False if there is none that does."""

    def state(self, pool: str, task_id: str) -> TaskState | None:
        """Return what is known of a task; None if there is none."""

    def waiting(self, pool: str) -> Iterable[TaskState]:
        """Return the tasks that wait for a node, the oldest first."""


@dataclass(frozen=True)
class Outcome:
    """What was done about a job.

    Attributes:
        result: its runner task was created, existed already, was removed, or is left alone; or the job is `gone`, and
            needs none.
        task_id: the task.
        pool: where it runs.
        image: what it runs.
        profile: the profile that it came from.
    """

    result: Literal["created", "exists", "removed", "left", "gone"]
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
        is_queued: asks GitHub whether a job waits; None where it may not be asked.
        clock: epoch seconds.
    """

    def __init__(
        self,
        settings: Settings,
        registrar: Registrar,
        tasks: Tasks,
        is_queued: Callable[[WorkflowJobEvent], bool | None],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._registrar = registrar
        self._tasks = tasks
        self._is_queued = is_queued
        self._clock = clock
        self._lock = threading.Lock()
        self._taken_for: OrderedDict[str, None] = OrderedDict()

    def serve(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        """Start a queued job's runner unless that was done before; take back one for a job that ended without.

        Raises:
            TransientError: GitHub or Batch is not answering; the same call later may succeed.
            UpstreamRefused: GitHub or Batch will not do it until somebody changes something.
            SettingsError: GitHub refuses the runner in the profile's image.
        """
        if event.action == "completed":
            return self._take_back(event, profile)
        queued_at = event.workflow_job.created_at
        if queued_at is not None and self._now() - queued_at > STALE and self._is_queued(event) is False:
            return Outcome("gone", task_id(event.workflow_job), profile.pool, profile.image, profile.name)
        return self.start(event, profile)

    def start(self, event: WorkflowJobEvent, profile: RunnerProfile, replacement: int = 0) -> Outcome:
        """Start a runner for a queued job unless there is a task of its id.

        Args:
            event: the job.
            profile: what serves it.
            replacement: 0 for its first runner; see `runner_task.task_id`.

        Raises:
            UpstreamError: as `serve`.
        """
        self._check_runner_version(profile)
        job = event.workflow_job
        installation = event.installation.id if event.installation else None
        access = ScopeAccess(runner_scope(event, self._settings), installation)
        labels = profile.runner_labels(job.labels)
        created = Outcome("created", task_id(job, replacement), profile.pool, profile.image, profile.name)
        already = replace(created, result="exists")

        name = created.task_id
        try:
            registration = self._registrar.register(access, name, labels, profile.runner_group)
        except RunnerNameTaken:
            # Either the job has its runner, or an earlier try got no further than its registration.
            if self._tasks.state(profile.pool, created.task_id) is not None:
                return already
            name = another_name(name)
            try:
                registration = self._registrar.register(access, name, labels, profile.runner_group)
            except RunnerNameTaken as error:  # by the same call, whose answer was lost: there are other names
                raise TransientError(str(error)) from None

        environment = {
            "GHR_URL": access.scope.url(self._settings.github_web_url),
            "GHR_NAME": name,
            "GHR_LABELS": ",".join(labels),
            **({"GHR_GROUP": profile.runner_group} if profile.runner_group else {}),
            "GHR_EPHEMERAL": "true",
            "GHR_IDLE_MINUTES": f"{profile.idle_minutes:g}",
            EXPIRES_AT: f"{registration.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            ORIGIN: Origin(event=event, profile=profile.name).text(),
            **registration.environment,
        }
        task = _runner_task(created.task_id, event, profile, environment)
        try:
            added = self._tasks.add(task)
        except UpstreamRefused:  # there is no task; after any other trouble there may be one
            self._withdraw(access, registration)
            raise
        if added:
            return created
        self._withdraw(access, registration)
        return already

    def _take_back(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        """Take one waiting task away for a job that ended without ever having had a runner: its own first.

        The task ends but stays known, so that a late or repeated `queued` does not start it again. A runner that starts
        already may serve another job, and leaves by itself if none comes.
        """
        own = task_id(event.workflow_job)
        removed = Outcome("removed", own, profile.pool, profile.image, profile.name)
        waiting = list(self._tasks.waiting(profile.pool))
        for task in waiting:
            if task.job_key == own and self._tasks.end_waiting(profile.pool, task.task_id):
                return replace(removed, task_id=task.task_id)
        return self._take_another(own, waiting, profile) or replace(removed, result="left")

    def _take_another(self, own: str, waiting: Sequence[TaskState], profile: RunnerProfile) -> Outcome | None:
        """End the youngest waiting task that is like the job's own, if that one serves or served another job."""
        state = self._tasks.state(profile.pool, own)
        if state is None or not (state.state == "running" or state.ran_a_job) or not self._first_time(own):
            return None
        for task in reversed(waiting):
            if (task.url, task.labels) == (state.url, state.labels) and self._tasks.end_waiting(
                task.pool, task.task_id
            ):
                return Outcome("removed", task.task_id, profile.pool, profile.image, profile.name)
        return None

    def _first_time(self, own: str) -> bool:
        """Whether no other task was ended for this job yet, as far as this process knows.

        A delivery that came twice to two processes ends one task too many: the next reconciliation starts it anew.
        """
        with self._lock:
            if own in self._taken_for:
                return False
            self._taken_for[own] = None
            if len(self._taken_for) > REMEMBERED:
                self._taken_for.popitem(last=False)
            return True

    def _withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        try:
            self._registrar.withdraw(access, registration)
        except UpstreamError as error:
            logger.warning("a registration that nobody needs stays until GitHub forgets it: %s", error)

    def _check_runner_version(self, profile: RunnerProfile) -> None:
        version = profile.runner_version or self._settings.runner_version
        own = profile.runner_version not in (None, self._settings.runner_version)
        setting = f"RunnerProfiles[{profile.name}].runnerVersion" if own else "RunnerVersion"
        require_accepted(version, setting)
        if is_behind(version):
            logger.warning("%s: %s is behind; GitHub stops a runner 30 days after its successor", setting, version)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _runner_task(
    name: str, event: WorkflowJobEvent, profile: RunnerProfile, environment: Mapping[str, str]
) -> RunnerTask:
    job = event.workflow_job
    return RunnerTask(
        task_id=name,
        pool=profile.pool,
        display_name=f"{event.repository.full_name} run {job.run_id} job {job.id} attempt {job.run_attempt}",
        image=profile.image,
        os=profile.os,
        run_options=profile.run_options,
        slots=profile.slots,
        max_hours=profile.max_hours or 0,
        environment=environment,
        launch=profile.launch or "batch",
    )
