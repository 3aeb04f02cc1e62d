"""Demand against supply: what is missing and what is left over."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.reconcile.plan import (
    DELETIONS,
    FAILURES,
    REMOVALS,
    REPORTS,
    RUNNERS_PER_JOB,
    STARTS,
    Action,
    DeleteTask,
    EndTask,
    GiveUp,
    RemoveRunner,
    ReplaceTask,
    ScopeView,
    StartRunner,
    Wait,
    WaitingJob,
    clean_up,
    decide,
)
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LABELS = frozenset({"self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"})
ACME = ScopeAccess(Scope("organization", "acme"), None)
URL = "https://github.com/acme"


def minutes(count: float) -> timedelta:
    """Return so many minutes."""
    return timedelta(minutes=count)


def job(number: int, *labels: str, age: float | None = 10, attempt: int = 1) -> WaitingJob:
    """Return a job that has waited for some minutes."""
    about = queued_job(*labels)["workflow_job"] | {"id": number, "run_attempt": attempt}
    if age is not None:
        about["created_at"] = (NOW - minutes(age)).isoformat()
    event = workflow_job_event(json.dumps(queued_job(workflow_job=about)).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    return WaitingJob(event, admission.profile, frozenset(event.workflow_job.labels))


def task(
    name: str, state: Literal["waiting", "running", "finished"] = "waiting", *, age: float = 10, **changes: Any
) -> TaskState:
    """Return a task that was created some minutes ago, and started and ended at once."""
    at = NOW - minutes(age)
    times: dict[str, Any] = {
        "started_at": at if state != "waiting" else None,
        "ended_at": at if state == "finished" else None,
    }
    values = times | {"url": URL, "labels": LABELS, "expires_at": NOW + minutes(40)} | changes
    return TaskState(name, "batchLinux", state, at, **values)


def runner(name: str, *, online: bool = True, busy: bool = False, labels: frozenset[str] = LABELS) -> Runner:
    """Return a runner that GitHub knows."""
    return Runner(hash(name) % 1000, name, online, busy, labels)


def decided(
    jobs: list[WaitingJob],
    tasks: list[TaskState],
    runners: list[Runner] | None = None,
    *,
    others: Sequence[TaskState] = (),
    complete: bool = True,
    most: int = STARTS,
) -> list[Action]:
    """Decide, five minutes between two passes."""
    view = ScopeView(ACME, URL, jobs, runners or [], tasks, others, complete, minutes(5))
    return decide(view, NOW, most)


def starts(actions: list[Action]) -> list[tuple[int, int]]:
    """Return the jobs that get a runner, and which it is."""
    return [(one.job.event.workflow_job.id, one.replacement) for one in actions if isinstance(one, StartRunner)]


class TestWhatIsMissing:
    """Runners that are started."""

    def test_nothing(self) -> None:
        """Without jobs and tasks there is nothing to do."""
        assert decided([], []) == []

    def test_a_job_nobody_serves(self) -> None:
        """A queued job without any supply gets its first runner, with the reason."""
        (action,) = decided([job(1)], [])
        assert isinstance(action, StartRunner)
        assert (action.job.job_key, action.replacement) == ("runner-1-1", 0)
        assert action.reason == "no runner was started for it"

    @pytest.mark.parametrize(("age", "expected"), [(1.9, []), (2, [(1, 0)]), (None, [(1, 0)])])
    def test_in_flight(self, age: float | None, expected: list[tuple[int, int]]) -> None:
        """A job that was queued a moment ago is left to its delivery; one that does not say when is not."""
        assert starts(decided([job(1, age=age)], [])) == expected

    def test_another_attempt(self) -> None:
        """A re-run is another job: the tasks of its first attempt are not its own."""
        (action,) = decided([job(1, attempt=2)], [task("runner-1-1", "finished", exit_code=0)])
        assert isinstance(action, StartRunner)
        assert (action.job.job_key, action.replacement) == ("runner-1-2", 0)

    @pytest.mark.parametrize(
        "supply",
        [
            task("runner-1-1"),
            task("runner-9-1"),
            task("runner-1-1", expires_at=None),
            task("runner-9-1", "running", age=9),
            task("runner-9-1", "running", started_at=None),
        ],
    )
    def test_a_task_that_will_serve_it(self, supply: TaskState) -> None:
        """A waiting or starting task is supply, whosever it was."""
        assert decided([job(1)], [supply]) == []

    def test_runners_are_counted(self) -> None:
        """Two jobs and one task make one runner more, for the job that has waited longer without its own."""
        assert starts(decided([job(1, age=5), job(2, age=9)], [task("runner-1-1")])) == [(2, 0)]
        assert starts(decided([job(1, age=5), job(2, age=9)], [task("runner-3-1")])) == [(1, 0)]

    @pytest.mark.parametrize(
        ("known", "supplied"),
        [
            (runner("runner-9-1"), True),
            (runner("runner-9-1-0a1b"), True),
            (runner("runner-9-1", busy=True), False),
            (runner("runner-9-1", online=False), False),
            (None, False),
        ],
    )
    def test_a_running_task(self, known: Runner | None, *, supplied: bool) -> None:
        """A task that runs for long is supply only while GitHub sees its runner idle."""
        actions = decided([job(1)], [task("runner-9-1", "running", age=30)], [known] if known else [])
        assert (starts(actions) == []) == supplied

    @pytest.mark.parametrize(
        ("other", "age", "supplied"),
        [
            (runner("their-vm"), 10, True),
            (runner("their-vm"), 16, False),
            (runner("their-vm", busy=True), 10, False),
            (runner("their-vm", online=False), 10, False),
            (runner("their-vm", labels=frozenset({"self-hosted"})), 10, False),
        ],
    )
    def test_a_runner_of_somebody_else(self, other: Runner, age: float, *, supplied: bool) -> None:
        """An idle runner that nobody started for us takes the job, unless it has not for a quarter of an hour."""
        assert (starts(decided([job(1, age=age)], [], [other])) == []) == supplied

    def test_labels(self) -> None:
        """A task serves a job only if it offers all of its labels."""
        windows = job(1, "self-hosted", "windows-latest")
        assert starts(decided([windows], [task("runner-9-1")])) == [(1, 0)]

    def test_at_most_so_many(self) -> None:
        """One pass starts so many runners at most, for those that wait longest."""
        found = starts(decided([job(number, age=number) for number in range(10, 10 + STARTS + 5)], []))
        assert len(found) == STARTS
        assert found[0] == (10 + STARTS + 4, 0)
        assert len(decided([job(1), job(2), job(3)], [], most=2)) == 2


class TestReplacements:
    """Runners that came too late, or not at all."""

    def test_a_registration_about_to_expire(self) -> None:
        """A waiting task is replaced before its token expires: at no time are there two, or none."""
        old = task("runner-1-1", age=55, expires_at=NOW + minutes(11))
        (action,) = decided([job(1, age=55)], [old])
        assert isinstance(action, ReplaceTask)
        assert (action.task, action.job.job_key, action.replacement) == (old, "runner-1-1", 1)
        (later,) = decided([job(1, age=55)], [task("runner-1-1", age=55, expires_at=NOW + minutes(13))])
        assert isinstance(later, Wait)

    def test_many_at_once(self) -> None:
        """All tasks of a burst expire together, and are replaced together, whatever else may be started."""
        old = [task(f"runner-{n}-1", age=50, expires_at=NOW + minutes(9)) for n in range(1, STARTS + 51)]
        found = decided([job(n, age=50) for n in range(1, STARTS + 52)], old, most=0)
        assert [type(action) for action in found] == [ReplaceTask] * (STARTS + 50)

    def test_its_runners_were_elsewhere(self) -> None:
        """A job whose runners registered elsewhere, before a setting changed, gets one of another name than theirs."""
        (action,) = decided([job(1)], [], others=[task("runner-1-1", "finished", exit_code=75, url="elsewhere")])
        assert isinstance(action, StartRunner)
        assert (action.replacement, action.reason) == (1, "its runner ended without a job (exit code 75)")

    @pytest.mark.parametrize("names", [("runner-1-1", "runner-1-1-ab12"), ("runner-1-1-ab12", "runner-1-1")])
    def test_two_registrations_of_one_task(self, names: tuple[str, str]) -> None:
        """Of a task's registrations the one that is online counts, however they are listed."""
        known = [runner(name, online=name == "runner-1-1-ab12", busy=True) for name in names]
        assert starts(decided([job(2)], [task("runner-1-1", "running", age=3)], known)) == [(2, 0)]

    def test_for_whoever_needs_it(self) -> None:
        """If its own job has a runner, the place is taken for the job that needs it."""
        (action,) = decided([job(2)], [task("runner-1-1", expires_at=NOW + minutes(5))])
        assert isinstance(action, ReplaceTask)
        assert (action.job.job_key, action.replacement) == ("runner-2-1", 0)

    def test_what_lasts_is_used_first(self) -> None:
        """A task about to expire is left over while another can serve."""
        (action,) = decided([job(1)], [task("runner-1-1", expires_at=NOW + minutes(5)), task("runner-2-1")])
        assert isinstance(action, EndTask)
        assert action.reason == "more runners wait than jobs"
        assert action.task.task_id == "runner-1-1"

    def test_an_expired_registration(self) -> None:
        """A task that can no longer become a runner is no supply, and ends after the new one was started."""
        old = task("runner-1-1", expires_at=NOW)
        start, end = decided([job(1)], [old])
        assert isinstance(start, StartRunner)
        assert start.replacement == 1
        assert end == EndTask(old, "its registration has expired")

    @pytest.mark.parametrize(("age", "known", "ended"), [(6, False, True), (6, True, False), (4, False, False)])
    def test_a_runner_that_github_removed(self, age: float, *, known: bool, ended: bool) -> None:
        """A JIT runner that GitHub no longer knows cannot start, so its waiting task is replaced."""
        old = task("runner-1-1", age=age, registered=True)
        actions = decided([job(1)], [old], [runner("runner-1-1", online=False)] if known else [])
        assert (actions[1:] == [EndTask(old, "its registration has expired")]) == ended
        assert bool(actions) == ended

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ({"exit_code": 75}, "its runner ended without a job (exit code 75)"),
            ({"exit_code": 69}, "its runner ended without a job (exit code 69)"),
            ({}, "its runner ended without a job (no exit code)"),
            ({"exit_code": 0}, "its runner is gone"),
            ({"ended_by_request": True}, "its runner is gone"),
        ],
    )
    def test_a_runner_that_is_gone(self, how: dict[str, Any], reason: str) -> None:
        """Whether it failed, ran another job or was ended: a job that still waits gets the next runner."""
        (action,) = decided([job(1)], [task("runner-1-1", "finished", **how)])
        assert isinstance(action, StartRunner)
        assert (action.replacement, action.reason) == (1, reason)

    def test_so_often(self) -> None:
        """After so many failures the job gets no further runner, and that is said: for a while."""
        failed = [task("runner-1-1", "finished", exit_code=75, age=14)]
        failed += [task(f"runner-1-1-r{n}", "finished", exit_code=75, age=14 - n) for n in range(1, FAILURES)]
        assert starts(decided([job(1)], failed)) == [(1, FAILURES)]
        failed.append(task(f"runner-1-1-r{FAILURES}", "finished", exit_code=78))
        (action,) = decided([job(1)], failed)
        assert isinstance(action, GiveUp)
        assert action.reason == (
            f"{FAILURES + 1} runners were started for it, {FAILURES + 1} ended without a job, the last one with "
            "exit code 78"
        )
        assert decided([job(1)], [task(one.task_id, "finished", exit_code=75, age=20) for one in failed]) == []

    def test_runners_that_others_take(self) -> None:
        """A job whose runners are taken again and again gets more of them, but not for ever."""
        taken = [
            task(f"runner-1-1-r{n}" if n else "runner-1-1", "finished", exit_code=0) for n in range(RUNNERS_PER_JOB)
        ]
        assert starts(decided([job(1)], taken[:-1])) == [(1, RUNNERS_PER_JOB - 1)]
        (action,) = decided([job(1)], taken)
        assert isinstance(action, GiveUp)
        assert action.reason == f"{RUNNERS_PER_JOB} runners were started for it, 0 ended without a job"


class TestWhatWaitsLong:
    """Jobs that nothing is to be done for, and that a person may want to know of."""

    @pytest.mark.parametrize("age", [0, 5, 14.9])
    def test_not_long(self, age: float) -> None:
        """While a cold pool may still be starting a node there is nothing to say."""
        assert decided([job(1, age=age)], [task("runner-1-1", age=age)]) == []

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ("waiting", "its runner waits for a free slot on batchLinux"),
            ("running", "its runner has started, and has not taken it yet"),
        ],
    )
    def test_what_for(self, state: Any, reason: str) -> None:
        """What a job waits for is told by the task that will serve it, whosever that was."""
        (wait,) = decided([job(1, age=15)], [task("runner-2-1", state, age=3)])
        assert isinstance(wait, Wait)
        assert (wait.job.job_key, wait.task.task_id, wait.reason) == ("runner-1-1", "runner-2-1", reason)

    def test_many(self) -> None:
        """Of many that wait the oldest are told, after everything that is done."""
        jobs = [job(number, age=20 + number) for number in range(1, REPORTS + 6)]
        tasks = [task(f"runner-{number}-1", age=20) for number in range(1, REPORTS + 6)]
        first, *waits = decided([*jobs, job(99)], tasks)
        assert isinstance(first, StartRunner)
        told = [wait.job.event.workflow_job.id for wait in waits if isinstance(wait, Wait)]
        assert told == list(range(REPORTS + 5, 5, -1))
        assert len(waits) == REPORTS


class TestWhatIsLeftOver:
    """Tasks that are ended and runners that are removed."""

    def test_more_tasks_than_jobs(self) -> None:
        """A waiting task that no job needs is ended: not the one whose own job waits."""
        (action,) = decided([job(1)], [task("runner-2-1"), task("runner-1-1")])
        assert isinstance(action, EndTask)
        assert (action.task.task_id, action.reason) == ("runner-2-1", "more runners wait than jobs")

    def test_not_yet_settled(self) -> None:
        """A task that was created a moment ago is left alone: its job may not have been listed yet."""
        assert decided([], [task("runner-1-1", age=4.9)]) == []
        assert len(decided([], [task("runner-1-1", age=5)])) == 1

    def test_not_all_is_known(self) -> None:
        """While a repository could not be looked at, no task is ended as surplus; a missing one is still started."""
        assert decided([], [task("runner-1-1")], complete=False) == []
        assert starts(decided([job(1)], [], complete=False)) == [(1, 0)]

    def test_a_running_task_is_left_alone(self) -> None:
        """A runner that nobody uses leaves by its idle limit."""
        assert decided([], [task("runner-1-1", "running")], [runner("runner-1-1")]) == []

    @pytest.mark.parametrize(
        ("known", "removed"),
        [
            (runner("runner-1-1", online=False), True),
            (runner("runner-1-1-00ff", online=False), True),
            (runner("runner-1-1", online=True), False),
            (runner("runner-1-1", online=False, busy=True), False),
            (runner("runner-2-1", online=False), False),
            (runner("runner-3-1", online=False), False),
            (runner("runner-4-1", online=False), False),
            (runner("their-vm", online=False), False),
        ],
    )
    def test_offline_runners(self, known: Runner, *, removed: bool) -> None:
        """A runner is removed when it is offline and named like a task that is over: nobody else's ever is."""
        tasks = [
            task("runner-1-1", "finished", exit_code=0),
            task("runner-2-1", expires_at=None),
            task("runner-3-1", "finished", exit_code=0, age=4),
        ]
        actions = [action for action in decided([], tasks, [known]) if isinstance(action, RemoveRunner)]
        assert actions == ([RemoveRunner(ACME, known, "its task is over")] if removed else [])

    def test_removals_are_bounded(self) -> None:
        """One pass removes so many runners at most."""
        tasks = [task(f"runner-{n}-1", "finished", exit_code=0) for n in range(1, REMOVALS + 5)]
        found = decided([], tasks, [runner(one.task_id, online=False) for one in tasks])
        assert len(found) == REMOVALS


class TestCleanUp:
    """`clean_up`."""

    def test_old_tasks(self) -> None:
        """A finished task is forgotten when its retention is over, so many in one pass."""
        old = [task(f"runner-{n}-1", "finished", age=8 * 1440) for n in range(1, DELETIONS + 3)]
        young = task("runner-999-1", "finished", age=6 * 1440)
        found = clean_up([young, *old], {URL}, NOW, timedelta(days=7))
        assert [action.task for action in found if isinstance(action, DeleteTask)] == old[:DELETIONS]
        assert len(found) == DELETIONS

    def test_overdue_tasks(self) -> None:
        """A task that runs well past its limit, which Batch should have ended, is ended."""
        overdue = task("runner-1-1", "running", age=7 * 60 + 15, max_hours=7)
        others = [
            task("runner-2-1", "running", age=7 * 60 + 14, max_hours=7),
            task("runner-3-1", "running", age=9999),
            task("runner-4-1", age=9999, max_hours=7),
        ]
        assert clean_up([overdue, *others], {URL}, NOW, timedelta(days=7)) == [
            EndTask(overdue, "it is past its wall-clock limit")
        ]

    def test_tasks_of_no_place(self) -> None:
        """A waiting task whose runner would register where nobody looks any more ends with its registration."""
        old = task("runner-1-1", url="elsewhere", expires_at=NOW)
        others = [
            task("runner-2-1", url="elsewhere", expires_at=NOW + minutes(1)),
            task("runner-3-1", url="elsewhere", expires_at=None),
            task("runner-4-1", expires_at=NOW),
        ]
        assert clean_up([old, *others], {URL}, NOW, timedelta(days=7)) == [EndTask(old, "its registration has expired")]
