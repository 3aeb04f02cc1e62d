"""Runner tasks on Azure Batch: one task per runner, in a Batch job of its pool, account and priority.

A task's id is unique in its Batch job only, and a pool has many. Two tasks of one id would be two runners for one
workflow job. So before a task is created, it is looked for in the other Batch jobs of its pool that may hold it. That
is a call more, and is left out where the answer is known:

- A task that this process has created or listed: its Batch job is remembered.
- A workflow job that was queued after this process had started and `SETTLED_AFTER` had passed. Its account, pool and
  priority are made of the delivery's own words and of the app settings, and a change of these starts all processes
  anew. So all of them choose the same Batch job, where Batch refuses a second task of the id.

What remains: an account that is renamed while its workflow job waits, a delivery with the new name, and a process that
has not seen the task. Then there are two tasks; a pass lists both, and ends the one that is surplus.

Source: Azure Batch service REST API 2025-06-01.
"""

import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import batched, islice
from typing import Any, cast

from azure.batch.models import (
    BatchAllTasksCompleteMode,
    BatchJobConstraints,
    BatchJobCreateOptions,
    BatchPoolInfo,
    BatchTaskCreateOptions,
    BatchTaskState,
)
from azure.core.exceptions import AzureError, ServiceResponseError, ServiceResponseTimeoutError

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import PRIORITIES, KnownJobs, job_id, list_jobs, possible_job_ids
from orchestrator.azure.errors import ErrorCode, expecting, task_error, translating
from orchestrator.azure.paging import answer, pages
from orchestrator.azure.task_model import (
    RETENTION,
    SELECT,
    SELECT_FINISHED,
    created_at,
    finished_task,
    repository_of,
    task_options,
    task_state,
)
from orchestrator.azure.transport import TimeOuts
from orchestrator.clock import Clock, utc_now
from orchestrator.errors import TransientError, UpstreamError
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.skipped import skipped
from orchestrator.runners.notes import SAYS_NOTHING, TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState, is_task_id
from orchestrator.runtime import MakeLock

log = Log(__name__)

# A delivery has 7 s in all.
TIME_OUTS = TimeOuts(connect=3, read=6, total=15)
# How old a process's list of the Batch jobs may be where the task was not found in those that are known, and where it
# is created. A Batch job that another process has made since then is missing.
LISTED_WITHIN = timedelta(minutes=1)
LISTED_WITHIN_FOR_ADD = timedelta(minutes=5)
# The same where runners are counted: as old as the count itself may be.
LISTED_WITHIN_FOR_LIVE = timedelta(seconds=5)
# From then on no process with other settings runs any more. Clocks may differ by some minutes, too.
SETTLED_AFTER = timedelta(minutes=10)
# Tasks whose Batch job is remembered. A burst and its redeliveries fit in.
REMEMBERED_TASKS = 20_000

# The codes of "there is no such task".
GONE = ("TaskNotFound", "JobNotFound")

WAITING = "state eq 'active'"
RUNNING = "state eq 'running'"
# So much is read of a list of tasks that only wait to be deleted: a page holds more than one pass deletes.
PAGES_PAST_RETENTION = 2
# So many ids are asked for in one call: they stand in its address.
_IDS_AT_ONCE = 20


class RunnerTasks:
    """The runner tasks of one Batch account.

    Args:
        account: the Batch account.
        clock: the time.
        lock: makes a lock.
        time_outs: of each call.
    """

    def __init__(
        self,
        account: BatchAccount,
        clock: Clock = utc_now,
        *,
        lock: MakeLock = threading.Lock,
        time_outs: TimeOuts = TIME_OUTS,
    ) -> None:
        self._client = account.client(time_outs)
        self._settled_at = clock() + SETTLED_AFTER
        self._jobs = KnownJobs(lambda: list_jobs(self._client), clock, lock=lock)
        self._places = _Places(lock())
        # What the environments of the tasks say that waited or ran at the last look: reading one takes long.
        self._notes: Mapping[tuple[str, str, str, datetime], TaskNotes] = {}

    def add(self, task: RunnerTask) -> bool:
        """Create the task, and its Batch job where there is none yet; return False if the task exists already.

        Raises:
            TransientError: Batch does not answer, is busy, or the Batch job is being deleted.
            UpstreamRefused: Batch will not take it.
        """
        job = job_id(task.pool, task.account, task.priority)
        if self._is_elsewhere(task, job):
            return False
        options = task_options(task, job)
        created = self._create_task(job, options)
        if created is None:
            self._create_job(task, job)
            created = self._create_task(job, options)
        if created is None:
            raise TransientError(f"the Batch job {job} disappeared as soon as it was created")
        self._places.remember(task.pool, task.task_id, job)
        return created

    def state(self, pool: str, task_id: str, *, account: str | None = None) -> TaskState | None:
        """Return what is known of a task; None if there is none.

        Args:
            pool: the task's pool.
            task_id: its id.
            account: the login of the account that it was started for; without it all Batch jobs of the pool are asked.

        Raises:
            UpstreamError: Batch does not tell.
        """

        def read(job: str) -> TaskState:
            return task_state(pool, job, answer(self._client, f"/jobs/{job}/tasks/{task_id}", {"$select": SELECT}))

        with translating("look for a task"):
            found = self._in_its_job(pool, task_id, None, read, account=account)
        return None if isinstance(found, ErrorCode) else found

    def live(self, pool: str) -> Iterable[TaskState]:
        """Return the tasks that wait or run, each once.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        with translating("list the Batch jobs"):
            jobs = self._jobs.of(pool, LISTED_WITHIN_FOR_LIVE)
        with translating("list the tasks"):
            # A task that starts meanwhile is listed twice. The other order could miss it.
            found = [task for clause in (WAITING, RUNNING) for job in jobs for task in self._list(pool, job, clause)]
        return {task.task_id: task for task in found}.values()

    def end_waiting(self, pool: str, task_id: str, batch_job: str | None = None, *, account: str | None = None) -> bool:
        """End a task that still waits for a node; return False if the task does not wait or does not exist.

        The task may start between the two calls. Its container then needs seconds to become a runner, so no job is
        interrupted.

        Args:
            pool: the task's pool.
            task_id: its id.
            batch_job: its Batch job, if known (`TaskState.batch_job`).
            account: as for `state`.

        Raises:
            UpstreamError: Batch does not do it.
        """

        def end_if_waiting(job: str) -> bool:
            task = self._client.get_task(job, task_id, select=["id", "state"])
            if task.state != BatchTaskState.ACTIVE:
                return False
            self._client.terminate_task(job, task_id)
            return True

        with translating("end a task"):
            return self._in_its_job(pool, task_id, batch_job, end_if_waiting, "TaskCompleted", account=account) is True

    def listed(self, pools: Iterable[str], now: datetime, known: FinishedTasks) -> list[TaskState]:
        """Return the runner tasks that wait, run or finished lately, and those that are past their retention.

        The states are listed in the order in which a task goes through them. So a task that changes its state during
        the listing is listed twice, and never missed.

        Args:
            pools: the pools to look at.
            now: the time.
            known: the tasks that were finished at the last look; only what finished since then is listed.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        with translating("list the Batch jobs"):
            self._jobs.refresh()
        jobs = [(pool, job) for pool in pools for job in self._jobs.known(pool)]
        found = (task for pool, job in jobs for task in self._of_job(pool, job, now, known))
        with translating("list the tasks"):
            tasks = known.merged(found, [job for _, job in jobs], now)
        self._notes = {(*task.key, task.created_at): task.notes for task in tasks if task.state != "finished"}
        return tasks

    def _of_job(self, pool: str, job: str, now: datetime, known: FinishedTasks) -> Iterator[TaskState]:
        for clause in (WAITING, RUNNING):
            yield from self._list(pool, job, clause)
        yield from self._finished(pool, job, f"ge {_date_time(known.since(job, now))}", known)
        try:
            with translating("list the tasks past their retention"):
                limit = f"lt {_date_time(now - RETENTION)}"
                yield from self._finished(pool, job, limit, known, PAGES_PAST_RETENTION)
        except UpstreamError as error:
            skipped(log, error, what=f"the tasks of {job} that are past their retention")

    def _finished(
        self, pool: str, job: str, limit: str, known: FinishedTasks, most_pages: int | None = None
    ) -> Iterator[TaskState]:
        """Yield the tasks that finished within a limit, of so many pages or of all."""
        clause = f"state eq 'completed' and stateTransitionTime {limit}"
        for page in islice(self._pages(job, clause, SELECT_FINISHED), most_pages):
            named = [(repository_of(task), task) for task in page]
            self._learn_repositories(job, named, known.notes)
            for repository, task in named:
                yield finished_task(pool, job, task, known.notes.get(repository, SAYS_NOTHING), repository)

    def _learn_repositories(
        self, job: str, finished: Iterable[tuple[str, Mapping[str, Any]]], notes: MutableMapping[str, TaskNotes]
    ) -> None:
        """Read one environment of each repository that is not known; its newest task's, of those that are given."""
        unknown = [(name, task) for name, task in finished if name and name not in notes]
        newest = dict(sorted(unknown, key=lambda named: str(named[1]["creationTime"])))
        for chosen in batched(newest.values(), _IDS_AT_ONCE, strict=False):
            clause = " or ".join(f"id eq '{task['id']}'" for task in chosen)
            for page in self._pages(job, clause, SELECT):
                notes.update((repository_of(task), task_state("", job, task).notes) for task in page)

    def end(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """End a task, whether it waits or runs. A task that has finished, or does not exist, is no error.

        Args:
            pool: the task's pool.
            task_id: its id.
            batch_job: its Batch job, if known.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with translating("end a task"):
            self._in_its_job(
                pool, task_id, batch_job, lambda job: self._client.terminate_task(job, task_id), "TaskCompleted"
            )

    def delete(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """Delete a task. A task that does not exist is no error.

        Args:
            pool: the task's pool.
            task_id: its id.
            batch_job: its Batch job, if known.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with translating("delete a task"):
            self._in_its_job(pool, task_id, batch_job, lambda job: self._client.delete_task(job, task_id))

    def slots_per_node(self, pool: str) -> int:
        """Return how many slots a node of the pool has.

        Raises:
            UpstreamError: Batch does not tell.
        """
        with translating("look at a pool"):
            return self._client.get_pool(pool, select=["id", "taskSlotsPerNode"]).task_slots_per_node or 1

    def _is_elsewhere(self, task: RunnerTask, job: str) -> bool:
        """Whether another Batch job of the pool holds a task of this id; see the module's text."""
        with translating("look for a task"):
            for other in self._other_jobs(task, job):
                look = functools.partial(self._client.get_task, other, task.task_id, select=["id"])
                found = expecting(look, *GONE)
                if not isinstance(found, ErrorCode):
                    if found.id != task.task_id:
                        raise TransientError("what answers for Batch names no task")
                    self._places.remember(task.pool, task.task_id, other)
                    return True
        return False

    def _other_jobs(self, task: RunnerTask, job: str) -> list[str]:
        """Return the Batch jobs, beside its own, that may hold a task of this id."""
        place = self._places.of(task.pool, task.task_id)
        others = [] if place is None else [place]
        if task.queued_at is None or task.queued_at < self._settled_at:
            possible = possible_job_ids(task.pool, task.account)
            others += [name for name in self._jobs.of(task.pool, LISTED_WITHIN_FOR_ADD) if name.lower() in possible]
        return list(dict.fromkeys(name for name in others if name.lower() != job.lower()))

    def _in_its_job[T](
        self,
        pool: str,
        task_id: str,
        batch_job: str | None,
        call: Callable[[str], T],
        *codes: str,
        account: str | None = None,
    ) -> T | ErrorCode:
        """Return what a call gives for the Batch job that holds a task; the code of "there is none" if none does.

        Args:
            pool: the task's pool.
            task_id: its id.
            batch_job: its Batch job, if known. Without it the task is looked for.
            call: takes the id of a Batch job.
            codes: of errors that are expected, beside those of "there is no such task".
            account: the login of the account that it was started for, if known.
        """
        found: T | ErrorCode = ErrorCode(GONE[0])
        for job in [batch_job] if batch_job else self._jobs_of_task(pool, task_id, account):
            found = expecting(functools.partial(call, job), *GONE, *codes)
            if not (isinstance(found, ErrorCode) and found in GONE):
                self._places.remember(pool, task_id, job)
                return found
        return found

    def _jobs_of_task(self, pool: str, task_id: str, account: str | None) -> Iterator[str]:
        """Yield the pool's Batch jobs that may hold a task, the one that is remembered for it first."""
        place = self._places.of(pool, task_id)
        if place is not None:
            yield place
        possible = None if account is None else possible_job_ids(pool, account)
        for job in self._jobs.of(pool, LISTED_WITHIN):
            if job != place and (possible is None or job.lower() in possible):
                yield job

    def _list(self, pool: str, job: str, clause: str) -> list[TaskState]:
        found = [
            task_state(pool, job, task, self._notes.get((pool, job, task["id"], created_at(task))))
            for page in self._pages(job, clause, SELECT)
            for task in page
        ]
        for task in found:
            self._places.remember(pool, task.task_id, job)
        return found

    def _pages(self, job: str, clause: str, select: str) -> Iterator[list[Mapping[str, Any]]]:
        """Yield a list's runner tasks, page by page; nothing if the Batch job was deleted since it was listed."""
        listed = pages(self._client, f"/jobs/{job}/tasks", {"$filter": clause, "$select": select})
        while True:
            page = expecting(lambda: next(listed, None), "JobNotFound")
            if page is None or isinstance(page, ErrorCode):
                return
            yield [task for task in page if is_task_id(task["id"])]

    def _create_task(self, job: str, options: Mapping[str, Any]) -> bool | None:
        """Create a task; return False if it exists already, None if the Batch job does not exist yet."""
        with translating("add a task"):
            try:
                return self._create_task_once(job, options)
            except ServiceResponseTimeoutError:
                raise
            except ServiceResponseError:
                # A kept connection may break just as it is used again. The task's id makes a second try harmless.
                created = self._create_task_once(job, options)
        # If the task exists, the first try created it, and only the answer was lost.
        return None if created is None else True

    def _create_task_once(self, job: str, options: Mapping[str, Any]) -> bool | None:
        # The SDK writes JSON of whatever it gets here, though it names a model.
        task = cast(BatchTaskCreateOptions, options)
        match expecting(lambda: self._client.create_task(job, task), "TaskExists", "JobNotFound", "JobCompleted"):
            case "TaskExists":
                return False
            case "JobNotFound":
                return None
            case "JobCompleted":
                raise self._replace_job(job)
        return True

    def _replace_job(self, job: str) -> TransientError:
        """Delete a job that somebody has ended, so that the next try creates it anew; return the error to raise now."""
        log(
            logging.WARNING,
            Line.BATCH_JOB,
            message="the Batch job was ended from outside; it is made anew",
            batch_job=job,
        )
        try:
            self._client.begin_delete_job(job)
        except AzureError as error:
            return TransientError(f"the Batch job {job} was ended, and {task_error(error, 'delete it')}")
        return TransientError(f"the Batch job {job} was ended from outside and is being made anew")

    def _create_job(self, task: RunnerTask, job: str) -> None:
        options = BatchJobCreateOptions(
            id=job,
            display_name=f"GitHub Actions runners of {task.account} on {task.pool}, priority {task.priority}",
            priority=PRIORITIES[task.priority],
            pool_info=BatchPoolInfo(pool_id=task.pool),
            all_tasks_complete_mode=BatchAllTasksCompleteMode.NO_ACTION,
            constraints=BatchJobConstraints(max_task_retry_count=0),
        )
        with translating("create a job"):
            # If the job exists, another delivery was faster.
            exists = expecting(lambda: self._client.create_job(options), "JobExists")
        self._jobs.add(task.pool, job)
        if not exists:
            log(logging.INFO, Line.BATCH_JOB, message="created the Batch job", batch_job=job)


class _Places:
    """In which Batch job a task was seen last. Safe under threads.

    Args:
        lock: its lock.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._jobs: OrderedDict[tuple[str, str], str] = OrderedDict()

    def of(self, pool: str, task_id: str) -> str | None:
        """Return the id of the Batch job; None if it is not known."""
        with self._lock:
            return self._jobs.get((pool, task_id))

    def remember(self, pool: str, task_id: str, job: str) -> None:
        """Take note of a task that was seen."""
        with self._lock:
            self._jobs[pool, task_id] = job
            self._jobs.move_to_end((pool, task_id))
            if len(self._jobs) > REMEMBERED_TASKS:
                self._jobs.popitem(last=False)


def _date_time(moment: datetime) -> str:
    """A moment as Batch's OData filters take it."""
    return f"DateTime'{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
