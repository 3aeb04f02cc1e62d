"""One queued workflow job -> one runner task."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import RunnerNameTaken, SettingsError, TransientError, UpstreamRefused
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners import provisioning
from orchestrator.runners.provisioning import REMEMBERED, Outcome, Provisioner
from orchestrator.runners.registration import Registration, another_name
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope
from orchestrator.runners.task import Origin, RunnerTask, TaskState
from tests.builders import queued_job, settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OWN = "runner-29679449526-1"


class Registry:
    """A registrar that knows which names are taken."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.asked: list[tuple[ScopeAccess, str, tuple[str, ...], str | None]] = []
        self.withdrawn: list[int | None] = []
        self.withdrawal: Exception | None = None

    def register(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register a runner."""
        self.asked.append((access, name, tuple(labels), group))
        if name in self.taken:
            raise RunnerNameTaken(name)
        return Registration({"GHR_TOKEN": "s3cret"}, NOW + timedelta(hours=1), 7)

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

    def state(self, pool: str, task_id: str) -> TaskState | None:
        """Look for one."""
        known = TaskState(task_id, pool, "finished", NOW) if task_id in self.existing else None
        return self.states.get(task_id, known)

    def waiting(self, pool: str) -> Sequence[TaskState]:
        """List those that wait."""
        return [task for task in self.states.values() if task.state == "waiting" and task.pool == pool]

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End one that waits."""
        if task_id not in [task.task_id for task in self.waiting(pool)]:
            return False
        self.ended.append(task_id)
        del self.states[task_id]
        return True


def provisioner(
    registry: Registry,
    tasks: TaskList,
    configured: Settings | None = None,
    asked: Callable[[WorkflowJobEvent], bool | None] = lambda _event: True,
) -> Provisioner:
    """Return a provisioner whose clock stands still."""
    return Provisioner(configured or settings(), registry, tasks, asked, NOW.timestamp)


def provision(
    registry: Registry, tasks: TaskList, *labels: str, configured: Settings | None = None, **changes: Any
) -> Outcome:
    """Provision the runner of a queued job."""
    configured = configured or settings()
    event = workflow_job_event(json.dumps(queued_job(*labels, **changes)).encode())
    admission = admit(event, configured)
    assert isinstance(admission, Admitted)
    return provisioner(registry, tasks, configured).serve(event, admission.profile)


def test_a_task_with_all_that_the_image_reads() -> None:
    """The task runs the profile's image on its pool, with the environment that the runner image reads."""
    registry, tasks = Registry(), TaskList()
    done = provision(registry, tasks, configured=settings(RunnerGroup="Batch", RunnerIdleMinutes="4", JobMaxHours="3"))
    (task,) = tasks.added
    assert done == Outcome("created", "runner-29679449526-1", "batchLinux", task.image, "ubuntu-latest")
    assert task.image == "registry.azurecr.io/githubactions-runner:ubuntu-24.04-actionsrunner"
    assert (task.pool, task.os, task.slots, task.max_hours, task.run_options) == ("batchLinux", "linux", 1, 3, "")
    assert task.display_name == "acme/app run 10743561234 job 29679449526 attempt 1"
    assert task.environment == {
        "GHR_URL": "https://github.com/acme",
        "GHR_NAME": "runner-29679449526-1",
        "GHR_LABELS": "self-hosted,linux,x64,ubuntu-latest,ubuntu-24.04",
        "GHR_GROUP": "Batch",
        "GHR_EPHEMERAL": "true",
        "GHR_IDLE_MINUTES": "4",
        "GHR_EXPIRES_AT": "2026-11-25T13:00:00Z",
        "GHR_ORIGIN": task.environment["GHR_ORIGIN"],
        "GHR_TOKEN": "s3cret",
    }
    origin = Origin.read(task.environment["GHR_ORIGIN"])
    assert origin is not None
    assert (origin.profile, origin.event.workflow_job.id) == ("ubuntu-latest", 29679449526)
    assert registry.asked == [
        (
            ScopeAccess(Scope("organization", "acme"), None),
            "runner-29679449526-1",
            ("self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"),
            "Batch",
        )
    ]


def test_windows_and_no_group() -> None:
    """A Windows job goes to the Windows pool; without a group nothing is said about one."""
    tasks = TaskList()
    provision(Registry(), tasks, "self-hosted", "windows-latest", installation={"id": 5})
    assert (tasks.added[0].pool, tasks.added[0].os) == ("batchWindows", "windows")
    assert "GHR_GROUP" not in tasks.added[0].environment


def test_a_lost_answer_takes_the_other_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a call's answer was lost, its repetition finds the name taken by itself: that is tried again, not given up."""
    monkeypatch.setattr(provisioning, "another_name", lambda name: f"{name}-1b5f")
    registry = Registry("runner-29679449526-1", "runner-29679449526-1-1b5f")
    with pytest.raises(TransientError, match="runner-29679449526-1-1b5f"):
        provision(registry, TaskList())


def test_the_same_job_twice_makes_one_task() -> None:
    """The second time the task is found to exist, and a registration made for it is given back."""
    registry, tasks = Registry(), TaskList()
    assert provision(registry, tasks).result == "created"
    again = provision(registry, tasks)
    assert (again.result, again.task_id) == ("exists", "runner-29679449526-1")
    assert len(tasks.added) == 1
    assert registry.withdrawn == [7]


class TestAJobThatEndedWithoutARunner:
    """`completed`, and no runner ever had the job."""

    def take_back(self, *states: TaskState, times: int = 1) -> tuple[TaskList, list[Outcome]]:
        """Serve the event; return the tasks and what was done."""
        registry, tasks = Registry(), TaskList()
        tasks.states = {state.task_id: state for state in states}
        event = workflow_job_event(json.dumps(queued_job(action="completed")).encode())
        admission = admit(event, settings())
        assert isinstance(admission, Admitted)
        worker = provisioner(registry, tasks)
        done = [worker.serve(event, admission.profile) for _ in range(times)]
        assert not registry.asked
        assert not tasks.added
        return tasks, done

    def state(self, name: str, state: Any = "waiting", **changes: Any) -> TaskState:
        """Return a task of the pool."""
        return TaskState(name, "batchLinux", state, NOW, url="u", labels=frozenset({"a"}), **changes)

    @pytest.mark.parametrize("own", [OWN, f"{OWN}-r2"])
    def test_its_own_task_first(self, own: str) -> None:
        """The job's own waiting task is ended, and no other."""
        tasks, (done,) = self.take_back(self.state("runner-1-1"), self.state(own), self.state("runner-2-1"))
        assert (done.result, done.task_id, done.pool) == ("removed", own, "batchLinux")
        assert tasks.ended == [own]

    @pytest.mark.parametrize("taken", [("running", {}), ("finished", {"exit_code": 0})])
    def test_another_took_its_runner(self, taken: tuple[str, dict[str, Any]]) -> None:
        """Where another job has its runner, that one's task is left over: the youngest of the same labels is ended."""
        state, changes = taken
        others = [self.state("runner-1-1"), self.state("runner-2-1")]
        foreign = replace(self.state("runner-3-1"), labels=frozenset({"b"}))
        tasks, (done,) = self.take_back(self.state(OWN, state, **changes), *others, foreign)
        assert (done.result, done.task_id) == ("removed", "runner-2-1")
        assert tasks.ended == ["runner-2-1"]

    @pytest.mark.parametrize("own", [None, ("finished", {"exit_code": 75}), ("finished", {"ended_by_request": True})])
    def test_no_runner_was_lost(self, own: tuple[str, dict[str, Any]] | None) -> None:
        """A job whose runner never came leaves nothing over: the tasks of others are left alone."""
        known = [] if own is None else [self.state(OWN, own[0], **own[1])]
        tasks, (done,) = self.take_back(self.state("runner-1-1"), *known)
        assert (done.result, done.task_id) == ("left", OWN)
        assert tasks.ended == []

    def test_nothing_waits(self) -> None:
        """A runner that starts already leaves by itself."""
        _, (done,) = self.take_back(self.state(OWN, "running"))
        assert done.result == "left"

    def test_the_same_delivery_twice(self) -> None:
        """A repeated delivery ends no second task."""
        others = [self.state("runner-1-1"), self.state("runner-2-1")]
        tasks, done = self.take_back(self.state(OWN, "running"), *others, times=2)
        assert [one.result for one in done] == ["removed", "left"]
        assert tasks.ended == ["runner-2-1"]

    def test_memory(self) -> None:
        """Only so many cancelled jobs are remembered."""
        worker = provisioner(Registry(), TaskList())
        assert all(worker._first_time(f"runner-{number}-1") for number in range(REMEMBERED + 5))
        assert len(worker._taken_for) == REMEMBERED


class TestAnOldDelivery:
    """A delivery that is sent again long after the job was queued."""

    def serve(self, answer: bool | None, **job: Any) -> tuple[Outcome, list[int]]:
        """Serve a job; return what was done, and which jobs GitHub was asked after."""
        asked: list[int] = []

        def ask(event: WorkflowJobEvent) -> bool | None:
            asked.append(event.workflow_job.id)
            return answer

        changed = queued_job()["workflow_job"] | job
        event = workflow_job_event(json.dumps(queued_job(workflow_job=changed)).encode())
        admission = admit(event, settings())
        assert isinstance(admission, Admitted)
        return provisioner(Registry(), TaskList(), asked=ask).serve(event, admission.profile), asked

    @pytest.mark.parametrize(("answer", "result"), [(True, "created"), (False, "gone"), (None, "created")])
    def test_github_is_asked(self, answer: bool | None, result: str) -> None:
        """A job that waits no longer gets no runner; one that GitHub may not be asked after gets it."""
        done, asked = self.serve(answer, created_at="2026-11-25T11:00:00Z")
        assert (done.result, asked) == (result, [29679449526])

    @pytest.mark.parametrize("created_at", ["2026-11-25T11:58:00Z", None, "soon"])
    def test_github_is_not_asked(self, created_at: str | None) -> None:
        """A fresh delivery, or one that does not say how old its job is, costs no call."""
        done, asked = self.serve(False, created_at=created_at)
        assert (done.result, asked) == ("created", [])


def test_a_second_attempt_is_another_task() -> None:
    """A re-run of the job gets a runner of its own."""
    tasks = TaskList("runner-29679449526-1")
    job = queued_job()["workflow_job"] | {"run_attempt": 2}
    assert provision(Registry(), tasks, workflow_job=job).task_id == "runner-29679449526-2"


def test_a_name_that_is_taken_by_the_jobs_own_runner() -> None:
    """If GitHub knows the runner and Batch its task, there is nothing to do."""
    registry, tasks = Registry("runner-29679449526-1"), TaskList("runner-29679449526-1")
    assert provision(registry, tasks).result == "exists"
    assert len(registry.asked) == 1


def test_a_name_that_is_taken_by_a_runner_without_task() -> None:
    """If an earlier try got no further than its registration, the task starts under another name."""
    registry, tasks = Registry("runner-29679449526-1"), TaskList()
    assert provision(registry, tasks).result == "created"
    name = registry.asked[-1][1]
    assert name.startswith("runner-29679449526-1-")
    assert tasks.added[0].environment["GHR_NAME"] == name
    assert tasks.added[0].task_id == "runner-29679449526-1"


@pytest.mark.parametrize(
    ("trouble", "withdrawn"), [(UpstreamRefused("Batch refuses it"), [7]), (TransientError("no answer"), [])]
)
def test_no_task(trouble: Exception, withdrawn: list[int]) -> None:
    """A registration is given back if Batch refuses the task; not if the task may have been created all the same."""
    registry, tasks = Registry(), TaskList()
    tasks.trouble = trouble
    with pytest.raises(type(trouble)):
        provision(registry, tasks)
    assert registry.withdrawn == withdrawn


def test_a_withdrawal_that_fails_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be given back is logged, and the job is served all the same."""
    registry, tasks = Registry(), TaskList("runner-29679449526-1")
    registry.withdrawal = TransientError("GitHub is not reachable")
    assert provision(registry, tasks).result == "exists"
    assert "GitHub is not reachable" in caplog.text


@pytest.mark.parametrize(
    ("changes", "payload", "scope"),
    [
        ({}, {}, Scope("organization", "acme")),
        ({}, {"organization": None}, Scope("repository", "acme/app")),
        ({"RunnerScope": "repository"}, {}, Scope("repository", "acme/app")),
        ({"RunnerScope": "enterprise", "GithubEnterprise": "big"}, {}, Scope("enterprise", "big")),
    ],
)
def test_scope(changes: dict[str, str], payload: dict[str, Any], scope: Scope) -> None:
    """A runner registers where `RunnerScope` says, and with the repository where there is no organization."""
    event = workflow_job_event(json.dumps(queued_job(**payload)).encode())
    assert runner_scope(event, settings(**changes)) == scope


def test_scope_without_its_enterprise() -> None:
    """Settings that were never validated as a whole still name what is missing."""
    event = workflow_job_event(json.dumps(queued_job()).encode())
    incomplete = settings().model_copy(update={"runner_scope": "enterprise"})
    with pytest.raises(SettingsError, match="GithubEnterprise"):
        runner_scope(event, incomplete)


@pytest.mark.parametrize(
    ("scope", "path", "url"),
    [
        (Scope("repository", "acme/app"), "/repos/acme/app", "https://github.com/acme/app"),
        (Scope("organization", "acme"), "/orgs/acme", "https://github.com/acme"),
        (Scope("enterprise", "big"), "/enterprises/big", "https://github.com/enterprises/big"),
    ],
)
def test_where_a_scope_is(scope: Scope, path: str, url: str) -> None:
    """Each scope has its REST path and the address that a runner registers with."""
    assert (scope.api_path, scope.url("https://github.com")) == (path, url)
    assert scope.name in str(scope)


def test_secrets_do_not_show() -> None:
    """Neither a task nor a registration shows its secrets."""
    tasks = TaskList()
    provision(Registry(), tasks)
    assert "s3cret" not in repr(tasks.added[0])
    assert "s3cret" not in repr(Registration({"GHR_TOKEN": "s3cret"}, NOW))


def test_another_name() -> None:
    """Another name is within GitHub's 64 characters, and not the same again."""
    assert len(another_name("x" * 64)) <= 64
    assert len({another_name("runner-1-1") for _ in range(20)}) > 10
