"""What is asked about a job, and what is not."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.explain.facts import DeliverySearch, Facts, JobFacts, LogTail, NextPass, PoolFacts, Unknown
from orchestrator.explain.gather import PATIENCE, Gatherer
from orchestrator.explain.reference import JobReference
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.quotas.rule import Slot
from orchestrator.runners.notes import Origin
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings, task_state
from tests.fakes import ManualClock

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NUMBER = 29679449526
JOB = JobReference(NUMBER, "acme/app")
POOL = PoolFacts("batchLinux", slots_per_node=5, nodes=0, target=0, steady=True)
SEARCH = DeliverySearch(None, complete=True)
OUTPUT = LogTail(("one",), (), "https://x/y")
RUNNER = Runner(7, "runner", online=True, busy=False, labels=frozenset())


def event(**changes: Any) -> WorkflowJobEvent:
    """Return a job, with what it says changed."""
    payload = queued_job()
    payload["workflow_job"] |= changes
    return workflow_job_event(json.dumps(payload).encode())


def task(state: str, attempt: int = 1, **values: Any) -> TaskState:
    """Return a task of the job."""
    origin = Origin(event=event(), profile="ubuntu-latest")
    return task_state(f"runner-{NUMBER}-{attempt}", "batchLinux", state, NOW, origin=origin, **values)


@dataclass
class Services:
    """GitHub and Batch as the gatherer sees them. A value that is an error is raised."""

    job_facts: Any = field(default_factory=lambda: JobFacts(event(), "queued"))
    tasks: Any = ()
    pool_facts: Any = POOL
    account: Any = None
    group: Any = None
    taken: Any = ()
    search: Any = SEARCH
    asked: list[str] = field(default_factory=list)

    def _answer(self, what: str, value: Any) -> Any:
        self.asked.append(what)
        if isinstance(value, Exception):
            raise value
        return value

    def job(self, repository: str, job_id: int) -> JobFacts | None:
        """Return what GitHub says of a job."""
        found: JobFacts | None = self._answer(f"job {job_id} of {repository}", self.job_facts)
        return found

    def runner(self, access: ScopeAccess, name: str) -> Runner | None:
        """Return a runner."""
        found: Runner | None = self._answer(f"runner {name} of {access.scope}", RUNNER)
        return found

    def find_delivery(self, job: JobFacts) -> DeliverySearch:
        """Return a search."""
        found: DeliverySearch = self._answer(f"delivery of {job.event.workflow_job.id}", self.search)
        return found

    def of_job(self, profile: Profile, account: str, job_id: int) -> Sequence[TaskState]:
        """Return tasks."""
        found: Sequence[TaskState] = self._answer(f"tasks of {job_id} in {profile.pool} for {account}", self.tasks)
        return found

    def find(self, job_id: int) -> Sequence[TaskState]:
        """Return tasks."""
        found: Sequence[TaskState] = self._answer(f"find {job_id}", self.tasks)
        return found

    def account_refusal(self, event: WorkflowJobEvent) -> str | None:
        """Return a refusal."""
        found: str | None = self._answer(f"account {event.repository.owner.login}", self.account)
        return found

    def group_refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return a refusal."""
        found: str | None = self._answer(f"group for {event.repository.name} by {profile.name}", self.group)
        return found

    def pool(self, pool: str) -> PoolFacts | None:
        """Return a pool."""
        found: PoolFacts | None = self._answer(f"pool {pool}", self.pool_facts)
        return found

    def output(self, task: TaskState) -> LogTail | None:
        """Return the end of an output."""
        found: LogTail | None = self._answer(f"output of {task.task_id}", OUTPUT)
        return found

    def slots(self) -> Sequence[Slot] | None:
        """Return the slots that are taken."""
        found: Sequence[Slot] | None = self._answer("slots", self.taken)
        return found


type Gather = Callable[..., tuple[Facts, Services]]


@pytest.fixture
def gather() -> Iterator[Gather]:
    """Return what gathers the facts about a job; it takes the settings and what the services answer."""
    with ThreadPoolExecutor(4) as own_threads:

        def made(
            reference: JobReference = JOB, configured: Settings | None = None, **values: Any
        ) -> tuple[Facts, Services]:
            clock, threads = values.pop("clock", ManualClock(NOW)), values.pop("threads", own_threads)
            services = Services(**values)
            gatherer = Gatherer(
                configured or settings(),
                github=services,
                find_delivery=services.find_delivery,
                tasks=services,
                pool=services.pool,
                rules=services,
                slots=services.slots,
                next_pass=lambda: NextPass(NOW, timedelta(minutes=5)),
                output=services.output,
                clock=clock,
                threads=threads,
            )
            return gatherer.gather(reference), services

        yield made


def test_a_job_without_a_task(gather: Gather) -> None:
    """Where there is no task, its delivery is looked for; the runner is not."""
    facts, services = gather()
    assert (facts.tasks, facts.pool, facts.delivery, facts.runner) == ((), POOL, SEARCH, None)
    assert facts.next_pass == NextPass(NOW, timedelta(minutes=5))
    assert sorted(services.asked) == [
        "account acme", f"delivery of {NUMBER}", "group for app by ubuntu-latest", f"job {NUMBER} of acme/app",
        "pool batchLinux", f"tasks of {NUMBER} in batchLinux for acme",
    ]  # fmt: skip


def test_a_task_that_waits(gather: Gather) -> None:
    """Where a task waits, neither a delivery nor a runner is looked for; tasks of other attempts do not count."""
    waits = task("waiting")
    facts, services = gather(tasks=(task("running", attempt=2), waits))
    assert facts.tasks == (waits,)
    assert not [asked for asked in services.asked if asked.startswith(("delivery", "runner", "slots"))]


@pytest.mark.parametrize(("name", "expected"), [("", f"runner-{NUMBER}-1"), ("runner-x", "runner-x")])
def test_a_task_that_runs(gather: Gather, name: str, expected: str) -> None:
    """Where a task runs, its runner is looked for by its name, where it registers."""
    facts, services = gather(tasks=(task("running", name=name),))
    assert facts.runner == RUNNER
    assert f"runner {expected} of organization acme" in services.asked


@pytest.mark.parametrize(("exit_code", "output"), [(75, OUTPUT), (0, None)])
def test_a_task_that_ended(gather: Gather, exit_code: int, output: LogTail | None) -> None:
    """The output of a task that ended without a job is read; after a job it might be the job's."""
    facts, services = gather(tasks=(task("finished", exit_code=exit_code, ended_at=NOW),))
    assert facts.output == output
    assert (f"output of runner-{NUMBER}-1" in services.asked) == (output is not None)


def test_a_job_that_nobody_serves(gather: Gather) -> None:
    """Nothing more is asked about a job that no profile serves."""
    _, services = gather(job_facts=JobFacts(event(labels=["gpu"]), "queued"))
    assert services.asked == [f"job {NUMBER} of acme/app"]


def test_a_completed_job(gather: Gather) -> None:
    """A job that has ended is judged by the rules for queued ones, and its delivery is not looked for."""
    ended = event(conclusion="success", runner_name="r").model_copy(update={"action": "completed"})
    facts, services = gather(job_facts=JobFacts(ended, "completed"))
    assert facts.profile is not None
    assert not [asked for asked in services.asked if asked.startswith("delivery")]


def test_an_id_alone(gather: Gather) -> None:
    """An id is enough where a task names the repository; the tasks are then not asked for again."""
    facts, services = gather(JobReference(NUMBER), tasks=(task("waiting"),))
    assert facts.reference == JOB
    assert services.asked[:2] == [f"find {NUMBER}", f"job {NUMBER} of acme/app"]
    assert not [asked for asked in services.asked if asked.startswith("tasks")]


@pytest.mark.parametrize("tasks", [(), TransientError("Batch does not answer")])
def test_an_id_without_a_task(gather: Gather, tasks: Any) -> None:
    """Without a task an id leads nowhere, and nothing more is asked."""
    facts, services = gather(JobReference(NUMBER), tasks=tasks)
    assert facts.job is None
    assert facts.tasks == (() if tasks == () else Unknown("Batch does not answer"))
    assert services.asked == [f"find {NUMBER}"]


def test_a_job_that_github_does_not_show(gather: Gather) -> None:
    """Where GitHub does not show the job, its tasks are looked for, and tell of it."""
    for unseen in (None, TransientError("silence")):
        facts, services = gather(job_facts=unseen)
        assert (facts.tasks, facts.profile) == ((), None)
        assert services.asked == [f"job {NUMBER} of acme/app", f"find {NUMBER}"]
    facts, _ = gather(job_facts=None, tasks=(task("waiting"),))
    assert (facts.job, facts.pool) == (None, POOL)


def test_what_is_not_answered(gather: Gather) -> None:
    """Each thing that is refused or not answered is unknown, and the others are known all the same."""
    refused, silent = GitHubRefused("no", 403), TransientError("silence")
    facts, _ = gather(account=silent, group=refused, pool_facts=silent, tasks=refused)
    assert (facts.account, facts.group) == (Unknown("silence"), Unknown("no", refused=True))
    assert (facts.pool, facts.tasks) == (Unknown("silence"), Unknown("no", refused=True))
    assert facts.delivery is None
    facts, _ = gather(job_facts=silent)
    assert facts.job == Unknown("silence")
    facts, _ = gather(search=silent)
    assert facts.delivery == Unknown("silence")


def test_quota(gather: Gather) -> None:
    """Who has the slots is asked only where a quota applies."""
    limited = settings(RunnerScope="repository", MaxRunnersPerRepository="1")
    facts, services = gather(configured=limited, taken=[Slot("runner-1-1", "acme/app", "ubuntu-latest")])
    assert facts.quota == "acme/app has 1 of 1 runners (MaxRunnersPerRepository): runner-1-1"
    assert "slots" in services.asked
    facts, _ = gather(configured=limited)
    assert facts.quota is None
    facts, _ = gather(configured=limited, taken=None)
    assert facts.quota == Unknown("no delivery was held against it here within the last minutes")


class Hanging(Executor):
    """Threads that never come to an end, while the time goes on."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        """Begin, and no more."""
        self._clock.advance(PATIENCE)
        return Future()


def test_a_call_that_hangs(gather: Gather) -> None:
    """What is not answered while the operator waits is not known."""
    clock = ManualClock(NOW)
    facts, _ = gather(clock=clock, threads=Hanging(clock))
    assert facts.job == Unknown("no answer came in time")
