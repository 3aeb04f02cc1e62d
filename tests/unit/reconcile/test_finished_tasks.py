"""The finished tasks of the last day, kept from pass to pass."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.reconcile.finished_tasks import MARGIN, RECENT, FinishedTasks
from orchestrator.reconcile.memory import Record, decode, encode
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import TaskState
from tests.builders import task_state

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
JOB = "github-runner-linux"
PASS = timedelta(minutes=5)


def finished(number: int, ago: timedelta = timedelta(), **values: Any) -> TaskState:
    """Return a task that finished some time ago."""
    given = {
        "batch_job": JOB,
        "repository": "acme/app",
        "profile": "big",
        "ended_at": NOW - ago,
        "exit_code": 0,
    } | values
    return task_state(f"runner-{number}-1", "linux", "finished", NOW - ago - PASS, **given)


def living(number: int, **values: Any) -> TaskState:
    """Return a task that runs."""
    given = {"batch_job": JOB, "repository": "acme/app", "url": "https://github.com/acme"} | values
    return task_state(f"runner-{number}-1", "linux", "running", NOW, **given)


def again(known: FinishedTasks) -> FinishedTasks:
    """Return what another process reads of it."""
    return decode(encode(Record(NOW, {}, known))).finished


def test_from_when_on() -> None:
    """A Batch job is listed for a day back at first, then since the last look minus a margin, never beyond a day."""
    known = FinishedTasks()
    assert known.since(JOB, NOW) == NOW - RECENT
    known.merged([], [JOB], NOW)
    assert known.since(JOB, NOW + PASS) == NOW - MARGIN
    assert known.since("another", NOW + PASS) == NOW + PASS - RECENT
    assert known.since(JOB, NOW + 2 * RECENT) == NOW + RECENT
    assert again(known).since(JOB, NOW + PASS) == NOW - MARGIN


def test_new_ones() -> None:
    """A task that finished is new once, also for another process; of a job that is looked at first only the latest."""
    known = FinishedTasks()
    one, old = finished(1), finished(2, timedelta(hours=2))
    known.merged([one, old, living(3)], [JOB], NOW)
    assert known.new == [one]
    known.merged([one], [JOB], NOW + PASS)
    assert known.new == []
    late = finished(4, -PASS)
    known = again(known)
    known.merged([one, late, finished(5, timedelta(days=8))], [JOB], NOW + 2 * PASS)
    assert known.new == [late]


def test_kept_for_a_day() -> None:
    """A finished task is among the tasks of each pass of a day, though it is listed once; the overdue are not kept."""
    known = FinishedTasks()
    one, overdue = finished(1), finished(2, timedelta(days=8))
    assert known.merged([overdue, one], [JOB], NOW) == [overdue, one]
    assert known.merged([], [JOB], NOW + PASS) == [one]
    assert known.merged([], [JOB], NOW + RECENT) == [one]
    assert known.merged([], [JOB], NOW + RECENT + PASS) == []


def test_the_later_state_counts() -> None:
    """A task that ends while it is listed counts as finished; one that runs again counts as running, in all passes."""
    known = FinishedTasks()
    ended = finished(1)
    assert known.merged([living(1), ended], [JOB], NOW) == [ended]
    running = living(1)
    assert known.merged([running], [JOB], NOW + PASS) == [running]
    assert known.merged([], [JOB], NOW + PASS) == []
    assert again(known).merged([], [JOB], NOW + PASS) == []


def test_a_batch_job_that_is_gone() -> None:
    """The tasks of a Batch job that somebody deleted are forgotten, and a new one of its name is listed anew."""
    known = FinishedTasks()
    known.merged([finished(1)], [JOB], NOW)
    assert known.merged([], [], NOW + PASS) == []
    assert known.since(JOB, NOW + PASS) == NOW + PASS - RECENT


def test_the_notes_of_a_repository() -> None:
    """The newest living task of a repository tells its notes, which stay as long as one of its tasks does."""
    known = FinishedTasks()
    known.merged(
        [living(1, url="new"), replace(living(2, url="old"), created_at=NOW - PASS), living(3, repository="")],
        [JOB], NOW,
    )  # fmt: skip
    assert known.notes == {"acme/app": TaskNotes(url="new")}
    known.merged([finished(1)], [JOB], NOW)
    assert known.notes == {"acme/app": TaskNotes(url="new")}
    known.merged([], [JOB], NOW + RECENT + PASS)
    assert known.notes == {}


def test_written_and_read() -> None:
    """Another process has the same tasks and notes, also after it has written them itself."""
    known = FinishedTasks()
    notes = TaskNotes(url="https://github.com/acme", labels=("a",), idle_minutes=5)
    known.notes["acme/app"] = notes
    tasks = [
        finished(1), finished(2, started_at=NOW - PASS, failure="TaskEnded", ended_by_request=True),
        finished(3, timedelta(hours=3), exit_code=None), finished(4, ended_at=None, repository=""),
    ]  # fmt: skip
    known.merged([replace(task, notes=notes if task.repository else TaskNotes()) for task in tasks], [JOB], NOW)
    kept = {task.key: task for task in known.merged([], [JOB], NOW)}
    other = again(known)
    assert other.notes == known.notes
    assert {task.key: task for task in other.merged([], [JOB], NOW)} == kept
    assert {task.key: task for task in again(other).merged([], [JOB], NOW)} == kept


def test_only_what_changed_is_written_anew() -> None:
    """The tasks of an hour are compressed once, and again when one of them came or went."""
    known = FinishedTasks()
    known.merged([finished(1), finished(2, timedelta(hours=5))], [JOB], NOW)
    _, first, second = known.encoded()
    known.merged([finished(3)], [JOB], NOW + PASS)
    _, *pieces = known.encoded()
    assert [piece in (first, second) for piece in pieces].count(True) == 1
    known.merged([], [JOB], NOW + RECENT - timedelta(hours=2))
    assert len(list(known.encoded())) == 2
