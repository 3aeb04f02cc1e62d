"""What a pass records of what it found and did."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile import survey
from orchestrator.reconcile.findings import (
    Findings,
    Gap,
    JobState,
    PoolFinding,
    ProfileFinding,
    Sample,
    WaitingJobFinding,
)
from orchestrator.reconcile.pass_ import Pass
from orchestrator.result import Result
from orchestrator.runners.outcome import OutcomeResult
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings
from tests.unit.reconcile.passes import LABELS, NOW, FakePasses, event, task

# A task that has ended, so that its repository is in view.
EARLIER = task(900, "finished", exit_code=0)
JUST_NOW = "2026-11-25T11:59:30Z"
LONG_AGO = "2026-11-25T11:20:00Z"


def minutes(count: float) -> timedelta:
    """Return so many minutes."""
    return timedelta(minutes=count)


def found(events: Sequence[WorkflowJobEvent], *tasks: TaskState, passes: FakePasses | None = None) -> Findings:
    """Return what a pass finds that sees these jobs of `acme/app`."""
    passes = passes or FakePasses()
    passes.upstream.jobs["acme/app"] = list(events)
    return passes.run(EARLIER, *tasks)


def only(findings: Findings) -> WaitingJobFinding:
    """Return the only job that waits."""
    (job,) = findings.jobs
    return job


class TestJobs:
    """How a pass leaves the jobs that wait."""

    def test_started(self) -> None:
        """A job that got a runner is named with everything that finds it again."""
        expected = WaitingJobFinding(
            job=1,
            run=10743561234,
            repository="acme/app",
            profile="ubuntu-latest",
            queued_at=NOW - minutes(10),
            state=JobState.STARTED,
            reason="a runner was started just now, because no runner was started for it",
        )
        assert only(found([event(1)])) == expected

    @pytest.mark.parametrize(
        ("tasks", "state", "due"),
        [
            ([task(1)], JobState.WAITS_FOR_SLOT, None),
            ([replace(task(1, "running"), started_at=NOW - minutes(1))], JobState.RUNNER_STARTING, None),
            ([task(1, "finished", exit_code=75)], JobState.STARTED, None),
            (
                [
                    replace(task(1, "finished", exit_code=75), ended_at=NOW - minutes(1)),
                    replace(task(1, "finished", exit_code=75), task_id="runner-1-1-r1"),
                ],
                JobState.PAUSED,
                NOW + minutes(4),
            ),
        ],
    )
    def test_by_its_tasks(self, tasks: list[TaskState], state: JobState, due: Any) -> None:
        """What became of a job's tasks tells what it waits for, and when its next runner is due."""
        job = only(found([event(1)], *tasks))
        assert (job.state, job.due_at) == (state, due)
        assert job.task == (tasks[0].task_id if state in (JobState.WAITS_FOR_SLOT, JobState.RUNNER_STARTING) else None)

    def test_its_delivery_is_expected(self) -> None:
        """A young job is left to its delivery, for two minutes in all."""
        job = only(found([event(1, queued_at=JUST_NOW)]))
        assert job.state == JobState.DELIVERY_EXPECTED
        assert job.due_at is not None
        assert NOW + minutes(1.4) < job.due_at <= NOW + minutes(1.5)

    @pytest.mark.parametrize("idle", [True, False])
    def test_a_clock_that_is_wrong(self, *, idle: bool) -> None:
        """A job that will be queued in another age, as GitHub says, is one that was queued just now."""
        passes = FakePasses()
        if idle:
            passes.upstream.runners = [Runner(7, "theirs", online=True, busy=False, labels=LABELS)]
        job = only(found([event(1, queued_at="9999-12-31T23:59:59Z")], passes=passes))
        assert job.due_at is not None
        assert job.due_at - NOW < minutes(16 if idle else 3)

    def test_an_idle_runner(self) -> None:
        """A job beside an idle runner of others waits for it, for a quarter of an hour in all."""
        passes = FakePasses()
        passes.upstream.runners = [Runner(7, "theirs", online=True, busy=False, labels=LABELS)]
        job = only(found([event(1)], passes=passes))
        assert (job.state, job.due_at) == (JobState.IDLE_RUNNER, NOW + minutes(5))
        assert "theirs" in job.reason

    def test_refused_at_its_start(self) -> None:
        """A job that turned out to be refused when its runner was to start is told as such."""
        passes = FakePasses()
        passes.upstream.not_started["runner-1-1"] = Result.REFUSED
        assert only(found([event(1)], passes=passes)).state == JobState.NOT_ALLOWED

    def test_a_start_that_fails(self) -> None:
        """The error is the reason, and the job counts as unserved."""
        passes = FakePasses()
        passes.upstream.errors["runner-1-1"] = TransientError("Batch cannot create the task now: 503")
        findings = found([event(1)], passes=passes)
        job = only(findings)
        assert (job.state, job.reason) == (JobState.NOT_STARTED, "Batch cannot create the task now: 503")
        assert findings.unserved == {"ubuntu-latest": 1}

    def test_a_job_that_is_gone(self) -> None:
        """A job that was not queued any more when its runner was to start is not listed."""
        passes = FakePasses()
        passes.upstream.not_started["runner-1-1"] = Result.GONE
        assert found([event(1)], passes=passes).jobs == ()

    def test_no_time(self) -> None:
        """What a pass had no time for is left to the next one, and the jobs count as unserved."""
        passes = FakePasses()
        passes.upstream.takes = minutes(11)
        findings = found([event(1, queued_at=LONG_AGO), event(2)], passes=passes)
        assert {job.job: job.state for job in findings.jobs} == {1: JobState.STARTED, 2: JobState.NO_TIME}
        assert findings.jobs[0].job == 2
        assert findings.unserved == {"ubuntu-latest": 1}

    @pytest.mark.parametrize("result", [Result.WAITS, Result.REFUSED, None])
    def test_a_task_that_cannot_be_replaced(self, result: OutcomeResult | None) -> None:
        """It still serves its job."""
        passes = FakePasses()
        if result is None:
            passes.upstream.errors["runner-1-1-r1"] = TransientError("503")
        else:
            passes.upstream.not_started["runner-1-1-r1"] = result
        job = only(found([event(1)], task(1, expires_at=NOW + minutes(5)), passes=passes))
        assert (job.state, job.task) == (JobState.WAITS_FOR_SLOT, "runner-1-1")

    def test_a_task_that_is_replaced(self) -> None:
        """The job has a new runner on its way."""
        job = only(found([event(1)], task(1, expires_at=NOW + minutes(5))))
        assert (job.state, job.reason) == (
            JobState.STARTED,
            "a runner was started just now, because its registration is about to expire",
        )

    def test_over_quota(self) -> None:
        """A job that a quota holds is reported, with who has the slots."""
        passes = FakePasses(settings(MaxRunnersPerRepository="1", RunnerScope="repository"))
        held = found([event(1)], task(2, url="https://github.com/acme/app", labels=("x",)), passes=passes)
        job = only(held)
        assert (job.state, job.reported, job.alert, held.unserved) == (JobState.OVER_QUOTA, True, False, {})

    def test_not_allowed(self) -> None:
        """A job that the runner group does not admit is listed with that reason."""
        passes = FakePasses()
        passes.upstream.refused["acme/app"] = "the runner group does not admit acme/app"
        job = only(found([event(1)], passes=passes))
        assert (job.state, job.reason) == (JobState.NOT_ALLOWED, "the runner group does not admit acme/app")

    def test_a_job_of_others(self) -> None:
        """A job that no profile serves is none of the pass's business, refused or not."""
        current = Pass(settings(), [], NOW, AccountRule(None))
        current.refuse(event(1, workflow_job=queued_job("ubuntu-latest")["workflow_job"]), "it is not admitted")
        assert current.refused == []

    def test_a_skipped_scope(self) -> None:
        """Where the runners are unknown, so is what serves a job; scope and reason are told."""
        passes = FakePasses()
        passes.upstream.errors["acme"] = GitHubRefused("GitHub refuses to list the runners: 403", 403)
        findings = found([event(1)], passes=passes)
        reason = "GitHub refuses to list the runners: 403"
        assert (only(findings).state, only(findings).reason) == (JobState.SKIPPED, reason)
        assert findings.gaps == (Gap(what="organization acme", skipped=True, reason=reason),)

    def test_reported(self) -> None:
        """What the log reports is marked: a long wait, and an alert for the job that comes to its longest pause."""
        long = only(found([event(1, queued_at=LONG_AGO)], task(1)))
        assert (long.state, long.reported, long.alert) == (JobState.WAITS_FOR_SLOT, True, False)
        names = ["runner-1-1", *(f"runner-1-1-r{number}" for number in (1, 2, 3))]
        failed = [
            replace(task(1, "finished", exit_code=75), task_id=name, ended_at=NOW - minutes(4 - place))
            for place, name in enumerate(names)
        ]
        paused = only(found([event(1, queued_at=LONG_AGO)], *failed))
        assert (paused.state, paused.reported, paused.alert) == (JobState.PAUSED, True, True)


class TestGaps:
    """What a pass does not know."""

    def test_a_repository_that_cannot_be_read(self) -> None:
        """It is named with GitHub's reason."""
        passes = FakePasses()
        passes.upstream.errors["acme/app"] = TransientError("GitHub cannot list the runs now: 502")
        gaps = found([], passes=passes).gaps
        assert gaps == (Gap(what="repository acme/app", skipped=False, reason="GitHub cannot list the runs now: 502"),)

    def test_repositories_without_time(self) -> None:
        """How many were not looked into is told."""
        passes = FakePasses(settings(ReconcileRepositories=",".join(f"acme/r{number}" for number in range(1000))))
        (gap,) = [gap for gap in found([], passes=passes).gaps if gap.what.endswith("repositories")]
        assert gap.what.endswith(" of 1001 repositories")


class TestTasks:
    """Runners that run or ran, and their pools."""

    def test_running_and_ended(self) -> None:
        """Both are listed, the latest first, by what identifies them."""
        running = replace(task(1, "running"), repository="acme/app")
        running = replace(running, started_at=NOW - minutes(9))
        ended = replace(
            task(2, "finished", exit_code=0), repository="acme/web", started_at=NOW - minutes(9), ended_at=NOW
        )
        failed = replace(task(3, "finished", exit_code=75), repository="acme/web")
        findings = found([], running, ended, failed)
        (one,) = findings.running
        assert (one.task, one.repository, one.profile, one.started_at) == (
            "runner-1-1",
            "acme/app",
            "ubuntu-latest",
            NOW - minutes(9),
        )
        outcomes = {outcome.task: outcome for outcome in findings.outcomes}
        assert findings.outcomes[0].task == "runner-2-1"
        assert (outcomes["runner-2-1"].seconds, outcomes["runner-2-1"].ran_a_job) == (540, True)
        assert (outcomes["runner-3-1"].seconds, outcomes["runner-3-1"].ending) == (None, "exit code 75")

    def test_a_task_that_does_not_say(self) -> None:
        """A running task of unknown origin is listed without its profile."""
        findings = found([], replace(task(1, "running", origin=None), started_at=NOW))
        assert findings.running[0].profile == ""

    def test_pools(self) -> None:
        """Each pool has its tasks and slots in use; each profile, how long its tasks of the day waited for a start."""
        tasks = [
            replace(
                task(number, "finished", exit_code=0),
                started_at=NOW - minutes(10) + timedelta(seconds=number),
                profile="ubuntu-22.04" if number == 1 else "ubuntu-latest",
            )
            for number in range(1, 22)
        ]
        tasks.append(replace(tasks[0], task_id="runner-22-1", profile=""))
        yesterday = replace(tasks[0], started_at=NOW - timedelta(hours=25), created_at=NOW - timedelta(hours=30))
        findings = found([], *tasks, yesterday, task(30), replace(task(31, "running"), slots=3))
        linux, windows = findings.pools
        assert linux == PoolFinding(
            pool="batchLinux",
            profiles=(
                ProfileFinding(profile="ubuntu-latest", started=20, p50=11, p95=20),
                ProfileFinding(profile="ubuntu-22.04", started=1, p50=1, p95=1),
                ProfileFinding(profile="ubuntu-20.04"),
                ProfileFinding(profile="ubuntu-18.04"),
            ),
            waiting=1,
            running=1,
            slots=3,
        )
        assert (windows.pool, windows.profiles[0].started) == ("batchWindows", 0)
        assert findings.samples == (Sample(int(NOW.timestamp()), 0, {"batchLinux": (1, 1), "batchWindows": (0, 0)}),)

    def test_what_github_has_left(self) -> None:
        """The requests that GitHub has left are recorded where they are known."""
        assert found([]).requests_left is None
        assert found([], passes=FakePasses(requests_left=lambda: 4711)).requests_left == 4711


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record has an end: the jobs without a runner are kept first, and what is left out is counted."""
    for name in ("MOST_JOBS", "MOST_RUNNING", "MOST_OUTCOMES", "MOST_GAPS"):
        monkeypatch.setattr(survey, name, 1)
    passes = FakePasses()
    passes.upstream.errors |= {
        "runner-2-1": TransientError("503"),
        "runner-3-1": TransientError("503"),
        "acme/web": TransientError("502"),
        "acme/docs": TransientError("502"),
    }
    tasks = [task(number, "running", labels=("x",)) for number in (11, 12, 13)]
    views = [task(21, "finished", "acme/web"), task(22, "finished", "acme/docs")]
    findings = found([event(1, queued_at=LONG_AGO), event(2), event(3)], *tasks, *views, passes=passes)
    assert [job.job for job in findings.jobs] == [2]
    assert (findings.jobs_left_out, findings.unserved) == (2, {"ubuntu-latest": 2})
    assert (len(findings.running), findings.running_left_out) == (1, 2)
    assert (len(findings.gaps), findings.gaps_left_out) == (1, 1)
    assert len(findings.outcomes) == 1
