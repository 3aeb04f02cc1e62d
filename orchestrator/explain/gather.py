"""The questions about one job, to GitHub and Batch: as few as its verdict needs, side by side where they can be.

At most 15 calls to GitHub and 6 to Batch. What may not be asked, or is not answered, is `Unknown` and is never guessed.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import UpstreamError, UpstreamRefused
from orchestrator.explain.facts import DeliverySearch, Facts, JobFacts, LogTail, NextPass, PoolFacts, Unknown
from orchestrator.explain.reference import JobReference
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.quotas.rule import Slot, quotas_of
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess, runner_scope
from orchestrator.runners.task import TaskState, events_of, job_key_of, task_id

# An operator waits for so long in all. What was not answered until then is not known.
PATIENCE = timedelta(seconds=20)


class JobStatus(Protocol):
    """GitHub's word on a job and on its runner."""

    def job(self, repository: str, job_id: int) -> JobFacts | None:
        """Return what GitHub says of a job; None if it does not find the job."""

    def runner(self, access: ScopeAccess, name: str) -> Runner | None:
        """Return the runner of a name; None if there is none."""


class Tasks(Protocol):
    """The runner tasks on Batch."""

    def of_job(self, profile: Profile, account: str, job_id: int) -> Sequence[TaskState]:
        """Return the tasks of a job, of all its attempts, that the profile's pool has for an account."""

    def find(self, job_id: int) -> Sequence[TaskState]:
        """Return the tasks of a job in whatever pool."""


class JobRules(Protocol):
    """Tells which jobs may have no runner: `runners.boundary.Boundary`."""

    def account_refusal(self, event: WorkflowJobEvent) -> str | None:
        """Return why the job's account may have no runners; None if it may."""

    def group_refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why GitHub would give the job no runner of the profile; None if it would."""


class Gatherer:
    """Gathers the facts about one job.

    Args:
        settings: the app settings.
        github: asks GitHub about the job and its runner.
        find_delivery: looks for the job's `queued` delivery.
        tasks: asks Batch for tasks.
        pool: asks Batch for a pool.
        rules: asks GitHub whose jobs may have runners.
        slots: returns the slots that count for quotas as they were listed last; None if that was too long ago.
        next_pass: returns what is known of the control loop's passes.
        output: returns the end of what a task has written, where a container keeps it.
        clock: the time.
        threads: make calls side by side.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that can be asked
        self,
        settings: Settings,
        *,
        github: JobStatus,
        find_delivery: Callable[[JobFacts], DeliverySearch],
        tasks: Tasks,
        pool: Callable[[str], PoolFacts | None],
        rules: JobRules,
        slots: Callable[[], Sequence[Slot] | None],
        next_pass: Callable[[], NextPass],
        output: Callable[[TaskState], LogTail | None],
        clock: Clock,
        threads: Executor,
    ) -> None:
        self._settings = settings
        self._github = github
        self._find_delivery = find_delivery
        self._tasks = tasks
        self._pool = pool
        self._rules = rules
        self._slots = slots
        self._next_pass = next_pass
        self._output = output
        self._clock = clock
        self._threads = threads

    def gather(self, reference: JobReference) -> Facts:
        """Return what is known of a job.

        Args:
            reference: names the job.
        """
        facts, next_pass = Facts(self._clock(), reference), self._ask(self._next_pass)
        if reference.repository is None:
            facts = self._found_by_task(facts)
        repository = facts.reference.repository
        if repository is not None:
            job = self._ask(lambda: self._github.job(repository, reference.job_id))
            facts = replace(facts, job=self._answer(job, facts))
            if not isinstance(facts.job, JobFacts) and reference.repository is not None:
                facts = self._found_by_task(facts)
        event = facts.job.event if isinstance(facts.job, JobFacts) else _event_of(facts.tasks)
        if event is not None:
            facts = self._about(facts, event)
        known = self._answer(next_pass, facts)
        return replace(facts, next_pass=known if isinstance(known, NextPass) else None)

    def _found_by_task(self, facts: Facts) -> Facts:
        """Return the facts with the job's tasks and the repository that they name."""
        tasks = self._answer(self._ask(lambda: tuple(self._tasks.find(facts.reference.job_id))), facts)
        event = _event_of(tasks)
        if event is None:
            return replace(facts, tasks=tasks)
        return replace(facts, tasks=tasks, reference=replace(facts.reference, repository=event.repository.full_name))

    def _about(self, facts: Facts, event: WorkflowJobEvent) -> Facts:
        admission = admit(event.model_copy(update={"action": "queued"}), self._settings)
        facts = replace(facts, admission=admission)
        if not isinstance(admission, Admitted):
            return facts
        profile = admission.profile
        account = self._ask(lambda: self._rules.account_refusal(event))
        group = self._ask(lambda: self._rules.group_refusal(event, profile))
        pool = self._ask(lambda: self._pool(profile.pool))
        tasks = self._ask(lambda: self._tasks_of(facts, event, profile))
        facts = replace(
            facts,
            profile=profile,
            account=self._answer(account, facts),
            group=self._answer(group, facts),
            pool=self._answer(pool, facts),
            tasks=self._answer(tasks, facts),
        )
        return self._about_latest(facts, event, profile)

    def _tasks_of(self, facts: Facts, event: WorkflowJobEvent, profile: Profile) -> tuple[TaskState, ...]:
        """Return the tasks of this attempt, the first one first."""
        known = facts.tasks
        if isinstance(known, Unknown) or not known:
            known = tuple(self._tasks.of_job(profile, event.repository.owner.login, event.workflow_job.id))
        key = task_id(event.workflow_job)
        own = [replace(task, pool=profile.pool) for task in known if job_key_of(task.task_id) == key]
        return tuple(sorted(own, key=lambda task: task.created_at))

    def _about_latest(self, facts: Facts, event: WorkflowJobEvent, profile: Profile) -> Facts:
        """Return the facts with what the latest task asks for; without a task with the quota and the delivery."""
        job, task = facts.job, facts.latest_task
        if task is not None and task.state == "running":
            name = task.notes.name or task.task_id
            access = ScopeAccess(runner_scope(event, self._settings), event.installation_id)
            return replace(facts, runner=self._answer(self._ask(lambda: self._github.runner(access, name)), facts))
        if task is not None and task.failed:
            return replace(facts, output=self._answer(self._ask(lambda: self._output(task)), facts))
        if task is not None or isinstance(facts.tasks, Unknown):
            return facts
        if not isinstance(job, JobFacts) or job.status != "queued":
            return facts
        queued = job
        delivery = self._ask(lambda: self._find_delivery(queued))
        search = self._answer(delivery, facts)
        return replace(facts, quota=self._quota(event, profile), delivery=search)

    def _quota(self, event: WorkflowJobEvent, profile: Profile) -> str | Unknown | None:
        quotas = quotas_of(event, profile, self._settings)
        slots = self._slots() if quotas else ()
        if slots is None:
            return Unknown("no delivery was held against it here within the last minutes")
        return next((reason for quota in quotas if (reason := quota.reason(slots))), None)

    def _ask[T](self, call: Callable[[], T]) -> "Future[T | Unknown]":
        return self._threads.submit(lambda: _asked(call))

    def _answer[T](self, future: "Future[T | Unknown]", facts: Facts) -> T | Unknown:
        """Return what was answered while somebody is still waiting; a call that hangs goes on alone."""
        try:
            return future.result(max(0.0, (facts.now + PATIENCE - self._clock()).total_seconds()))
        except TimeoutError:
            future.cancel()
            return Unknown("no answer came in time")


def _asked[T](call: Callable[[], T]) -> T | Unknown:
    """Return an answer, or why there is none."""
    try:
        return call()
    except UpstreamError as error:
        return Unknown(str(error), refused=isinstance(error, UpstreamRefused))


def _event_of(tasks: tuple[TaskState, ...] | Unknown) -> WorkflowJobEvent | None:
    """Return the job that tasks say they were started for; None if none says so."""
    if isinstance(tasks, Unknown):
        return None
    return next(events_of(reversed(tasks)), None)
