"""One pass: what is asked, what is left alone when an answer is missing, and what is done and logged."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.config.profiles import RunnerProfile
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile import reconciler
from orchestrator.reconcile.reconciler import REPOSITORIES, TURNS, Reconciler, _by_turns
from orchestrator.runners.provisioning import Outcome
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import Origin, TaskState, task_id
from tests.builders import queued_job, settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LABELS = frozenset({"self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"})


def event(
    number: int, full_name: str = "acme/app", queued_at: str = "2026-11-25T11:50:00Z", **changes: Any
) -> WorkflowJobEvent:
    """Return a job that was queued ten minutes ago, or at another time."""
    owner, name = full_name.split("/")
    job = queued_job()["workflow_job"] | {"id": number, "created_at": queued_at}
    about = {
        "workflow_job": job,
        "repository": queued_job()["repository"] | {"name": name, "full_name": full_name, "owner": {"login": owner}},
        "organization": {"login": owner},
    }
    return workflow_job_event(json.dumps(queued_job(**about | changes)).encode())


def task(number: int, state: Any = "waiting", repository: str = "acme/app", **changes: Any) -> TaskState:
    """Return a task of ten minutes' age."""
    about = event(number, repository)
    at = NOW - timedelta(minutes=10)
    values: dict[str, Any] = {
        "ended_at": at if state == "finished" else None,
        "origin": Origin(event=about, profile="ubuntu-latest"),
        "url": f"https://github.com/{repository.split('/', maxsplit=1)[0]}",
        "labels": LABELS,
    }
    return TaskState(task_id(about.workflow_job), "batchLinux", state, at, **values | changes)


class World:
    """GitHub and Batch, as a pass sees them; each may be in trouble."""

    def __init__(self, configured: Settings | None = None) -> None:
        self.jobs: dict[str, list[WorkflowJobEvent]] = {}
        self.runners: list[Runner] = []
        self.installed: Mapping[str, int] = {}
        self.trouble: dict[str, UpstreamError] = {}
        self.asked: list[tuple[str, int | None]] = []
        self.listed_for: list[ScopeAccess] = []
        self.done: list[str] = []
        self.starting: set[str] = set()
        self.reconciler = Reconciler(
            configured or settings(),
            tasks=self,
            jobs=self,
            runners=self,
            starter=self,
            installed=self.installations,
            retention=timedelta(days=7),
        )

    def pass_over(self, *tasks: TaskState) -> None:
        """Make a pass."""
        self.tasks = tasks
        self.reconciler.run(tasks, NOW)

    def queued(self, repository: str, installation: int | None) -> Sequence[WorkflowJobEvent]:
        """Return what waits."""
        self.asked.append((repository, installation))
        self.fail(repository)
        return self.jobs.get(repository, [])

    def installations(self) -> Mapping[str, int]:
        """Return what the App is installed for."""
        self.fail("installations")
        return self.installed

    def listed(self, access: ScopeAccess) -> Sequence[Runner]:
        """Return who is registered."""
        self.listed_for.append(access)
        self.fail(access.scope.name)
        return self.runners

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove a runner."""
        assert access
        self.done.append(f"remove {runner_id}")

    def start(self, event: WorkflowJobEvent, profile: RunnerProfile, replacement: int = 0) -> Outcome:
        """Start a runner."""
        name = task_id(event.workflow_job, replacement)
        self.fail(name)
        self.done.append(f"start {name}")
        return Outcome("created", name, profile.pool, profile.image, profile.name)

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task, unless it has started meanwhile."""
        assert pool == "batchLinux"
        self.done.append(f"end {task_id}")
        return task_id not in self.starting

    def end(self, pool: str, task_id: str) -> None:
        """End a task that runs."""
        assert pool == "batchLinux"
        self.done.append(f"end running {task_id}")

    def delete(self, pool: str, task_id: str) -> None:
        """Forget a task."""
        assert pool == "batchLinux"
        self.done.append(f"delete {task_id}")

    def fail(self, what: str) -> None:
        """Raise the trouble that this one is in."""
        if what in self.trouble:
            raise self.trouble[what]


@pytest.fixture
def world() -> World:
    """Return a world without jobs and tasks."""
    return World()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Return the structured lines that are logged; filled when the test asks."""
    caplog.set_level(logging.INFO, "orchestrator")
    found: list[tuple[str, dict[str, Any]]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.levelname, json.loads(record.getMessage())))

    handler = Collect()
    logging.getLogger("orchestrator").addHandler(handler)
    yield found
    logging.getLogger("orchestrator").removeHandler(handler)


type Lines = list[tuple[str, dict[str, Any]]]


class TestInView:
    """Which repositories are asked about."""

    def test_of_recent_tasks(self, world: World) -> None:
        """A repository with a task is asked about, and what waits there without a task gets a runner."""
        world.jobs["acme/app"] = [event(1), event(2)]
        world.pass_over(task(1))
        assert world.done == ["start runner-2-1"]

    def test_of_tasks_that_are_gone(self, world: World) -> None:
        """Repositories whose tasks somebody deleted with the Batch job are looked at for another day."""
        world.pass_over(task(1, "finished"))
        world.jobs["acme/app"] = [event(2)]
        world.pass_over()
        assert world.done == ["start runner-2-1"]
        world.reconciler.run((), NOW + timedelta(hours=24))
        world.reconciler.run((), NOW + timedelta(hours=24))
        assert world.asked == [("acme/app", None)] * 2

    def test_of_settings_and_installations(self) -> None:
        """So is one that is named in the settings, or that the App is installed for, with its installation."""
        world = World(settings(ReconcileRepositories="acme/named"))
        world.installed = {"acme/installed": 7}
        world.jobs = {"acme/named": [event(1, "acme/named")], "acme/installed": [event(2, "acme/installed")]}
        world.pass_over()
        assert world.asked == [("acme/named", None), ("acme/installed", 7)]
        assert sorted(world.done) == ["start runner-1-1", "start runner-2-1"]

    def test_the_installation_of_a_task(self, world: World) -> None:
        """Where a delivery named the App's installation, it is used."""
        origin = Origin(event=event(1, installation={"id": 9}), profile="p")
        world.pass_over(task(1, origin=origin))
        assert world.asked == [("acme/app", 9)]
        assert [one.installation for one in world.listed_for] == [9]

    def test_a_task_without_notes(self, world: World) -> None:
        """A task that says nothing of where it came from puts no repository into view."""
        world.pass_over(task(1, origin=None))
        assert world.asked == []
        assert world.done == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"workflow_job": queued_job("self-hosted", "gone")["workflow_job"]},
            {"workflow_job": queued_job("ubuntu-latest")["workflow_job"]},
            {"repository": queued_job()["repository"] | {"private": False, "visibility": "public"}},
        ],
    )
    def test_what_is_not_ours(self, world: World, changes: dict[str, Any]) -> None:
        """Jobs that no profile serves, or of public repositories, are left alone as by the webhook."""
        world.jobs["acme/app"] = [event(1, **changes)]
        world.pass_over(task(9, "finished"))
        assert world.done == []

    def test_the_same_job_twice(self) -> None:
        """A repository that is named in another spelling does not make its jobs count twice."""
        world = World(settings(ReconcileRepositories="Acme/App"))
        world.jobs = {"acme/app": [event(1)], "Acme/App": [event(1)]}
        world.pass_over(task(9, "finished"))
        assert world.done == ["start runner-1-1"]

    def test_by_turns(self) -> None:
        """With many repositories the first are asked about in each pass, the others by turns, and none never."""
        names = [f"acme/{number}" for number in range(REPOSITORIES * 3)]
        passes = [_by_turns(names, turn) for turn in range(len(names) // TURNS + 1)]
        always = set(names[: REPOSITORIES - TURNS])
        assert all(always <= chosen and len(chosen) == REPOSITORIES for chosen in passes)
        assert set().union(*passes) == set(names)
        assert _by_turns(names[:5], 3) == set(names[:5])

    def test_a_turn_of_those_without_tasks(self) -> None:
        """Repositories that are only named take their turns, too, and hold up nobody while they wait for them."""
        names = [f"acme/r{number}" for number in range(REPOSITORIES + TURNS)]
        world = World(settings(ReconcileRepositories=",".join(names)))
        world.pass_over(task(1))
        assert len(world.asked) == REPOSITORIES
        assert world.done == ["end runner-1-1"]

    def test_what_had_no_turn(self, world: World) -> None:
        """While not every repository had its turn, no task is ended as surplus."""
        tasks = [task(number, repository=f"acme/r{number}") for number in range(1, REPOSITORIES + TURNS + 2)]
        world.pass_over(*tasks)
        assert len(world.asked) == REPOSITORIES
        assert world.done == []


class TestTrouble:
    """Where something could not be asked."""

    def test_github_does_not_answer(self, world: World, lines: Lines) -> None:
        """If one repository's jobs are unknown, nothing is decided for its organization; others are seen to."""
        world.jobs = {"acme/app": [event(1)], "other/app": [event(2, "other/app")]}
        world.trouble["acme/lib"] = TransientError("GitHub answered 502")
        world.pass_over(task(8, "finished"), task(9, repository="acme/lib"), task(7, "finished", "other/app"))
        assert world.done == ["start runner-2-1"]
        skipped = [line for _, line in lines if line["result"] == "skipped"]
        assert {"pass": "reconciliation", "result": "skipped", "scope": "organization acme",
                "reason": "acme/lib: GitHub answered 502"} in skipped  # fmt: skip

    def test_a_repository_that_is_gone(self, world: World) -> None:
        """One that GitHub refuses to tell of holds up no other; only what waits is not ended."""
        world.jobs = {"acme/app": [event(1)]}
        world.trouble["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        world.pass_over(task(8, "finished"), task(9, repository="acme/gone", labels=frozenset({"x"})))
        assert world.done == ["start runner-1-1"]

    def test_one_that_is_only_named(self, lines: Lines) -> None:
        """A repository of the settings that cannot be looked at keeps its organization's tasks from being ended."""
        world = World(settings(ReconcileRepositories="acme/named,elsewhere/named"))
        world.trouble = dict.fromkeys(("acme/named", "elsewhere/named"), GitHubRefused("404", 404))
        world.pass_over(task(1))
        assert world.done == []
        assert [line["repository"] for _, line in lines if line["result"] == "skipped"] == [
            "acme/named", "elsewhere/named",
        ]  # fmt: skip

    def test_of_an_enterprise(self, lines: Lines) -> None:
        """Runners of an enterprise may be meant for any repository: while one does not answer, nothing is decided."""
        world = World(settings(RunnerScope="enterprise", GithubEnterprise="big", ReconcileRepositories="acme/other"))
        world.trouble["acme/other"] = TransientError("GitHub is not reachable")
        world.pass_over(task(1, url="https://github.com/enterprises/big"))
        assert world.done == []
        assert [line["result"] for _, line in lines] == ["skipped", "skipped", "done"]

    def test_runners_are_unknown(self, world: World, lines: Lines) -> None:
        """Without the list of runners nothing is decided."""
        world.jobs["acme/app"] = [event(1)]
        world.trouble["acme"] = TransientError("GitHub does not answer")
        world.pass_over(task(9))
        assert world.done == []
        assert lines[-1][1]["actions"] == {"skipped": 1}

    def test_installations_are_unknown(self, world: World, lines: Lines) -> None:
        """Without the list of installations the others are seen to."""
        world.jobs["acme/app"] = [event(1)]
        world.trouble["installations"] = TransientError("GitHub does not answer")
        world.pass_over(task(9, "finished"))
        assert world.done == ["start runner-1-1"]
        assert lines[0][1]["what"] == "the App's installations"

    def test_one_action_fails(self, world: World, lines: Lines) -> None:
        """What cannot be done is logged with both reasons, and the rest is done."""
        world.jobs["acme/app"] = [event(1), event(2)]
        world.trouble["runner-1-1"] = TransientError("Batch cannot add a task now: 503")
        world.pass_over(task(9, "finished"))
        assert world.done == ["start runner-2-1"]
        (failed,) = [line for _, line in lines if line["result"] == "failed"]
        assert failed == {
            "pass": "reconciliation", "result": "failed", "action": "start runner",
            "why": "no runner was started for it", "reason": "Batch cannot add a task now: 503", "job": 1,
            "repository": "acme/app",
        }  # fmt: skip


class TestActions:
    """What is done, and how it is told."""

    def test_start(self, world: World, lines: Lines) -> None:
        """A start is one line with its reason, and the pass ends with what it saw and did."""
        world.jobs["acme/app"] = [event(1)]
        world.pass_over(task(9, "finished"))
        assert lines[0] == (
            "INFO",
            {
                "pass": "reconciliation", "result": "created", "action": "start runner",
                "reason": "no runner was started for it", "job": 1, "repository": "acme/app",
            },
        )  # fmt: skip
        level, summary = lines[1]
        assert summary.pop("ms") >= 0
        assert (level, summary) == (
            "INFO",
            {
                "pass": "reconciliation", "result": "done", "scopes": 1, "jobs": 1, "longest_wait_s": 600,
                "waiting": 0, "running": 0, "actions": {"start runner": 1},
            },
        )  # fmt: skip

    def test_starts_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One pass starts so many runners at most, wherever they are missing."""
        monkeypatch.setattr(reconciler, "STARTS", 3)
        world = World(settings(RunnerScope="repository", ReconcileRepositories="acme/app,acme/other"))
        world.jobs = {"acme/app": [event(1), event(2)], "acme/other": [event(n, "acme/other") for n in (3, 4)]}
        world.pass_over()
        assert len(world.done) == 3

    def test_replace(self, world: World, lines: Lines) -> None:
        """The new task is started before the old one is ended: at no time is there none."""
        world.jobs["acme/app"] = [event(1)]
        world.pass_over(task(1, expires_at=NOW + timedelta(minutes=5)))
        assert world.done == ["start runner-1-1-r1", "end runner-1-1"]
        assert (lines[0][1]["result"], lines[0][1]["task"]) == ("replaced", "runner-1-1")

    def test_replace_too_late(self, world: World, lines: Lines) -> None:
        """If the old task has started meanwhile it stays, and the new one is ended: there are not two."""
        world.jobs["acme/app"] = [event(1)]
        world.starting = {"runner-1-1"}
        world.pass_over(task(1, expires_at=NOW + timedelta(minutes=5)))
        assert world.done == ["start runner-1-1-r1", "end runner-1-1", "end runner-1-1-r1"]
        assert lines[0][1]["result"] == "left"

    def test_end(self, world: World, lines: Lines) -> None:
        """A task that nobody needs is ended, unless it has started meanwhile."""
        world.starting = {"runner-2-1"}
        world.pass_over(task(1), task(2))
        assert sorted(world.done) == ["end runner-1-1", "end runner-2-1"]
        assert sorted((line["task"], line["result"]) for _, line in lines[:2]) == [
            ("runner-1-1", "ended"), ("runner-2-1", "left"),
        ]  # fmt: skip

    def test_clean_up(self, world: World, lines: Lines) -> None:
        """Overdue and old tasks and the runners they left are taken away."""
        world.runners = [Runner(5, "runner-3-1", online=False, busy=False, labels=LABELS)]
        long_ago = NOW - timedelta(days=8)
        world.pass_over(
            task(1, "running", started_at=long_ago, max_hours=7),
            task(2, "finished", ended_at=long_ago, origin=None, url=""),
            task(3, "finished"),
        )
        assert world.done == ["remove 5", "end running runner-1-1", "delete runner-2-1"]
        assert [line["action"] for _, line in lines[:3]] == ["remove runner", "end task", "delete task"]

    def test_give_up(self, world: World, lines: Lines) -> None:
        """A job whose runners fail again and again is an alert."""
        world.jobs["acme/app"] = [event(1)]
        failed = [task(1, "finished", exit_code=75)]
        failed += [TaskState(f"runner-1-1-r{n}", "batchLinux", "finished", NOW, ended_at=NOW, exit_code=75,
                             url="https://github.com/acme") for n in (1, 2, 3)]  # fmt: skip
        world.pass_over(*failed)
        assert world.done == []
        level, line = lines[0]
        assert (level, line["result"], line["job"]) == ("CRITICAL", "given up", 1)

    def test_wait(self, world: World, lines: Lines) -> None:
        """A job that waits long is a warning that says for what, and nothing is done."""
        world.jobs["acme/app"] = [event(1, queued_at="2026-11-25T11:40:00Z")]
        world.pass_over(task(1))
        assert world.done == []
        level, line = lines[0]
        assert (level, line["result"], line["job"], line["task"]) == ("WARNING", "waits", 1, "runner-1-1")
        assert (line["pool"], line["reason"]) == ("batchLinux", "its runner waits for a free slot on batchLinux")
        assert lines[1][1]["longest_wait_s"] == 1200
