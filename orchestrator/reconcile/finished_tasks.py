"""The finished tasks of the last day, kept from pass to pass, so that Batch lists each of them once or twice (pure).

A finished task does not change any more, and a day's finished tasks are many: they are most of what Batch would list
and send in every pass. Of each is kept how it ended. What its environment says of its runner is kept once for each
repository, in the words of a task that was seen alive; so an environment, which holds a secret, is not read back.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.runners.notes import SAYS_NOTHING, TaskNotes
from orchestrator.runners.task import TaskState

# Tasks that finished within this time are kept, so that their repositories stay in view: as long as GitHub lets a job
# wait.
RECENT = timedelta(hours=24)
# So much of the time before the last look is listed again: the function's clock may differ from Batch's by some
# minutes, and Batch may tell late that a task has ended.
MARGIN = timedelta(minutes=10)
# The lowest level of compression: the rows of one day are much alike, and a pass has better things to do.
_LEVEL = 1


class FinishedTasks:
    """Finished tasks by their key, the notes of their repositories, and when each Batch job was looked at.

    Attributes:
        notes: what a task of each repository says about its runner, by the repository's full name.
        new: the tasks that the last look saw finished for the first time. In a Batch job that was never looked at,
            which is new unless the memory was lost, they are those that ended a moment ago.
    """

    def __init__(self) -> None:
        self.notes: dict[str, TaskNotes] = {}
        self.new: Sequence[TaskState] = ()
        self._tasks: dict[tuple[str, str, str], TaskState] = {}
        self._looked_at: dict[str, datetime] = {}
        # The rows of each hour as they are written, and the hours whose rows must be made anew.
        self._written: dict[int, bytes] = {}
        self._changed: set[int] = set()

    def since(self, batch_job: str, now: datetime) -> datetime:
        """Return from when on a Batch job's finished tasks are to be listed."""
        looked_at = self._looked_at.get(batch_job)
        return now - RECENT if looked_at is None else max(looked_at - MARGIN, now - RECENT)

    def merged(self, listed: Iterable[TaskState], batch_jobs: Iterable[str], now: datetime) -> list[TaskState]:
        """Return all tasks, each once, and keep those that finished lately.

        Args:
            listed: what Batch lists now; the later state of a task counts.
            batch_jobs: all Batch jobs that were listed. Tasks of others are forgotten: they are gone.
            now: when the listing began.
        """
        found = {task.key: task for task in listed}
        jobs = frozenset(batch_jobs)
        oldest = now - RECENT
        self.new = [
            task
            for key, task in found.items()
            if task.state == "finished"
            and key not in self._tasks
            and task.end >= self._looked_at.get(key[1], now) - MARGIN
        ]
        for key in [
            key for key, task in self._tasks.items() if task.end < oldest or key[1] not in jobs or key in found
        ]:
            self._changed.add(_hour(self._tasks.pop(key)))
        kept = {key: task for key, task in found.items() if task.state == "finished" and task.end >= oldest}
        self._tasks |= kept
        self._changed.update(map(_hour, kept.values()))
        self._looked_at = dict.fromkeys(jobs, now)
        self._learn(found.values())
        return [*(task for key, task in found.items() if key not in self._tasks), *self._tasks.values()]

    def _learn(self, found: Iterable[TaskState]) -> None:
        """Keep the notes of the newest living task of each repository; forget repositories without tasks."""
        living = sorted((task for task in found if task.state != "finished"), key=lambda task: task.created_at)
        self.notes |= {task.repository: task.notes for task in living if task.repository}
        named = {task.repository for task in self._tasks.values()} | {task.repository for task in living}
        self.notes = {name: notes for name, notes in self.notes.items() if name in named}

    def encoded(self) -> Iterator[bytes]:
        """Yield what is kept, compressed; the pieces follow each other as one gzip file of JSON lines.

        An hour's tasks are one piece and one line, which is made anew only when a task of it came or went.
        """
        looked_at = {job: moment.timestamp() for job, moment in self._looked_at.items()}
        notes = {name: notes.environment("") for name, notes in self.notes.items()}
        yield _piece({"lookedAt": looked_at, "notes": notes})
        changed: dict[int, list[object]] = {hour: [] for hour in self._changed}
        for task in self._tasks.values():
            hour = _hour(task)
            if hour in changed:
                changed[hour].append(_row(task))
        for hour, rows in changed.items():
            self._written.pop(hour, None)
            if rows:
                self._written[hour] = _piece(rows)
        self._changed.clear()
        yield from self._written.values()

    @classmethod
    def decoded(cls, lines: Iterator[Any]) -> "FinishedTasks":
        """Read what `encoded` has written.

        Args:
            lines: the values of its lines.

        Raises:
            LookupError, TypeError, ValueError, AttributeError, StopIteration: it is something else.
        """
        found = cls()
        head = next(lines)
        found._looked_at = {job: datetime.fromtimestamp(moment, UTC) for job, moment in head["lookedAt"].items()}
        found.notes = {name: TaskNotes.read(environment) for name, environment in head["notes"].items()}
        for rows in lines:
            for row in rows:
                task = _task(row, found.notes)
                found._tasks[task.key] = task
                found._changed.add(_hour(task))
        return found


def _hour(task: TaskState) -> int:
    end = task.end
    return end.toordinal() * 24 + end.hour


def _piece(value: object) -> bytes:
    return gzip.compress(f"{json.dumps(value, separators=(',', ':'))}\n".encode(), _LEVEL, mtime=0)


def _row(task: TaskState) -> list[object]:
    times = (task.created_at, task.started_at, task.ended_at)
    return [
        task.pool, task.batch_job, task.task_id, *(moment and round(moment.timestamp(), 3) for moment in times),
        task.exit_code, int(task.ended_by_request), task.failure, task.repository, task.profile,
    ]  # fmt: skip


def _task(row: list[Any], notes: Mapping[str, TaskNotes]) -> TaskState:
    pool, batch_job, task_id, created, started, ended, exit_code, ended_by_request, failure, repository, profile = row
    return TaskState.quickly(
        task_id=task_id,
        pool=pool,
        state="finished",
        created_at=datetime.fromtimestamp(created, UTC),
        started_at=None if started is None else datetime.fromtimestamp(started, UTC),
        ended_at=None if ended is None else datetime.fromtimestamp(ended, UTC),
        exit_code=exit_code,
        ended_by_request=bool(ended_by_request),
        failure=failure,
        notes=notes.get(repository, SAYS_NOTHING),
        batch_job=batch_job,
        repository=repository,
        profile=profile,
    )
