"""One queued workflow job, one runner task: the use case behind the webhook, the queue and the control loop."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile, RegistrationKind
from orchestrator.config.runner_version import is_behind, require_accepted
from orchestrator.config.settings import Settings, TaskLogs
from orchestrator.errors import RunnerNameTaken, TransientError, UpstreamError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.result import Result
from orchestrator.runners.cancellation import TasksById, cancel
from orchestrator.runners.claim import ClaimRegistrar
from orchestrator.runners.earlier_tasks import earlier_tasks
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.outcome import Outcome, OutcomeResult
from orchestrator.runners.registration import Registrar, Registration, another_name
from orchestrator.runners.scope import ScopeAccess, runner_scope
from orchestrator.runners.task import PROFILE, RunnerTask, TaskState, task_id

log = Log(__name__)

# GitHub is asked about a job that was queued longer ago before it gets a runner: it may be an old delivery, sent again.
OLD_DELIVERY_AFTER = timedelta(minutes=2)

# Does what an admitted job needs: `Provisioner.handle`.
type HandleJob = Callable[[WorkflowJobEvent, Profile], Outcome]
# Starts a job's runner by its last argument if the quotas have room for it: `quotas.control.QuotaControl.within`.
type WithinQuota = Callable[[WorkflowJobEvent, Profile, Callable[[], Outcome]], Outcome]


class Tasks(TasksById, Protocol):
    """The runner tasks on Batch."""

    def add(self, task: RunnerTask) -> bool:
        """Create the task; return False if there is one of its id already."""


class JobBoundary(Protocol):
    """Tells which jobs may have no runner: `runners.boundary.Boundary`."""

    def account_refusal(self, event: WorkflowJobEvent) -> str | None:
        """Return why the job's account may have no runners; None if it may."""

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why a job may have no runner of a profile; None if it may."""


class Provisioner:
    """Starts runners, and cancels those that nobody needs any more. Safe under threads.

    Args:
        settings: the app settings.
        registrars: give a runner its registration, in the way that its profile asks for.
        tasks: takes the runner's task.
        boundary: tells which jobs may have no runner.
        is_queued: asks GitHub whether a job waits; None where it may not be asked.
        created: is called with the pool whenever a task was created; it must not fail.
        clock: the time.
        within_quota: starts the runner of a delivery if there is room for it.
        take_share: is called with each job whose runner is about to be registered (JIT); raises TransientError if its
            repository has to let others go first.
        claims: gives a container its claim, where a profile asks for one.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a start needs
        self,
        settings: Settings,
        registrars: Mapping[RegistrationKind, Registrar],
        tasks: Tasks,
        *,
        boundary: JobBoundary,
        is_queued: Callable[[WorkflowJobEvent], bool | None],
        created: Callable[[str], None],
        clock: Clock,
        within_quota: WithinQuota,
        take_share: Callable[[WorkflowJobEvent], None],
        claims: ClaimRegistrar | None = None,
    ) -> None:
        self._settings = settings
        self._registrars = registrars
        self._tasks = tasks
        self._boundary = boundary
        self._is_queued = is_queued
        self._created = created
        self._clock = clock
        self._within_quota = within_quota
        self._take_share = take_share
        self._claims = claims

    def handle(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        """Start a queued job's runner unless it has one; cancel the runner of a job that ended without having had one.

        Raises:
            TransientError: GitHub or Batch is not answering; the same call later may succeed.
            UpstreamRefused: GitHub or Batch will not do it until somebody changes something.
            SettingsError: GitHub refuses the runner in the profile's image.
        """
        refusal = self._boundary.account_refusal(event)
        if refusal is not None:
            # A job that ended never had a task, so Batch is not asked.
            result: OutcomeResult = Result.LEFT if event.action == "completed" else Result.REFUSED
            return Outcome(result, task_id(event.workflow_job), profile, refusal)
        if event.action == "completed":
            return cancel(self._tasks, event, profile)
        queued_at = event.workflow_job.created_at
        is_old = queued_at is not None and self._clock() - queued_at > OLD_DELIVERY_AFTER
        is_queued = self._asked(event, profile) if is_old else None
        if is_queued is False:
            return Outcome(Result.GONE, task_id(event.workflow_job), profile)
        return self._within_quota(
            event,
            profile,
            lambda: self._start_unless_served(
                event, profile, 0, lambda: is_queued if is_old else self._is_queued(event)
            ),
        )

    def _asked(self, event: WorkflowJobEvent, profile: Profile) -> bool | None:
        """Ask whether a job waits, if GitHub tells: what claims asks again when it starts, and delays no task now."""
        try:
            return self._is_queued(event)
        except UpstreamError:
            if profile.registration == "claim":
                return None
            raise

    def start(self, event: WorkflowJobEvent, profile: Profile, replacement: int = 0) -> Outcome:
        """Start a runner for a job that GitHub lists as queued, unless it has one or may have none.

        Args:
            event: the job.
            profile: the profile that serves it.
            replacement: 0 for the job's first runner; see `runners.task.task_id`. If there is a task of that number and
                it is over, the next number is taken.

        Raises:
            UpstreamError: as `handle`.
            SettingsError: as `handle`.
        """
        return self._start_unless_served(event, profile, replacement, lambda: self._is_queued(event) is not False)

    def _start_unless_served(
        self, event: WorkflowJobEvent, profile: Profile, number: int, is_queued: Callable[[], bool | None]
    ) -> Outcome:
        """Start a runner unless there is a task of the job that waits or runs.

        GitHub sends `queued` again when a job was approved, and an operator may redeliver it. By then the first task
        may have ended, without a job or with another one. GitHub is asked, because a late copy of the first delivery
        looks the same.

        Args:
            event: the job.
            profile: the profile that serves it.
            number: the number of the replacement to begin with.
            is_queued: asks GitHub whether the job waits; None if it may not be asked.
        """
        outcome = self._start_once(event, profile, number)
        if outcome.result != Result.EXISTS:
            return outcome
        earlier = earlier_tasks(lambda task: self._state(event, profile, task), event.workflow_job, number)
        if earlier is None:  # somebody has deleted it since
            return outcome
        known = Outcome(Result.EXISTS, earlier.last.task_id, profile, earlier.story)
        if earlier.lives:
            return known
        still_queued = is_queued()
        if still_queued is False:
            return replace(known, result=Result.GONE)
        if still_queued is None and (earlier.last.ended_by_request or earlier.last.ran_a_job):
            return known  # probably the job was cancelled, or was the one that ran
        another = self._start_once(event, profile, earlier.next_number)
        return replace(another, reason=another.reason or earlier.story)

    def _start_once(self, event: WorkflowJobEvent, profile: Profile, replacement: int) -> Outcome:
        """Start a runner for a queued job unless there is a task of its id, or the job may have no runner."""
        refusal = self._boundary.refusal(event, profile)
        if refusal is not None:
            return Outcome(Result.REFUSED, task_id(event.workflow_job, replacement), profile, refusal)
        self._check_runner_version(profile)
        access = ScopeAccess(runner_scope(event, self._settings), event.installation_id)
        labels, group = profile.runner_labels(event.workflow_job.labels), access.scope.group(profile.runner_group)
        task = task_id(event.workflow_job, replacement)
        named = self._register(event, profile, access, task, labels, group)
        if named is None:
            return Outcome(Result.EXISTS, task, profile)
        name, registration = named
        notes = TaskNotes(
            url=access.scope.url(self._settings.github_web_url),
            name=name,
            labels=labels,
            group=group,
            idle_minutes=profile.idle_minutes,
            registration=registration.kind,
            expires_at=registration.expires_at,
            origin=Origin(event=event, profile=profile.name),
            claim_url=self._settings.claim_url if registration.kind == "claim" else None,
        )
        try:
            added = self._tasks.add(_runner_task(task, event, profile, notes, registration, self._settings.task_logs))
        except UpstreamRefused:  # there is no task; after any other failure there may be one
            self._withdraw(access, registration)
            raise
        if not added:
            self._withdraw(access, registration)
            return Outcome(Result.EXISTS, task, profile)
        self._created(profile.pool)
        return Outcome(Result.CREATED, task, profile)

    def _register(
        self,
        event: WorkflowJobEvent,
        profile: Profile,
        access: ScopeAccess,
        task: str,
        labels: tuple[str, ...],
        group: str | None,
    ) -> tuple[str, Registration] | None:
        """Return the runner's name and registration; None if the job has its task already."""
        if profile.registration == "claim" and self._claims is not None:
            account = event.repository.owner.login
            return task, self._claims.claim(task, profile, account, access, labels, group)
        if profile.registration == "jit":
            self._take_share(event)
        registrar = self._registrars[profile.registration]
        try:
            return task, registrar.register(access, task, labels, group)
        except RunnerNameTaken:
            # Either the job has its runner, or an earlier attempt got no further than its registration.
            if self._state(event, profile, task) is not None:
                return None
        name = another_name(task)
        try:
            return name, registrar.register(access, name, labels, group)
        except RunnerNameTaken as error:  # taken by this very call, whose first answer was lost; there are other names
            raise TransientError(str(error)) from None

    def _state(self, event: WorkflowJobEvent, profile: Profile, task: str) -> TaskState | None:
        return self._tasks.state(profile.pool, task, account=event.repository.owner.login)

    def _withdraw(self, access: ScopeAccess, registration: Registration) -> None:
        if registration.kind == "claim":  # nobody has registered yet
            return
        try:
            self._registrars[registration.kind].withdraw(access, registration)
        except UpstreamError as error:
            message = "a registration that nobody needs stays until GitHub forgets it"
            log(logging.WARNING, Line.REGISTRATION_LEFT, message=message, reason=str(error))

    def _check_runner_version(self, profile: Profile) -> None:
        version = profile.runner_version
        from_profile = version != self._settings.runner_version
        setting = f"RunnerProfiles[{profile.name}].runnerVersion" if from_profile else "RunnerVersion"
        require_accepted(version, setting)
        if is_behind(version):
            message = f"{setting}: {version} is behind; GitHub stops a runner 30 days after its successor"
            log(logging.WARNING, Line.RUNNER_VERSION, message=message)


def _runner_task(
    name: str,
    event: WorkflowJobEvent,
    profile: Profile,
    notes: TaskNotes,
    registration: Registration,
    logs: TaskLogs | None,
) -> RunnerTask:
    job = event.workflow_job
    return RunnerTask(
        task_id=name,
        pool=profile.pool,
        account=event.repository.owner.login,
        display_name=f"{event.repository.full_name} run {job.run_id} job {job.id} attempt {job.run_attempt}"
        f"{PROFILE}{profile.name}",
        image=profile.image,
        os=profile.os,
        run_options=profile.run_options,
        slots=profile.slots,
        max_hours=profile.max_hours,
        environment={**profile.environment, **notes.environment(registration.secret)},
        launch=profile.launch,
        priority=profile.priority,
        queued_at=job.created_at,
        logs=logs,
    )
