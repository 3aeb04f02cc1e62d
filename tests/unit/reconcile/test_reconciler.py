"""One pass: what is asked, what is left alone if an answer is missing, and what is done and logged."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile import selection
from orchestrator.reconcile.reconciler import (
    CALLS_PER_REPOSITORY,
    REFUSALS_HEEDED,
    REPOSITORIES_PER_PASS,
    ROTATED_PER_PASS,
    Reconciler,
    rotation,
)
from orchestrator.result import Result
from orchestrator.runners.notes import Origin
from orchestrator.runners.outcome import Outcome, OutcomeResult
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState, task_id
from tests.builders import queued_job, settings, task_state
from tests.fakes import ManualClock
from tests.unit.reconcile.fakes import FakeUpstream

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
        "labels": tuple(LABELS),
    }
    return task_state(task_id(about.workflow_job), "batchLinux", state, at, **values | changes)


class FakePasses:
    """Passes over a GitHub and a Batch that are made up."""

    def __init__(self, configured: Settings | None = None, **options: Any) -> None:
        self.clock = ManualClock(NOW)
        self.upstream = FakeUpstream(self.clock)
        self.reconciler = Reconciler(
            configured or settings(),
            tasks=self.upstream,
            queued_jobs=self.upstream.queued,
            runners=self.upstream,
            start=self.upstream.start,
            boundary=self.upstream,
            installed=self.upstream.installations,
            retention=timedelta(days=7),
            clock=self.clock,
            **options,
        )

    def run(self, *tasks: TaskState) -> None:
        """Make a pass."""
        self.reconciler.run(tasks, self.clock())


@pytest.fixture
def passes() -> FakePasses:
    """Return passes without jobs and tasks."""
    return FakePasses()


@pytest.fixture
def upstream(passes: FakePasses) -> FakeUpstream:
    """Return what the passes ask."""
    return passes.upstream


type Lines = list[tuple[str, dict[str, Any]]]


class TestInView:
    """Which repositories are asked about."""

    def test_of_recent_tasks(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """A repository with a task is asked about, and what waits there without a task gets a runner."""
        upstream.jobs["acme/app"] = [event(1), event(2)]
        passes.run(task(1))
        assert upstream.done == ["start runner-2-1"]

    def test_of_tasks_that_are_gone(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """Repositories whose tasks someone deleted with the Batch job are looked at for another day."""
        passes.run(task(1, "finished"))
        upstream.jobs["acme/app"] = [event(2)]
        passes.run()
        assert upstream.done == ["start runner-2-1"]
        passes.clock.advance(timedelta(hours=24))
        passes.run()
        assert upstream.asked == [("acme/app", None)] * 2

    def test_of_settings_and_installations(self) -> None:
        """Repositories of the settings are asked about, and those of the App, with its installation."""
        passes = FakePasses(settings(ReconcileRepositories="acme/named"))
        upstream = passes.upstream
        upstream.installed = {"acme/installed": 7}
        upstream.jobs = {"acme/named": [event(1, "acme/named")], "acme/installed": [event(2, "acme/installed")]}
        passes.run()
        assert upstream.asked == [("acme/named", None), ("acme/installed", 7)]
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]

    def test_an_app_that_was_installed_again(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """The installation that GitHub names now is used, and not the one of a task's notes."""
        upstream.installed = {"acme/app": 10}
        passes.run(task(1, origin=Origin(event=event(1, installation={"id": 9}), profile="p")))
        assert upstream.asked == [("acme/app", 10)]

    def test_no_strangers(self) -> None:
        """Accounts that may have no runners are not asked after, wherever they come from, and get none."""
        passes = FakePasses(settings(ReconcileRepositories="evil-corp/named"))
        upstream = passes.upstream
        upstream.rule = AccountRule(frozenset({"acme"}))
        upstream.installed = {"evil-corp/installed": 7, "acme/app": 8}
        upstream.jobs = {f"evil-corp/{name}": [event(1, f"evil-corp/{name}")] for name in ("named", "installed", "app")}
        passes.run(task(2, "finished", "evil-corp/app"))
        assert upstream.asked == [("acme/app", 8)]
        assert [access.scope.name for access in upstream.listed_for] == []
        assert upstream.done == []

    def test_strangers_of_an_earlier_pass(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """An account that may have no runners any more is not asked after because of what is remembered."""
        passes.run(task(1, "finished"))
        upstream.rule = AccountRule(frozenset({"other"}))
        upstream.asked.clear()
        passes.run()
        assert upstream.asked == []

    def test_nobody_knows_who_is_a_stranger(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """While GitHub does not say whose jobs may have runners, nothing is asked and only overdue tasks are ended."""
        upstream.errors["account rule"] = TransientError("GitHub is not reachable")
        upstream.installed = {"acme/app": 8}
        upstream.jobs["acme/app"] = [event(2)]
        overdue = task(1, "running", started_at=NOW - timedelta(hours=9), max_hours=7)
        passes.run(overdue)
        assert (upstream.asked, upstream.listed_for) == ([], [])
        assert upstream.done == ["end running runner-1-1"]
        assert log_lines[0] == (
            "WARNING",
            {
                "pass": "reconciliation",
                "result": "skipped",
                "what": "whose jobs may have runners",
                "reason": "GitHub is not reachable",
            },
        )

    def test_the_installation_of_a_task(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If a delivery named the App's installation, it is used."""
        origin = Origin(event=event(1, installation={"id": 9}), profile="p")
        passes.run(task(1, origin=origin), task(2, origin=origin))
        assert upstream.asked == [("acme/app", 9)]
        assert [access.installation for access in upstream.listed_for] == [9]

    def test_a_task_without_notes(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """A task that does not name its job puts no repository into view."""
        passes.run(task(1, origin=None))
        assert upstream.asked == []
        assert upstream.done == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"workflow_job": queued_job("self-hosted", "gone")["workflow_job"]},
            {"workflow_job": queued_job("ubuntu-latest")["workflow_job"]},
            {"repository": queued_job()["repository"] | {"private": False, "visibility": "public"}},
        ],
    )
    def test_what_is_not_ours(self, passes: FakePasses, upstream: FakeUpstream, changes: dict[str, Any]) -> None:
        """Jobs that no profile serves, and jobs of public repositories, are ignored, as by the webhook."""
        upstream.jobs["acme/app"] = [event(1, **changes)]
        passes.run(task(9, "finished"))
        assert upstream.done == []

    def test_the_same_job_twice(self) -> None:
        """If a repository is named in two spellings, its jobs count once."""
        passes = FakePasses(settings(ReconcileRepositories="Acme/App"))
        upstream = passes.upstream
        upstream.jobs = {"acme/app": [event(1)], "Acme/App": [event(1)]}
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-1-1"]

    def test_rotation(self) -> None:
        """With many repositories the first are asked about in each pass, and all others in rotation."""
        names = [f"acme/{number}" for number in range(REPOSITORIES_PER_PASS * 3)]
        passes = [rotation(names, turn) for turn in range(len(names) // ROTATED_PER_PASS + 1)]
        always = set(names[: REPOSITORIES_PER_PASS - ROTATED_PER_PASS])
        assert all(always <= chosen and len(chosen) == REPOSITORIES_PER_PASS for chosen in passes)
        assert set().union(*passes) == set(names)
        assert rotation(names[:5], 3) == set(names[:5])

    def test_rotation_of_repositories_without_tasks(self) -> None:
        """Repositories of the settings take turns, too; while one is not asked about, surplus tasks still end."""
        names = [f"acme/r{number}" for number in range(REPOSITORIES_PER_PASS + ROTATED_PER_PASS)]
        passes = FakePasses(settings(ReconcileRepositories=",".join(names)))
        upstream = passes.upstream
        passes.run(task(1))
        assert len(upstream.asked) == REPOSITORIES_PER_PASS
        assert upstream.done == ["end runner-1-1"]

    def test_not_in_this_pass(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """While a repository that has tasks is not asked about, no task is ended as surplus."""
        tasks = [
            task(number, repository=f"acme/r{number}")
            for number in range(1, REPOSITORIES_PER_PASS + ROTATED_PER_PASS + 2)
        ]
        passes.run(*tasks)
        assert len(upstream.asked) == REPOSITORIES_PER_PASS
        assert upstream.done == []


class TestTrouble:
    """If something could not be asked."""

    def test_of_one_repository(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """If one repository's jobs are unknown, the others of its organization are served, and a line says so."""
        upstream.jobs = {"acme/app": [event(1)], "other/app": [event(2, "other/app")]}
        upstream.errors["acme/lib"] = TransientError("GitHub answered 502")
        passes.run(task(8, "finished"), task(9, repository="acme/lib"), task(7, "finished", "other/app"))
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]
        skipped = [line for _, line in log_lines if line["result"] == "skipped"]
        assert skipped == [{"pass": "reconciliation", "result": "skipped", "repository": "acme/lib",
                            "reason": "GitHub answered 502"}]  # fmt: skip

    def test_what_expires(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """What expires is replaced although the jobs of its repository are unknown, for as long as a job may wait."""
        upstream.errors["acme/lib"] = TransientError("GitHub answered 502")
        soon = NOW + timedelta(minutes=5)
        two_days_old = Origin(event=event(2, "Acme/lib", "2026-11-23T11:50:00Z"), profile="p")
        public = Origin(event=event(3, "acme/lib", repository=event(3, "acme/lib").repository.model_dump()
                                    | {"private": False, "visibility": "public"}), profile="p")  # fmt: skip
        passes.run(
            task(1, repository="acme/lib", expires_at=soon),
            task(2, repository="acme/lib", expires_at=soon, origin=two_days_old),
            task(3, repository="acme/lib", expires_at=soon, origin=public),
            task(4, "finished", repository="acme/lib"),
            task(5, repository="acme/app", expires_at=soon),
            task(6, expires_at=soon, origin=None),
        )
        assert upstream.done == ["start runner-1-1-r1", "end runner-1-1"]

    def test_many_runs_of_one_repository(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A repository with many runs takes its share of the calls, by turns with the others, and ends nothing."""
        upstream.further_calls = {"acme/evil": 500, "acme/app": 2}
        upstream.jobs = {"acme/app": [event(1)], "acme/evil": [event(2, "acme/evil")]}
        passes.run(task(8, "finished", "acme/evil"), task(9, "finished"), task(7, labels=("x",)))
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]
        assert upstream.order.count("acme/evil") == CALLS_PER_REPOSITORY + 1
        assert upstream.order[:6] == ["acme/evil", "acme/app"] * 3
        (skipped,) = [line for _, line in log_lines if line["result"] == "skipped"]
        assert skipped["repository"] == "acme/evil"
        assert skipped["reason"] == f"it takes more than {CALLS_PER_REPOSITORY} calls; the next pass goes on"

    def test_exactly_its_share(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A repository that takes exactly its share is complete: what is left over is ended."""
        upstream.further_calls = {"acme/app": CALLS_PER_REPOSITORY - 1}
        passes.run(task(7))
        assert upstream.done == ["end runner-7-1"]
        assert [line["result"] for _, line in log_lines] == ["ended", "done"]

    def test_too_many_runs(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If GitHub does not list all runs of a repository, the jobs that are known are served all the same."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["the end of acme/app"] = TransientError("more unfinished runs than GitHub lists")
        passes.run(task(8, "finished"), task(9, labels=("x",)))
        assert upstream.done == ["start runner-1-1"]

    def test_refused_for_good(self, log_lines: Lines) -> None:
        """A repository that is refused for long holds up no other one; that is said once, and its own tasks stay."""
        passes = FakePasses(settings(ReconcileRepositories="acme/gone"))
        upstream = passes.upstream
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        own, surplus = task(1, repository="acme/gone"), task(2)
        for _ in range(REFUSALS_HEEDED - 1):
            passes.run(own, surplus)
        assert upstream.done == []
        assert len([line for _, line in log_lines if line["result"] == "skipped"]) == REFUSALS_HEEDED - 1
        for _ in range(3):
            passes.run(own, surplus)
        assert upstream.done == ["end runner-2-1"] * 3
        *_, last = [line for _, line in log_lines if line["result"] == "skipped"]
        assert last["reason"] == (
            f"GitHub refused it: 404; after {REFUSALS_HEEDED} refusals it holds up no other repository any more"
        )
        assert len([line for _, line in log_lines if line["result"] == "skipped"]) == REFUSALS_HEEDED
        del upstream.errors["acme/gone"]  # it is there again, and may be refused again
        passes.run(own, surplus)
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        upstream.done.clear()
        passes.run(own, surplus)
        assert upstream.done == []

    def test_a_repository_that_is_gone(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If GitHub refuses to list a repository's jobs, others get their runners; only no waiting task is ended."""
        upstream.jobs = {"acme/app": [event(1)]}
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        passes.run(task(8, "finished"), task(9, repository="acme/gone", labels=("x",)))
        assert upstream.done == ["start runner-1-1"]

    def test_one_that_is_only_named(self, log_lines: Lines) -> None:
        """While a repository of the settings cannot be looked at, no task of its organization is ended."""
        passes = FakePasses(settings(ReconcileRepositories="acme/named,elsewhere/named"))
        upstream = passes.upstream
        upstream.errors = dict.fromkeys(("acme/named", "elsewhere/named"), GitHubRefused("404", 404))
        passes.run(task(1))
        assert upstream.done == []
        assert [line["repository"] for _, line in log_lines if line["result"] == "skipped"] == [
            "acme/named", "elsewhere/named",
        ]  # fmt: skip

    def test_of_an_enterprise(self, log_lines: Lines) -> None:
        """Runners of an enterprise may serve any repository: if one cannot be asked about, no task is ended."""
        passes = FakePasses(
            settings(RunnerScope="enterprise", GithubEnterprise="big", ReconcileRepositories="acme/other")
        )
        upstream = passes.upstream
        upstream.errors["acme/other"] = TransientError("GitHub is not reachable")
        passes.run(task(1, url="https://github.com/enterprises/big"))
        assert upstream.done == []
        assert [line["result"] for _, line in log_lines] == ["skipped", "done"]

    def test_runners_are_unknown(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """Without the list of runners nothing is decided."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["acme"] = TransientError("GitHub does not answer")
        passes.run(task(9))
        assert upstream.done == []
        assert log_lines[-1][1]["actions"] == {"skipped": 1}

    def test_installations_are_unknown(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """Without the list of installations the other repositories are still asked about."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["installations"] = TransientError("GitHub does not answer")
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-1-1"]
        assert log_lines[0][1]["what"] == "the App's installations"

    def test_one_action_fails(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """What cannot be done is logged with both reasons, and the rest is done."""
        upstream.jobs["acme/app"] = [event(1), event(2)]
        upstream.errors["runner-1-1"] = TransientError("Batch cannot add a task now: 503")
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-2-1"]
        (failed,) = [line for _, line in log_lines if line["result"] == "failed"]
        assert failed == {
            "pass": "reconciliation", "result": "failed", "action": "start runner",
            "why": "no runner was started for it", "reason": "Batch cannot add a task now: 503", "job": 1,
            "repository": "acme/app",
        }  # fmt: skip


class TestActions:
    """What is done, and how it is logged."""

    def test_start(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A start is one line with its reason, and the pass ends with what it saw and did."""
        upstream.jobs["acme/app"] = [event(1)]
        passes.run(task(9, "finished"))
        assert log_lines[0] == (
            "INFO",
            {
                "pass": "reconciliation", "result": "created", "action": "start runner",
                "reason": "no runner was started for it", "job": 1, "repository": "acme/app",
            },
        )  # fmt: skip
        level, summary = log_lines[1]
        assert (level, summary) == (
            "INFO",
            {
                "pass": "reconciliation", "result": "done", "scopes": 1, "jobs": 1, "longest_wait_s": 600,
                "waiting": 0, "running": 0, "actions": {"start runner": 1}, "ms": 250,
            },
        )  # fmt: skip

    def test_starts_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One pass starts a limited number of runners over all scopes, by turns between repositories."""
        monkeypatch.setattr(selection, "STARTS_PER_PASS", 3)
        passes = FakePasses(settings(RunnerScope="repository", ReconcileRepositories="acme/app,acme/other"))
        upstream = passes.upstream
        upstream.jobs = {"acme/app": [event(1), event(2)], "acme/other": [event(n, "acme/other") for n in (3, 4)]}
        passes.run()
        assert upstream.done == ["start runner-1-1", "start runner-3-1", "start runner-2-1"]

    def test_replace(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """The new task is started before the old one is ended, so that there is always one."""
        upstream.jobs["acme/app"] = [event(1)]
        passes.run(task(1, expires_at=NOW + timedelta(minutes=5)))
        assert upstream.done == ["start runner-1-1-r1", "end runner-1-1"]
        assert (log_lines[0][1]["result"], log_lines[0][1]["task"]) == ("replaced", "runner-1-1")

    def test_replace_too_late(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """If the old task has started in between, it stays, and the new one is ended, so that there are not two."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.starting = {"runner-1-1"}
        passes.run(task(1, expires_at=NOW + timedelta(minutes=5)))
        assert upstream.done == ["start runner-1-1-r1", "end runner-1-1", "end runner-1-1-r1"]
        assert log_lines[0][1]["result"] == "left"

    def test_end(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A task that no job needs is ended, unless it has started in between."""
        upstream.starting = {"runner-2-1"}
        passes.run(task(1), task(2))
        assert sorted(upstream.done) == ["end runner-1-1", "end runner-2-1"]
        assert sorted((line["task"], line["result"]) for _, line in log_lines[:2]) == [
            ("runner-1-1", "ended"), ("runner-2-1", "left"),
        ]  # fmt: skip

    def test_clean_up(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """Overdue tasks are ended, old tasks are deleted, and runners whose task is over are removed."""
        upstream.runners = [Runner(5, "runner-3-1", online=False, busy=False, labels=LABELS)]
        long_ago = NOW - timedelta(days=8)
        passes.run(
            task(1, "running", started_at=long_ago, max_hours=7),
            task(2, "finished", ended_at=long_ago, origin=None, url=""),
            task(3, "finished"),
        )
        assert upstream.done == ["remove 5", "end running runner-1-1", "delete runner-2-1"]
        assert [line["action"] for _, line in log_lines[:3]] == ["remove runner", "end task", "delete task"]

    @pytest.mark.parametrize(("failures", "level"), [(3, "WARNING"), (4, "CRITICAL")])
    def test_pause(self, passes: FakePasses, log_lines: Lines, failures: int, level: str) -> None:
        """Jobs whose runners fail again and again are one line, an alert when that is new."""
        passes.upstream.jobs["acme/app"] = [event(1), event(2)]
        failed = [
            task_state(task_id(event(job).workflow_job, number), "batchLinux", "finished", NOW, ended_at=NOW,
                       exit_code=75, url="https://github.com/acme", origin=Origin(event=event(job), profile="p"))
            for job in (1, 2) for number in range(failures)
        ]  # fmt: skip
        passes.run(*failed)
        assert passes.upstream.done == []
        found, line = log_lines[0]
        assert (found, line["result"], line["action"], line["job"], line["jobs"]) == (level, "paused", "pause", 1, 2)
        assert line["reason"].startswith(f"{failures} runners were started for it, {failures} ended without a job")

    def test_slots_that_no_node_has(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """For a job whose runner fits on no node, the warning says so; the pool is asked once in a pass."""
        upstream.jobs["acme/app"] = [event(1, queued_at="2026-11-25T11:40:00Z")]
        long_ago = NOW - timedelta(minutes=20)
        passes.run(replace(task(1, expires_at=NOW + timedelta(hours=1)), slots=4, created_at=long_ago))
        assert log_lines[0][1]["reason"] == "its runner needs 4 slots, and a node of batchLinux has 2"
        assert upstream.asked_slots == ["batchLinux"]

    @pytest.mark.parametrize(("known", "told"), [("github-runner-x", "github-runner-x"), ("", None)])
    def test_the_batch_job(self, passes: FakePasses, upstream: FakeUpstream, known: str, told: str | None) -> None:
        """A task is ended and deleted in the Batch job where it was listed."""
        weeks = NOW - timedelta(days=8)
        passes.run(
            replace(task(1), batch_job=known),
            replace(task(2, "finished", ended_at=weeks), batch_job=known),
            replace(task(3, "running", started_at=weeks, max_hours=1), batch_job=known),
        )
        assert sorted(upstream.done) == ["delete runner-2-1", "end runner-1-1", "end running runner-3-1"]
        assert upstream.batch_jobs == [told] * 3

    def test_hold(self, log_lines: Lines) -> None:
        """Jobs that a quota holds are one warning, which says who has the slots; their end is somebody's to watch."""
        held: list[int] = []
        passes = FakePasses(
            settings(RunnerScope="repository", MaxRunnersPerRepository="1"),
            held=lambda event, _profile: held.append(event.workflow_job.id),
        )
        passes.upstream.jobs["acme/app"] = [event(1), event(2), event(3)]
        passes.run(task(9, "running", url="https://github.com/acme/app", started_at=NOW - timedelta(minutes=30)))
        assert passes.upstream.done == []
        assert held == [1, 2, 3]
        assert log_lines[0] == (
            "WARNING",
            {
                "pass": "reconciliation", "result": "waits", "action": "hold", "job": 1, "jobs": 3,
                "repository": "acme/app",
                "reason": "acme/app has 1 of 1 runners (MaxRunnersPerRepository): runner-9-1",
            },
        )  # fmt: skip

    def test_a_quota_that_deliveries_have_used_up(self, log_lines: Lines) -> None:
        """A pass starts no runner for which there is no room any more, and says so."""

        def full(job: WorkflowJobEvent, profile: Profile, _start: object) -> Outcome:
            return Outcome(Result.WAITS, task_id(job.workflow_job), profile, "acme/app has 1 of 1 runners")

        passes = FakePasses(settings(), within_quota=full)
        passes.upstream.jobs["acme/app"] = [event(1)]
        passes.run(task(9, "finished"))
        assert passes.upstream.done == []
        level, line = log_lines[0]
        assert (level, line["result"], line["reason"]) == ("WARNING", "failed", "acme/app has 1 of 1 runners")

    def test_wait(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """For a job that waits long, a warning says what it waits for, and nothing is done."""
        upstream.jobs["acme/app"] = [event(1, queued_at="2026-11-25T11:40:00Z")]
        passes.run(task(1))
        assert upstream.done == []
        level, line = log_lines[0]
        assert (level, line["result"], line["job"], line["task"]) == ("WARNING", "waits", 1, "runner-1-1")
        assert (line["pool"], line["reason"]) == ("batchLinux", "its runner waits for a free slot on batchLinux")
        assert log_lines[1][1]["longest_wait_s"] == 1200


class TestRefused:
    """Jobs that may have no runner."""

    def test_a_group_that_does_not_admit(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """They get none, their waiting task is ended, and the log says why, once for each repository and reason."""
        upstream.jobs = {"acme/app": [event(1)], "acme/out": [event(2, "acme/out"), event(3, "acme/out")]}
        upstream.refused["acme/out"] = "the runner group does not admit acme/out"
        passes.run(task(1), task(2, repository="acme/out"))
        assert upstream.done == ["end runner-2-1"]
        refused = [(level, line) for level, line in log_lines if line["result"] == "refused"]
        about = {"pass": "reconciliation", "repository": "acme/out", "jobs": 2, "reason": upstream.refused["acme/out"]}
        assert refused == [("WARNING", {"result": "refused", **about})]

    def test_a_job_of_others(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """Nothing is asked about a job that no profile serves."""
        upstream.jobs["acme/app"] = [event(1, workflow_job=queued_job("ubuntu-latest")["workflow_job"])]
        upstream.errors["refusal acme/app"] = TransientError("502")
        passes.run(task(2, "finished"))
        assert upstream.done == []

    def test_it_cannot_be_asked(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """While GitHub does not tell whether the group admits a repository, its jobs are unknown."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["refusal acme/app"] = TransientError("502")
        passes.run(task(2, "finished"))
        assert upstream.done == []
        assert [line["reason"] for _, line in log_lines if line["result"] == "skipped"] == ["502"]

    @pytest.mark.parametrize("result", [Result.REFUSED, Result.WAITS])
    def test_a_replacement_that_does_not_start(
        self, passes: FakePasses, upstream: FakeUpstream, result: OutcomeResult
    ) -> None:
        """If the replacement may not start, the task that it should replace stays."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.not_started["runner-1-1-r1"] = result
        passes.run(task(1, expires_at=NOW + timedelta(minutes=5)))
        assert upstream.done == ["start runner-1-1-r1"]
