"""One pass: what is decided without some answers, what is done, and what is logged."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.errors import CallsSpent, GitHubRefused, TransientError
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.pass_ import OTHERS_PER_PASS
from orchestrator.reconcile.time_left import MARGIN
from orchestrator.result import Result
from orchestrator.runners.notes import Origin
from orchestrator.runners.outcome import Outcome, OutcomeResult
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState, task_id
from tests.builders import queued_job, settings, task_state
from tests.unit.reconcile.fakes import FakeUpstream
from tests.unit.reconcile.passes import LABELS, NOW, FakePasses, event, task


@pytest.fixture
def passes() -> FakePasses:
    """Return passes without jobs and tasks."""
    return FakePasses()


@pytest.fixture
def upstream(passes: FakePasses) -> FakeUpstream:
    """Return what the passes ask."""
    return passes.upstream


def own_task(number: int, state: Any, repository: str = "acme/app", **changes: Any) -> TaskState:
    """Return a task whose runner registers in its repository."""
    return task(number, state, repository, url=f"https://github.com/{repository}", **changes)


type Lines = list[tuple[str, dict[str, Any]]]


class TestRunners:
    """What is decided where the runners cannot all be listed."""

    def test_asked_for_by_name(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """Those of running tasks are asked for by name; jobs are served, and nothing is ended as surplus."""
        upstream.errors["acme"] = TransientError("the list has no end")
        upstream.jobs["acme/app"] = [event(1), event(2)]
        upstream.runners = [Runner(5, "own-name", online=True, busy=False, labels=LABELS)]
        long_ago = NOW - timedelta(minutes=30)
        own = task(1, "running", started_at=long_ago)
        passes.run(
            replace(own, notes=replace(own.notes, name="own-name")),
            task(8, "running", started_at=long_ago - timedelta(minutes=1)),
            task(7, labels=("x",)),
            replace(task(6, registration="jit", labels=("x",)), created_at=long_ago),
        )
        assert upstream.named_runners == ["own-name", "runner-8-1"]
        assert upstream.done == ["start runner-2-1"]
        assert log_lines[0][1]["what"] == "the runners of organization acme"
        assert log_lines[0][1]["reason"] == "the list has no end; 2 were asked for by name"

    def test_refused(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """Where GitHub refuses the list, nobody is asked for by name, and nothing is decided."""
        upstream.errors["acme"] = GitHubRefused("may the credentials do that?", 403)
        upstream.jobs["acme/app"] = [event(1)]
        passes.run(task(9))
        assert (upstream.named_runners, upstream.done) == ([], [])


class TestWhoseRunners:
    """Of which scopes the runners are listed, where repositories are scopes of their own."""

    LONG_AGO = NOW - timedelta(hours=1)

    @pytest.fixture
    def passes(self) -> FakePasses:
        """Return passes whose runners register in repositories."""
        return FakePasses(settings(RunnerScope="repository"))

    def test_before_the_jobs(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """First those where a task lives or ended within the hour; of the others a few, by turns."""
        quiet = [f"acme/quiet-{number}" for number in range(2 * OTHERS_PER_PASS + 1)]
        tasks = [
            *(own_task(n, "finished", name, ended_at=self.LONG_AGO) for n, name in enumerate(quiet, 10)),
            own_task(1, "waiting", "acme/waits"),
            own_task(2, "running", "acme/runs", started_at=self.LONG_AGO),
            own_task(3, "finished", "acme/ended", ended_at=self.LONG_AGO + timedelta(minutes=11)),
        ]
        turns: list[set[str]] = []
        for number in range(3):
            passes.clock.now = NOW + number * timedelta(minutes=5)
            upstream.listed_for.clear()
            passes.run(*tasks)
            names = [access.scope.name for access in upstream.listed_for]
            assert set(names[:3]) == {"acme/waits", "acme/runs", "acme/ended"}
            assert len(names) == 3 + OTHERS_PER_PASS
            turns.append(set(names[3:]))
        assert set().union(*turns) == set(quiet)

    def test_where_jobs_turn_up(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """Elsewhere they are listed when a job is found there, and the job gets its runner."""
        quiet = [f"acme/quiet-{number}" for number in range(4 * OTHERS_PER_PASS)]
        upstream.jobs = {name: [event(900 + n, name)] for n, name in enumerate(quiet[::40])}
        passes.run(*(own_task(n, "finished", name, ended_at=self.LONG_AGO) for n, name in enumerate(quiet, 1)))
        assert {access.scope.name for access in upstream.listed_for} >= set(quiet[::40])
        assert len(upstream.listed_for) <= OTHERS_PER_PASS + len(quiet[::40])
        assert sorted(upstream.done) == ["start runner-900-1", "start runner-901-1"]

    def test_what_was_left_behind(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """A registration whose task ended long ago is removed when its repository has its turn."""
        upstream.runners = [Runner(5, "runner-7-1", online=False, busy=False, labels=LABELS)]
        passes.run(own_task(7, "finished", ended_at=self.LONG_AGO - timedelta(hours=9)))
        assert upstream.done == ["remove 5"]


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

    def test_by_turns(self, log_lines: Lines) -> None:
        """Starts go by turns between repositories, for as long as the pass has time; the next pass does the rest."""
        passes = FakePasses(settings(RunnerScope="repository", ReconcileRepositories="acme/app,acme/other"))
        upstream = passes.upstream
        upstream.jobs = {"acme/app": [event(1), event(2)], "acme/other": [event(n, "acme/other") for n in (3, 4)]}
        upstream.takes = timedelta(minutes=4)
        passes.run()
        assert upstream.done == ["start runner-1-1", "start runner-3-1", "start runner-2-1"]
        assert log_lines[-1][1]["actions"] == {"start runner": 3, "left": 1}

    def test_a_limit_that_is_used_up(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A start that has to wait for GitHub's limit waits, if the pass has the time."""
        upstream.jobs["acme/app"] = [event(1), event(2), event(3)]
        upstream.once = {"runner-1-1": CallsSpent("no more calls in this minute", retry_after=45)}
        upstream.errors["runner-2-1"] = CallsSpent("the last requests", retry_after=3600)
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-1-1", "start runner-3-1"]
        assert passes.slept == [45 + MARGIN]
        assert log_lines[-1][1]["actions"] == {"start runner": 2, "left": 1}

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

    @pytest.mark.parametrize(
        ("name", "online", "done"),
        [
            ("runner-1-1", True, []),
            ("runner-1-1", False, ["end running runner-1-1"]),
            ("runner-2-1", True, ["end running runner-1-1"]),
        ],
    )
    def test_a_runner_that_comes_late(
        self, passes: FakePasses, upstream: FakeUpstream, name: str, done: list[str], *, online: bool
    ) -> None:
        """A task that runs again is left if its runner has come online since the runners were listed."""
        upstream.come_late = [Runner(5, name, online=online, busy=online, labels=LABELS)]
        passes.run(task(1, "running", started_at=NOW - timedelta(minutes=10), runs_before=1))
        assert upstream.named_runners == ["runner-1-1"]
        assert upstream.done == done

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
