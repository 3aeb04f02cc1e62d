"""The door: which container gets a registration, and which does not, step by step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.claims.door import SHORT_WAIT, Admission, ClaimingTask, Door
from orchestrator.claims.use import Use, name_of
from orchestrator.errors import (
    CallsSpent,
    ClaimRefused,
    GitHubRefused,
    RunnerNameTaken,
    SettingsError,
    TransientError,
    UpstreamRefused,
)
from orchestrator.jobs.event import WorkflowJob, WorkflowJobEvent
from orchestrator.runners.claim_refusal import ClaimCode
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.registration import Registration
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import task_of_runner
from tests.builders import queued_job
from tests.fakes import ManualClock
from tests.unit.claims.builders import ACCESS, CLAIM, NOW, STARTED, TASK, TEXT

NONCE, OTHER = "0a" * 32, "0b" * 32
RECORD = name_of(CLAIM.batch_job, TASK, STARTED)


class World:
    """What lies around the door: it does as told, and takes note of each call in its order.

    Attributes:
        calls: what was asked of whom.
        tasks: what Batch says, one after the other; the last again and again.
        records: the first uses.
        job: what GitHub says of the job.
        taken: names that GitHub knows already.
        needed: the profile and the task that another job may need.
        trouble: what calls raise, by their name.
    """

    def __init__(self, *tasks: ClaimingTask | None) -> None:
        self.calls: list[str] = []
        self.tasks = list(tasks)
        self.records: dict[str, bytes] = {}
        self.job = job(conclusion=None)
        self.taken: set[str] = set()
        self.needed: set[tuple[str, str]] = set()
        self.trouble: dict[str, Exception] = {}
        self.during: dict[str, Callable[[], object]] = {}
        self.clock = ManualClock(NOW)
        self.registered: list[tuple[ScopeAccess, str, tuple[str, ...], str | None]] = []
        self.removed: list[int] = []
        self.door = Door(
            task=self.task,
            uses=self,
            registrar=self,
            remove=self.remove,
            job=self.current_job,
            is_needed=lambda profile, task: (profile, task) in self.needed,
            web_url="https://github.com",
            clock=self.clock,
        )

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.during:
            self.during.pop(name)()
        if name in self.trouble:
            raise self.trouble[name]

    def task(self, batch_job: str, task_id: str) -> ClaimingTask | None:
        """Say what Batch says."""
        assert (batch_job, task_id) == (CLAIM.batch_job, TASK)
        self._call("task")
        return self.tasks.pop(0) if len(self.tasks) > 1 else self.tasks[0]

    def create(self, name: str, content: bytes) -> bytes | None:
        """Create a record unless there is one."""
        self._call("create")
        known = self.records.get(name)
        self.records.setdefault(name, content)
        return known

    def replace(self, name: str, content: bytes) -> None:
        """Write a record."""
        self._call("replace")
        assert name in self.records
        self.records[name] = content

    def current_job(self, event: WorkflowJobEvent) -> WorkflowJob:
        """Say what GitHub says of the job."""
        assert event.workflow_job.id
        self._call("job")
        return self.job

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register a runner."""
        self._call("register")
        if name in self.taken:
            raise RunnerNameTaken(name)
        self.taken.add(name)
        self.registered.append((access, name, tuple(labels), group))
        return Registration("jit", "s3cret", NOW + timedelta(hours=1), len(self.registered))

    def withdraw(self, _access: ScopeAccess, _registration: Registration) -> None:
        """Never be asked: the door removes by number."""
        raise AssertionError

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove a runner."""
        assert access == ACCESS
        self._call("remove")
        self.removed.append(runner_id)

    def admit(self, nonce: str = NONCE) -> Admission:
        """Claim."""
        return self.door.admit(CLAIM, TEXT, nonce)

    def refused(self, nonce: str = NONCE) -> ClaimRefused:
        """Claim in vain; return the refusal."""
        with pytest.raises(ClaimRefused) as caught:
            self.admit(nonce)
        return caught.value


def job(**changes: Any) -> WorkflowJob:
    """Return what GitHub says of the job."""
    return WorkflowJob.model_validate(queued_job()["workflow_job"] | changes)


def task(age: timedelta | None = timedelta(hours=1), **changes: Any) -> ClaimingTask:
    """Return a task that runs with the claim, for a job that was queued so long ago."""
    about = queued_job()["workflow_job"] | ({} if age is None else {"created_at": (NOW - age).isoformat()})
    event = WorkflowJobEvent.model_validate(queued_job(workflow_job=about))
    notes = TaskNotes(origin=Origin(event=event, profile="ubuntu"), registration="claim")
    return replace(ClaimingTask("running", STARTED, TEXT, notes), **changes)


def test_admitted() -> None:
    """A container whose task runs gets the JIT configuration of the one runner that its claim describes."""
    world = World(task())
    admission = world.admit()
    assert admission.environment == {
        "GHR_URL": "https://github.com/acme",
        "GHR_NAME": TASK,
        "GHR_JITCONFIG": "s3cret",
    }
    assert (admission.runner, admission.remark) == (TASK, None)
    assert "s3cret" not in repr(admission)
    assert world.registered == [(ACCESS, TASK, ("self-hosted", "linux"), "Batch")]
    assert world.calls == ["task", "create", "job", "register", "replace"]
    assert Use.decode(world.records[RECORD]) == Use.of(NONCE, 1)


@pytest.mark.parametrize(
    ("found", "code", "status"),
    [
        (None, ClaimCode.NO_TASK, 403),
        (task(claim=""), ClaimCode.OTHER_CLAIM, 403),
        (task(claim="v1.other.claim"), ClaimCode.OTHER_CLAIM, 403),
        (task(claim="\ud800"), ClaimCode.OTHER_CLAIM, 403),
        (task(state="finished"), ClaimCode.ENDED, 403),
        (task(state="finished", claim="v1.other.claim"), ClaimCode.OTHER_CLAIM, 403),
        (task(state="waiting"), ClaimCode.NOT_RUNNING, 503),
        (task(started_at=None), ClaimCode.NOT_RUNNING, 503),
    ],
)
def test_batch_has_the_first_word(found: ClaimingTask | None, code: ClaimCode, status: int) -> None:
    """A task that is not there, is another one, has ended or does not run yet gets nothing; nobody else is asked."""
    world = World(found)
    error = world.refused()
    assert (error.code, error.status) == (code, status)
    assert error.retry_after == (SHORT_WAIT if status == 503 else None)
    assert world.calls == ["task"]


def test_an_answer_that_was_lost() -> None:
    """The same container may ask again: the runner that was made for it goes first, then it gets another one."""
    world = World(task())
    world.admit()
    world.calls.clear()
    again = world.admit()
    assert world.calls == ["task", "create", "remove", "job", "register", "register", "replace"]
    assert world.removed == [1]
    assert Use.decode(world.records[RECORD]) == Use.of(NONCE, 2)
    assert task_of_runner(again.runner) == TASK


def test_a_first_try_that_got_no_runner() -> None:
    """The same container may ask again where the first try came to no runner: there is none to remove."""
    world = World(task())
    world.trouble["register"] = TransientError("GitHub is silent")
    assert world.refused().code == ClaimCode.GITHUB
    world.trouble.clear()
    assert world.admit().runner == TASK
    assert world.removed == []


def test_a_stolen_claim() -> None:
    """Whoever asks with another nonce for the same start of the task gets nothing, whoever came first."""
    world = World(task())
    world.admit()
    world.calls.clear()
    error = world.refused(OTHER)
    assert (error.code, error.status, error.retry_after) == (ClaimCode.USED, 409, None)
    assert world.calls == ["task", "create", "task"]
    assert Use.decode(world.records[RECORD]) == Use.of(NONCE, 1)


def test_run_again() -> None:
    """A task that Batch ran again may claim again, though Batch told the earlier start at first."""
    second = task(started_at=STARTED + timedelta(minutes=9))
    world = World(task())
    world.admit()
    world.tasks = [task(), second]
    world.calls.clear()
    assert task_of_runner(world.admit(OTHER).runner) == TASK
    assert world.calls == ["task", "create", "task", "create", "job", "register", "register", "replace"]
    assert len(world.records) == 2


def test_run_again_and_stolen() -> None:
    """A claim that was used for both starts is refused."""
    second = task(started_at=STARTED + timedelta(minutes=9))
    world = World(task())
    world.admit()
    world.tasks = [second]
    world.admit(OTHER)
    world.tasks = [task(), second]
    assert world.refused("0c" * 32).code == ClaimCode.USED


def test_run_again_and_ended() -> None:
    """A task that ended while its use was looked up gets nothing."""
    world = World(task())
    world.admit()
    world.tasks = [task(), task(state="finished")]
    assert world.refused(OTHER).code == ClaimCode.ENDED


@pytest.mark.parametrize(
    "said",
    [
        job(),
        job(status="in_progress", runner_id=7, runner_name="other"),
        job(conclusion="success", runner_id=7, runner_name="other"),
    ],
)
def test_wanted(said: WorkflowJob) -> None:
    """Runners are counted, not bound: a job that waits, or that another runner took, is reason enough for one."""
    world = World(task())
    world.job = said
    assert world.admit().runner == TASK


def test_not_wanted() -> None:
    """Where the job ended without a runner and no other waits, none is registered."""
    world = World(task())
    world.job = job(conclusion="cancelled")
    error = world.refused()
    assert (error.code, error.status) == (ClaimCode.NOT_WANTED, 410)
    assert world.calls == ["task", "create", "job"]


def test_wanted_by_another() -> None:
    """Where the job ended without a runner, another job that the last pass found may have this one."""
    world = World(task())
    world.job = job(conclusion="cancelled")
    world.needed.add(("ubuntu", "runner-4711-1"))
    assert world.refused().code == ClaimCode.NOT_WANTED
    world.needed.add(("ubuntu", TASK))
    assert world.admit().runner == TASK


@pytest.mark.parametrize(("seconds", "asks"), [(0, False), (119, False), (120, True), (None, True)])
def test_a_fresh_job_is_not_asked_after(seconds: float | None, *, asks: bool) -> None:
    """GitHub is not asked about a job that was queued less than two minutes ago."""
    world = World(task(None if seconds is None else timedelta(seconds=seconds)))
    world.admit()
    assert ("job" in world.calls) is asks


def test_a_task_that_does_not_say_for_which_job() -> None:
    """A task whose notes cannot be read gets its runner: it may be needed."""
    world = World(task(notes=TaskNotes()))
    world.admit()
    assert "job" not in world.calls


@pytest.mark.parametrize("error", [TransientError("silent"), GitHubRefused("no", 404), UpstreamRefused("no")])
def test_github_says_nothing_of_the_job(error: Exception) -> None:
    """A GitHub that says nothing of the job keeps no container from its runner."""
    world = World(task())
    world.trouble["job"] = error
    assert world.admit().runner == TASK


def test_no_calls_left() -> None:
    """Where GitHub takes no more calls the container is told when its turn is, and nothing more is tried."""
    world = World(task())
    world.trouble["job"] = CallsSpent("GitHub takes no more calls in this minute", retry_after=41.5)
    error = world.refused()
    assert (error.code, error.status, error.retry_after) == (ClaimCode.GITHUB, 503, 41.5)
    assert world.calls[-1] == "job"


def test_a_name_that_is_taken() -> None:
    """An earlier start of the task may have left a runner of its name: the next one gets another name."""
    world = World(task())
    world.taken.add(TASK)
    admission = world.admit()
    assert admission.runner != TASK
    assert task_of_runner(admission.runner) == TASK
    assert admission.environment["GHR_NAME"] == admission.runner


def test_every_name_is_taken() -> None:
    """If the other name is taken as well, the container asks again."""
    world = World(task())
    world.trouble["register"] = RunnerNameTaken("taken")
    assert (world.refused().code, world.calls.count("register")) == (ClaimCode.GITHUB, 2)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("task", ClaimCode.BATCH),
        ("create", ClaimCode.STORAGE),
        ("remove", ClaimCode.GITHUB),
        ("register", ClaimCode.GITHUB),
    ],
)
def test_trouble(call: str, code: ClaimCode) -> None:
    """A service that does not answer is named, with the wait that it named; one that refuses is another matter."""
    for error, expected, wait in (
        (TransientError("silent", retry_after=30), code, 30),
        (TransientError("silent"), code, None),
        (UpstreamRefused("never"), ClaimCode.UPSTREAM_REFUSED, None),
        (SettingsError.of("AzureWebJobsStorage", "is missing"), ClaimCode.UPSTREAM_REFUSED, None),
    ):
        world = World(task())
        world.admit()
        world.trouble[call] = error
        refused = world.refused()
        assert (refused.code, refused.retry_after) == (expected, wait)
        assert "silent never AzureWebJobsStorage: is missing".find(str(refused)) >= 0


@pytest.mark.parametrize("error", [TransientError("silent"), SettingsError.of("AzureWebJobsStorage", "is missing")])
def test_a_runner_that_cannot_be_noted(error: Exception) -> None:
    """A runner that could not be noted is handed over all the same, and the log is told."""
    world = World(task())
    world.trouble["replace"] = error
    admission = world.admit()
    assert admission.environment["GHR_JITCONFIG"] == "s3cret"
    assert admission.remark == f"its runner could not be noted: {error}"


def test_one_at_a_time() -> None:
    """While a task's first try goes on, its second one is told to come again; afterwards it is served."""
    world = World(task())
    errors: list[ClaimRefused] = []
    world.during["register"] = lambda: errors.append(world.refused())
    world.admit()
    (error,) = errors
    assert (error.code, error.retry_after) == (ClaimCode.IN_PROGRESS, SHORT_WAIT)
    assert world.admit().runner
    assert world.removed == [1]
