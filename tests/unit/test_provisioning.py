"""One queued workflow job -> one runner task."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.admission import Admitted, admit
from orchestrator.errors import RunnerNameTaken, SettingsError, TransientError
from orchestrator.github.scope import Registrant, Scope
from orchestrator.provisioning import Outcome, Provisioner, RunnerTask, runner_scope
from orchestrator.registration import Registration, another_name
from orchestrator.settings import Settings
from orchestrator.webhook import workflow_job_event
from tests.builders import queued_job, settings


class Registry:
    """A registrar that knows which names are taken."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.asked: list[tuple[Registrant, str, tuple[str, ...], str | None]] = []
        self.withdrawn: list[int | None] = []
        self.withdrawal: Exception | None = None

    def register(self, registrant: Registrant, name: str, labels: Sequence[str], group: str | None) -> Registration:
        """Register a runner."""
        self.asked.append((registrant, name, tuple(labels), group))
        if name in self.taken:
            raise RunnerNameTaken(name)
        return Registration({"GHR_TOKEN": "s3cret"}, 7)

    def withdraw(self, registrant: Registrant, registration: Registration) -> None:
        """Note what was given back."""
        assert isinstance(registrant.scope, Scope)
        self.withdrawn.append(registration.runner_id)
        if self.withdrawal:
            raise self.withdrawal


class TaskList:
    """Tasks, by their ids."""

    def __init__(self, *existing: str) -> None:
        self.existing = set(existing)
        self.waiting: set[str] = set()
        self.added: list[RunnerTask] = []

    def add(self, task: RunnerTask) -> bool:
        """Add one unless its id is known."""
        if task.task_id in self.existing:
            return False
        self.existing.add(task.task_id)
        self.added.append(task)
        return True

    def exists(self, pool: str, task_id: str) -> bool:
        """Look for one."""
        assert pool
        return task_id in self.existing

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End one that waits."""
        assert pool
        return task_id in self.waiting


def provision(
    registry: Registry, tasks: TaskList, *labels: str, configured: Settings | None = None, **changes: Any
) -> Outcome:
    """Provision the runner of a queued job."""
    configured = configured or settings()
    event = workflow_job_event(json.dumps(queued_job(*labels, **changes)).encode())
    admission = admit(event, configured)
    assert isinstance(admission, Admitted)
    return Provisioner(configured, registry, tasks).serve(event, admission.profile)


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
        "GHR_TOKEN": "s3cret",
    }
    assert registry.asked == [
        (
            Registrant(Scope("organization", "acme"), None),
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


def test_the_same_job_twice_makes_one_task() -> None:
    """The second time the task is found to exist, and a registration made for it is given back."""
    registry, tasks = Registry(), TaskList()
    assert provision(registry, tasks).result == "created"
    again = provision(registry, tasks)
    assert (again.result, again.task_id) == ("exists", "runner-29679449526-1")
    assert len(tasks.added) == 1
    assert registry.withdrawn == [7]


@pytest.mark.parametrize(("waiting", "result"), [({"runner-29679449526-1"}, "removed"), (set[str](), "left")])
def test_a_job_that_ended_without_a_runner(waiting: set[str], result: str) -> None:
    """Its own waiting task is ended; one that runs is left alone, and nothing is registered."""
    registry, tasks = Registry(), TaskList("runner-29679449526-1")
    tasks.waiting = waiting
    done = provision(registry, tasks, action="completed")
    assert (done.result, done.task_id, done.pool) == (result, "runner-29679449526-1", "batchLinux")
    assert not registry.asked
    assert not tasks.added


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
    assert "s3cret" not in repr(Registration({"GHR_TOKEN": "s3cret"}))


def test_another_name() -> None:
    """Another name is within GitHub's 64 characters, and not the same again."""
    assert len(another_name("x" * 64)) <= 64
    assert len({another_name("runner-1-1") for _ in range(20)}) > 10
