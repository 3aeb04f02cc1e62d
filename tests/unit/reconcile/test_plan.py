"""Demand against supply: what is missing and what is left over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from orchestrator.reconcile.action import (
    Action,
    DeleteTask,
    EndTask,
    Pause,
    RemoveRunner,
    ReplaceTask,
    StartRunner,
    Wait,
)
from orchestrator.reconcile.plan import (
    ALERT_FOR,
    DELETIONS_PER_DAY,
    PAUSES,
    REMOVALS_PER_PASS,
    TAKEN_WITHOUT_PAUSE,
    WAIT_REPORTS_PER_PASS,
    clean_up,
    decide,
)
from orchestrator.reconcile.view import ScopeView, WaitingJob
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.task import TaskState
from tests.builders import task_state
from tests.unit.reconcile.builders import waiting_job

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LABELS = frozenset({"self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"})
ACME = ScopeAccess(Scope("organization", "acme"), None)
URL = "https://github.com/acme"


def minutes(count: float) -> timedelta:
    """Return so many minutes."""
    return timedelta(minutes=count)


def job(number: int, *labels: str, age: float | None = 10, attempt: int = 1) -> WaitingJob:
    """Return a job that has waited for some minutes."""
    queued_at = NOW - minutes(age) if age is not None else None
    return waiting_job(number, *labels, queued_at=queued_at, attempt=attempt)


def task(
    name: str, state: Literal["waiting", "running", "finished"] = "waiting", *, age: float = 10, **changes: Any
) -> TaskState:
    """Return a task that was created some minutes ago, and started and ended at once."""
    at = NOW - minutes(age)
    times: dict[str, Any] = {
        "started_at": at if state != "waiting" else None,
        "ended_at": at if state == "finished" else None,
    }
    values = times | {"url": URL, "labels": tuple(LABELS), "expires_at": NOW + minutes(40)} | changes
    return task_state(name, "batchLinux", state, at, **values)


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
    assumed: Sequence[WaitingJob] = (),
    node_slots: Mapping[str, int] | None = None,
) -> list[Action]:
    """Decide, five minutes between two passes."""
    view = ScopeView(
        access=ACME,
        jobs=jobs,
        runners=runners or [],
        tasks=tasks,
        others=others,
        complete=complete,
        period=minutes(5),
        assumed=assumed,
        node_slots=node_slots or {},
    )
    return decide(view, NOW).actions


def ended(count: int, number: int = 1, *, age: float, **changes: Any) -> list[TaskState]:
    """Return tasks of one job that have ended, the last one some minutes ago."""
    names = [f"runner-{number}-1-r{n}" if n else f"runner-{number}-1" for n in range(count)]
    return [task(name, "finished", age=age + count - 1 - n, **changes) for n, name in enumerate(names)]


def starts(actions: list[Action]) -> list[tuple[int, int]]:
    """Return the jobs that get a runner, and which it is."""
    return [(start.job.event.workflow_job.id, start.replacement) for start in actions if isinstance(start, StartRunner)]


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
        """A job that was queued a moment ago is left to its delivery; a job that does not say when is not."""
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
        """A waiting or starting task counts, whichever job it was started for."""
        assert decided([job(1)], [supply]) == []

    def test_runners_are_counted(self) -> None:
        """Two jobs and one task need one more runner: for the job without its own task, else for the younger job."""
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
        """A task that runs for long counts only while its runner is online and idle."""
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
    def test_a_foreign_runner(self, other: Runner, age: float, *, supplied: bool) -> None:
        """An idle runner that we did not start counts, until the job has waited beside it for 15 minutes."""
        assert (starts(decided([job(1, age=age)], [], [other])) == []) == supplied

    def test_labels(self) -> None:
        """A task serves a job only if it offers all of its labels."""
        windows = job(1, "self-hosted", "windows-latest")
        assert starts(decided([windows], [task("runner-9-1")])) == [(1, 0)]

    @pytest.mark.parametrize(
        ("age", "state", "supplied"),
        [(14.9, "waiting", True), (15, "waiting", False), (60, "running", True)],
    )
    def test_a_task_of_another_pool(self, age: float, state: Literal["waiting", "running"], *, supplied: bool) -> None:
        """A task that waits for a node of another pool counts, until the job has waited beside it for 15 minutes."""
        other = replace(task("runner-9-1", state, age=9, registration="claim"), pool="gpuPool")
        actions = decided([job(1, age=age)], [other])
        assert starts(actions) == ([] if supplied else [(1, 0)])
        assert (EndTask(other, "more runners wait than jobs") in actions) is not supplied

    def test_pools_of_equal_labels(self) -> None:
        """Jobs of equal labels count on different tasks if their pools differ, or one has waited for longer."""
        own, others = task("runner-8-1", age=9), replace(task("runner-9-1", age=9), pool="other")
        old = job(1, age=20)
        elsewhere = replace(job(2, age=20), profile=replace(old.profile, pool="other"))
        assert starts(decided([old, job(3), job(4)], [own, others])) == [(4, 0)]
        assert starts(decided([old, job(3)], [others])) == [(1, 0)]
        assert starts(decided([old, elsewhere], [own, others])) == []
        assert starts(decided([old, elsewhere], [own])) == [(2, 0)]

    def test_a_profile_that_has_moved(self) -> None:
        """A job whose own task waits in the former pool of its profile gets one in the present pool."""
        former = replace(task("runner-1-1", age=20), pool="former")
        assert starts(decided([job(1, age=14)], [former])) == []
        assert starts(decided([job(1, age=20)], [former])) == [(1, 1)]
        assert decided([], [former], assumed=[job(1, age=60)]) == []

    def test_the_oldest_first(self) -> None:
        """Runners are started for the jobs first that wait longest."""
        assert starts(decided([job(1, age=5), job(2, age=9), job(3, age=7)], [])) == [(2, 0), (3, 0), (1, 0)]

    @pytest.mark.parametrize(("group", "supplied"), [("Other", False), ("Own", True), (None, True)])
    def test_a_group_of_other_repositories(self, group: str | None, *, supplied: bool) -> None:
        """A task in a runner group that is for other repositories only does not serve the job."""
        waiting = replace(job(1), closed_groups=frozenset({"other"}))
        assert (starts(decided([waiting], [task("runner-9-1", group=group)])) == []) == supplied


class TestReplacements:
    """Runners that came too late, or not at all."""

    def test_a_registration_about_to_expire(self) -> None:
        """A waiting task is replaced before its token expires."""
        old = task("runner-1-1", age=55, expires_at=NOW + minutes(11))
        (action,) = decided([job(1, age=55)], [old])
        assert isinstance(action, ReplaceTask)
        assert (action.task, action.job.job_key, action.replacement) == (old, "runner-1-1", 1)
        (later,) = decided([job(1, age=55)], [task("runner-1-1", age=55, expires_at=NOW + minutes(13))])
        assert isinstance(later, Wait)

    def test_many_at_once(self) -> None:
        """All tasks of a burst expire together and are replaced together, before anything else is started."""
        old = [task(f"runner-{n}-1", age=50, expires_at=NOW + minutes(9)) for n in range(1, 151)]
        found = decided([job(n, age=50) for n in range(1, 152)], old)
        assert [type(action) for action in found] == [ReplaceTask] * 150 + [StartRunner]

    def test_its_runners_were_in_another_scope(self) -> None:
        """If a job had runners in another scope before a setting changed, its next runner gets a new name."""
        (action,) = decided([job(1)], [], others=[task("runner-1-1", "finished", exit_code=75, url="elsewhere")])
        assert isinstance(action, StartRunner)
        assert (action.replacement, action.reason) == (1, "its runner ended without a job (exit code 75)")

    @pytest.mark.parametrize("names", [("runner-1-1", "runner-1-1-ab12"), ("runner-1-1-ab12", "runner-1-1")])
    def test_two_registrations_of_one_task(self, names: tuple[str, str]) -> None:
        """If a task has two registrations, the one that is online counts, in whatever order they are listed."""
        known = [runner(name, online=name == "runner-1-1-ab12", busy=True) for name in names]
        assert starts(decided([job(2)], [task("runner-1-1", "running", age=3)], known)) == [(2, 0)]

    def test_for_another_job(self) -> None:
        """An expiring task whose own job is gone is replaced for the job that needs it now."""
        (action,) = decided([job(2)], [task("runner-1-1", expires_at=NOW + minutes(5))])
        assert isinstance(action, ReplaceTask)
        assert (action.job.job_key, action.replacement) == ("runner-2-1", 0)

    def test_valid_tasks_first(self) -> None:
        """A task about to expire is surplus if another task can serve the job."""
        (action,) = decided([job(1)], [task("runner-1-1", expires_at=NOW + minutes(5)), task("runner-2-1")])
        assert isinstance(action, EndTask)
        assert action.reason == "more runners wait than jobs"
        assert action.task.task_id == "runner-1-1"

    def test_an_expired_registration(self) -> None:
        """A task that can no longer become a runner does not count, and ends after the new one was started."""
        old = task("runner-1-1", expires_at=NOW)
        start, end = decided([job(1)], [old])
        assert isinstance(start, StartRunner)
        assert start.replacement == 1
        assert end == EndTask(old, "its registration has expired")

    @pytest.mark.parametrize(("age", "known", "ended"), [(6, False, True), (6, True, False), (4, False, False)])
    def test_a_runner_that_github_removed(self, age: float, *, known: bool, ended: bool) -> None:
        """A JIT runner that GitHub no longer knows cannot start, so its waiting task is replaced."""
        old = task("runner-1-1", age=age, registration="jit")
        actions = decided([job(1)], [old], [runner("runner-1-1", online=False)] if known else [])
        assert (actions[1:] == [EndTask(old, "its registration has expired")]) == ended
        assert bool(actions) == ended

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ({"exit_code": 75}, "its runner ended without a job (exit code 75)"),
            ({"exit_code": 69}, "its runner ended without a job (exit code 69)"),
            ({}, "its runner ended without a job (no exit code)"),
            ({"exit_code": 78, "failure": "FailureExitCode"}, "its runner ended without a job (exit code 78)"),
            (
                {"failure": "the image cannot be pulled: ContainerInvalidImage"},
                "its runner ended without a job (the image cannot be pulled: ContainerInvalidImage)",
            ),
            ({"exit_code": 0}, "its runner is gone"),
            ({"ended_by_request": True}, "its runner is gone"),
        ],
    )
    def test_a_runner_that_is_gone(self, how: dict[str, Any], reason: str) -> None:
        """Whether its runner failed, ran another job or was ended: a job that still waits gets the next runner."""
        (action,) = decided([job(1)], [task("runner-1-1", "finished", **how)])
        assert isinstance(action, StartRunner)
        assert (action.replacement, action.reason) == (1, reason)

    @pytest.mark.parametrize(("failures", "pause"), [(1, 0), (2, 5), (3, 15), (4, 30), (5, 30), (9, 30), (48, 30)])
    def test_repeated_failures(self, failures: int, pause: float) -> None:
        """A job whose runners fail gets the next one after pauses that grow to half an hour, and that never end."""
        failed = ended(failures, age=pause, exit_code=75)
        assert starts(decided([job(1)], failed)) == [(1, failures)]
        if pause:
            assert starts(decided([job(1)], ended(failures, age=pause - 0.1, exit_code=75))) == []

    def test_the_last_end_counts(self) -> None:
        """A pause is counted from the end of the job's last runner, in whatever order Batch lists the tasks."""
        failed = [task("runner-1-1-r1", "finished", exit_code=78, age=4), task("runner-1-1", "finished", age=50)]
        for tasks in (failed, failed[::-1]):
            (pause,) = decided([job(1)], tasks)
            assert isinstance(pause, Pause)
            assert pause.reason == (
                "2 runners were started for it, 2 ended without a job, the last one with exit code 78; "
                "the next one is started at 12:01 UTC or soon after"
            )

    @pytest.mark.parametrize(("failures", "age", "alert"), [(3, 1, False), (4, 1, True), (4, 15, False), (5, 1, False)])
    def test_an_alert(self, failures: int, age: float, *, alert: bool) -> None:
        """When a job comes to its longest pause, a person is told for some passes; all later pauses are warnings."""
        assert minutes(15) == ALERT_FOR
        (pause,) = decided([job(1)], ended(failures, age=age, exit_code=75))
        assert isinstance(pause, Pause)
        assert pause.alert is alert

    def test_many_failing_jobs(self) -> None:
        """Many jobs whose runners fail are one line, which names one that is an alert, and they use up no start."""
        failing = [task for number in range(1, 4) for task in ended(2, number, age=1)]
        failing += ended(len(PAUSES), 4, age=1)
        start, pause = decided([job(number) for number in range(1, 6)], failing)
        assert isinstance(start, StartRunner)
        assert start.job.job_key == "runner-5-1"
        assert isinstance(pause, Pause)
        assert pause.ids == {"job": 4, "repository": "acme/app", "jobs": 4}
        assert pause.alert

    def test_runners_that_others_take(self) -> None:
        """A job whose runners are taken by other jobs gets more of them at once, later after pauses, without an end."""
        taken = ended(TAKEN_WITHOUT_PAUSE + 1, age=1, exit_code=0)
        assert starts(decided([job(1)], taken)) == [(1, TAKEN_WITHOUT_PAUSE + 1)]
        taken = ended(TAKEN_WITHOUT_PAUSE + len(PAUSES), age=1, exit_code=0)
        (pause,) = decided([job(1)], taken)
        assert isinstance(pause, Pause)
        assert pause.alert
        assert pause.reason.startswith("10 runners were started for it, 0 ended without a job; the next one")
        taken = ended(TAKEN_WITHOUT_PAUSE + len(PAUSES), age=30, exit_code=0)
        assert starts(decided([job(1)], taken)) == [(1, TAKEN_WITHOUT_PAUSE + len(PAUSES))]

    def test_containers_that_jobs_end(self) -> None:
        """Runners that other jobs took and broke off are not counted as failures of the job."""
        assert starts(decided([job(1)], ended(5, age=1, exit_code=71))) == [(1, 5)]

    def test_after_an_outage(self) -> None:
        """A job with many failures in an outage gets its runner within the longest pause after the last of them."""
        outage = ended(7, age=300, exit_code=75)
        assert starts(decided([job(1, age=400)], outage)) == [(1, 7)]


class TestJobsThatMayBeQueued:
    """Jobs of repositories that were not looked at completely."""

    def test_nothing_new(self) -> None:
        """They get no runner, and no report says that they wait."""
        assert decided([], [], complete=False, assumed=[job(1)]) == []
        assert decided([], [task("runner-1-1", age=30)], complete=False, assumed=[job(1, age=30)]) == []

    @pytest.mark.parametrize("left", [11, 0, -5])
    def test_a_registration_about_to_expire(self, left: float) -> None:
        """Their waiting tasks are replaced before the registration expires, or after it if no pass came before."""
        old = task("runner-1-1", age=55, expires_at=NOW + minutes(left))
        (action,) = decided([], [old], complete=False, assumed=[job(1, age=55)])
        assert isinstance(action, ReplaceTask)
        assert (action.task, action.job.job_key, action.replacement) == (old, "runner-1-1", 1)
        assert action.reason == "its registration is about to expire, and its job may still wait"
        assert decided([], [task("runner-1-1", age=55)], complete=False, assumed=[job(1, age=55)]) == []

    @pytest.mark.parametrize("state", ["waiting", "running"])
    def test_their_tasks_serve_no_other_job(self, state: Any) -> None:
        """A task that was started for one of them is not counted for another job."""
        own = task("runner-1-1", state, age=8)
        assert starts(decided([job(2)], [own], complete=False, assumed=[job(1)])) == [(2, 0)]
        assert starts(decided([job(2)], [own], complete=False)) == []

    def test_they_take_nothing_else(self) -> None:
        """A job whose runner is busy is not assumed to wait: no task of another job is renewed for it."""
        tasks = [task("runner-1-1", "running", age=30), task("runner-9-1", expires_at=NOW + minutes(5))]
        known = [runner("runner-1-1", busy=True)]
        assert decided([], tasks, known, complete=False, assumed=[job(1)]) == []

    def test_an_idle_runner_of_others(self) -> None:
        """An idle runner that we did not start is no reason to let their tasks expire."""
        old = task("runner-1-1", expires_at=NOW + minutes(5))
        (action,) = decided([], [old], [runner("their-vm")], complete=False, assumed=[job(1)])
        assert isinstance(action, ReplaceTask)

    def test_their_tasks_are_no_surplus(self) -> None:
        """Where all other repositories are known, only tasks of other jobs are ended as surplus."""
        (action,) = decided([], [task("runner-1-1"), task("runner-2-1")], assumed=[job(1)])
        assert isinstance(action, EndTask)
        assert action.task.task_id == "runner-2-1"


class TestWaitReports:
    """Jobs that wait long although nothing is to be done for them."""

    @pytest.mark.parametrize("age", [0, 5, 14.9])
    def test_not_long(self, age: float) -> None:
        """While a cold pool may still be starting a node, nothing is reported."""
        assert decided([job(1, age=age)], [task("runner-1-1", age=age)]) == []

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ("waiting", "its runner waits for a free slot on batchLinux"),
            ("running", "its runner has started, and has not taken it yet"),
        ],
    )
    def test_what_for(self, state: Any, reason: str) -> None:
        """The report says what the task that will serve the job is doing."""
        (wait,) = decided([job(1, age=15)], [task("runner-2-1", state, age=3)])
        assert isinstance(wait, Wait)
        assert (wait.job.job_key, wait.task.task_id, wait.reason) == ("runner-1-1", "runner-2-1", reason)

    @pytest.mark.parametrize(
        ("slots", "known", "reason"),
        [
            (4, {"batchLinux": 2}, "its runner needs 4 slots, and a node of batchLinux has 2"),
            (2, {"batchLinux": 2}, "its runner waits for a free slot on batchLinux"),
            (4, {"another": 2}, "its runner waits for a free slot on batchLinux"),
        ],
    )
    def test_slots_that_no_node_has(self, slots: int, known: Mapping[str, int], reason: str) -> None:
        """A task that fits on no node of its pool is reported as such; where nobody knows, it waits for a slot."""
        (wait,) = decided([job(1, age=15)], [task("runner-1-1", slots=slots)], node_slots=known)
        assert isinstance(wait, Wait)
        assert wait.reason == reason

    def test_many(self) -> None:
        """Of many waiting jobs the oldest are reported, after everything that is done."""
        jobs = [job(number, age=20 + number) for number in range(1, WAIT_REPORTS_PER_PASS + 6)]
        tasks = [task(f"runner-{number}-1", age=20) for number in range(1, WAIT_REPORTS_PER_PASS + 6)]
        first, *waits = decided([*jobs, job(99)], tasks)
        assert isinstance(first, StartRunner)
        reported = [wait.job.event.workflow_job.id for wait in waits if isinstance(wait, Wait)]
        assert reported == list(range(WAIT_REPORTS_PER_PASS + 5, 5, -1))
        assert len(waits) == WAIT_REPORTS_PER_PASS


class TestWhatIsLeftOver:
    """Tasks that are ended and runners that are removed."""

    def test_more_tasks_than_jobs(self) -> None:
        """A waiting task that no job needs is ended, but not the one whose own job waits."""
        (action,) = decided([job(1)], [task("runner-2-1"), task("runner-1-1")])
        assert isinstance(action, EndTask)
        assert (action.task.task_id, action.reason) == ("runner-2-1", "more runners wait than jobs")

    def test_two_tasks_of_one_id(self) -> None:
        """Where two Batch jobs hold a task of one id, one of the two serves the job, and the other is ended."""
        two = [task("runner-1-1", batch_job="one"), task("runner-1-1", batch_job="other")]
        (action,) = decided([job(1)], two)
        assert isinstance(action, EndTask)
        assert action.task in two

    def test_a_new_task(self) -> None:
        """A task that was created a moment ago is left alone: its job may not have been listed yet."""
        assert decided([], [task("runner-1-1", age=4.9)]) == []
        assert len(decided([], [task("runner-1-1", age=5)])) == 1

    def test_not_all_is_known(self) -> None:
        """If a repository could not be looked at, no task is ended as surplus, but missing ones are started."""
        assert decided([], [task("runner-1-1")], complete=False) == []
        assert starts(decided([job(1)], [], complete=False)) == [(1, 0)]

    def test_a_running_task_is_left_alone(self) -> None:
        """A runner that no job uses is not ended: it leaves at its idle limit."""
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
        """A runner is removed if it is offline and named like a task that is over; no other ever is."""
        tasks = [
            task("runner-1-1", "finished", exit_code=0),
            task("runner-2-1", expires_at=None),
            task("runner-3-1", "finished", exit_code=0, age=4),
        ]
        actions = [action for action in decided([], tasks, [known]) if isinstance(action, RemoveRunner)]
        assert actions == ([RemoveRunner(ACME, known, "its task is over")] if removed else [])

    @pytest.mark.parametrize(("registration", "removed"), [("claim", True), ("jit", False)])
    def test_a_doubled_runner(self, registration: Literal["claim", "jit"], *, removed: bool) -> None:
        """Of two runners of a task that claims, the one that never came online is removed while the other runs."""
        tasks = [task("runner-1-1", "running", age=20, registration=registration, expires_at=None)]
        lost, online = runner("runner-1-1", online=False), runner("runner-1-1-00ff", busy=True)
        found = decided([], tasks, [lost, online])
        assert found == ([RemoveRunner(ACME, lost, "its task has another runner")] if removed else [])
        assert decided([], tasks, [lost]) == []

    def test_a_runner_that_comes_online(self) -> None:
        """GitHub may still show the runner of a lost node as online while the task's new one has yet to connect."""
        tasks = [task("runner-1-1", "running", age=60, registration="claim", started_at=NOW - minutes(14))]
        assert decided([], tasks, [runner("runner-1-1"), runner("runner-1-1-00ff", online=False)]) == []

    @pytest.mark.parametrize(("exit_code", "removed"), [(77, True), (75, False)])
    def test_a_stolen_claim(self, exit_code: int, *, removed: bool) -> None:
        """Where a container found its claim used, the runner that somebody else made of it is removed at once."""
        tasks = [task("runner-1-1", "finished", age=1, registration="claim", exit_code=exit_code)]
        known = [runner("runner-1-1"), runner("runner-1-1-00ff", online=False), runner("runner-1-1-00aa", busy=True)]
        reason = "its claim was used by somebody else"
        found = [action for action in decided([], tasks, known) if isinstance(action, RemoveRunner)]
        assert found == ([RemoveRunner(ACME, one, reason) for one in known[:2]] if removed else [])

    def test_removals_are_bounded(self) -> None:
        """One pass removes a limited number of runners."""
        tasks = [task(f"runner-{n}-1", "finished", exit_code=0) for n in range(1, REMOVALS_PER_PASS + 5)]
        found = decided([], tasks, [runner(over.task_id, online=False) for over in tasks])
        assert len(found) == REMOVALS_PER_PASS


class TestClaims:
    """Tasks whose containers claim their registration."""

    @pytest.mark.parametrize(("age", "expected"), [(14.9, []), (15, [(1, 0)])])
    def test_a_container_that_asks(self, age: float, expected: list[tuple[int, int]]) -> None:
        """A container counts for as long as it may still ask for its registration, and then no longer."""
        claiming = task("runner-9-1", "running", age=age, registration="claim", expires_at=None)
        assert starts(decided([job(1)], [claiming])) == expected

    def test_nothing_expires(self) -> None:
        """A task that claims waits for as long as its job, and is neither replaced nor ended for its age."""
        waiting = task("runner-1-1", age=60 * 23, registration="claim", expires_at=None)
        assert decided([job(1, age=60 * 23)], [waiting], []) == [
            Wait(job(1, age=60 * 23), waiting, "its runner waits for a free slot on batchLinux")
        ]
        assert decided([], [waiting], complete=False) == []
        assert clean_up([waiting], set(), NOW, timedelta(days=7), minutes(5)) == []

    def test_a_claim_that_is_refused(self) -> None:
        """A task that has waited for longer than its claim is good for serves no job, in view or not."""
        waiting = task("runner-9-1", age=60 * 48, registration="claim", expires_at=None)
        ended = EndTask(waiting, "its registration has expired")
        assert decided([job(1)], [waiting]) == [StartRunner(job(1), 0, "no runner was started for it"), ended]
        assert clean_up([waiting], set(), NOW, timedelta(days=7), minutes(5)) == [ended]

    def test_surplus(self) -> None:
        """A task that claims and that no job needs is ended like any other."""
        waiting = task("runner-1-1", registration="claim", expires_at=None)
        assert decided([], [waiting]) == [EndTask(waiting, "more runners wait than jobs")]


class TestRunAgain:
    """Tasks that Batch ran again after their node was lost."""

    def test_an_idle_runner(self) -> None:
        """If its job does not wait any more, its runner is removed from GitHub, which refuses if it has a job."""
        known = runner("runner-1-1")
        (action,) = decided([], [task("runner-1-1", "running", runs_before=1)], [known])
        assert isinstance(action, RemoveRunner)
        assert (action.access, action.runner) == (ACME, known)
        assert action.reason == "Batch ran it again after its node was lost, and its job no longer waits"

    @pytest.mark.parametrize(
        ("registration", "age", "ended"),
        [("token", 9.9, False), ("token", 10, True), ("claim", 14.9, False), ("claim", 15, True)],
    )
    def test_no_runner(self, registration: str, age: float, *, ended: bool) -> None:
        """A container is ended when it can become a runner no more; its runner is asked for once more before."""
        lost = task("runner-1-1", "running", age=age, runs_before=1, registration=registration)
        reason = "Batch ran it again after its node was lost, and its job no longer waits"
        actions = decided([], [lost], [runner("runner-1-1", online=False)])
        assert actions == ([EndTask(lost, reason, ACME)] if ended else [])

    @pytest.mark.parametrize(
        ("jobs", "changes", "known", "complete"),
        [
            ([job(1)], {}, runner("runner-1-1"), True),
            ([job(9)], {}, runner("runner-1-1"), True),
            ([], {}, runner("runner-1-1", busy=True), True),
            ([], {}, runner("runner-1-1"), False),
            ([], {"runs_before": 0}, runner("runner-1-1"), True),
            ([], {"started_at": None}, None, True),
            ([], {"age": 60}, runner("runner-1-1", online=False, busy=True), True),
        ],
    )
    def test_left_alone(
        self, jobs: list[WaitingJob], changes: dict[str, Any], known: Runner | None, *, complete: bool
    ) -> None:
        """A runner stays if a job waits for it, if it has one, if not all jobs are known, and if it runs once only."""
        again = task("runner-1-1", "running", **{"runs_before": 1} | changes)
        assert decided(jobs, [again], [known] if known else [], complete=complete) == []

    def test_its_own_job_waits_elsewhere(self) -> None:
        """A runner stays for its own job, although another runner is meant to take that one."""
        tasks = [task("runner-1-1", "running", runs_before=1), task("runner-1-1-r1", "running", runs_before=1)]
        assert decided([job(1)], tasks, [runner("runner-1-1"), runner("runner-1-1-r1")]) == []


class TestCleanUp:
    """`clean_up`."""

    @pytest.mark.parametrize(("period", "most"), [(1, 70), (5, 348), (10, 695)])
    def test_old_tasks(self, period: float, most: int) -> None:
        """A finished task is deleted when its retention is over, so many in one pass that a day's are gone in a day."""
        old = [task(f"runner-{n}-1", "finished", age=8 * 1440) for n in range(1, most + 3)]
        young = task("runner-999-1", "finished", age=6 * 1440)
        found = clean_up([young, *old], {URL}, NOW, timedelta(days=7), minutes(period))
        assert [action.task for action in found if isinstance(action, DeleteTask)] == old[:most]
        assert len(found) == most
        assert most * 24 * 60 / period >= DELETIONS_PER_DAY

    def test_overdue_tasks(self) -> None:
        """A task that runs well past its time limit is ended, because Batch should have ended it."""
        overdue = task("runner-1-1", "running", age=7 * 60 + 15, max_hours=7)
        others = [
            task("runner-2-1", "running", age=7 * 60 + 14, max_hours=7),
            task("runner-3-1", "running", age=9999),
            task("runner-4-1", age=9999, max_hours=7),
        ]
        assert clean_up([overdue, *others], {URL}, NOW, timedelta(days=7), minutes(5)) == [
            EndTask(overdue, "it is past its wall-clock limit")
        ]

    def test_tasks_of_no_known_scope(self) -> None:
        """A waiting task of a scope that is not looked at any more is ended when its registration expires."""
        old = task("runner-1-1", url="elsewhere", expires_at=NOW)
        others = [
            task("runner-2-1", url="elsewhere", expires_at=NOW + minutes(1)),
            task("runner-3-1", url="elsewhere", expires_at=None),
            task("runner-4-1", expires_at=NOW),
        ]
        assert clean_up([old, *others], {URL}, NOW, timedelta(days=7), minutes(5)) == [
            EndTask(old, "its registration has expired")
        ]
