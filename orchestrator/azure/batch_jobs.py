"""The Batch jobs that the orchestrator creates: those that hold runner tasks, and notes of boosts.

There is one Batch job for each pool, account (organization or user) and priority. On one pool Batch starts the tasks of
a job of higher priority first, and jobs of the same priority have an equal chance of being scheduled. So an account
with ten thousand waiting tasks does not stand before an account with one.

Earlier versions had one Batch job per pool, `github-runner-POOL`. Such a job is listed like all others of its pool, so
its tasks are found, ended and deleted until none is left.

Source: Azure docs, "Jobs and tasks in Azure Batch"; Azure Batch service REST API 2025-06-01: an id has 1 to 64
characters of [A-Za-z0-9_-], compared without case; a job's priority is between -1000 and 1000.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args

from azure.batch import BatchClient

from orchestrator.azure.paging import entries
from orchestrator.clock import Clock
from orchestrator.config.profiles import Priority
from orchestrator.runtime import MakeLock

# What the ids of all Batch jobs with runner tasks begin with.
PREFIX = "github-runner-"
# Batch's numbers for our three words. There is room for others on all sides.
PRIORITIES: Mapping[Priority, int] = {"low": -500, "normal": 0, "high": 500}

_MAX_ID = 64
# Characters of the digest at the end of an id.
_DIGEST = 8


def job_id(pool: str, account: str, priority: Priority) -> str:
    """Return the id of the Batch job for the runner tasks of a pool, an account and a priority.

    The digest at its end makes the id unambiguous: pools and accounts may hold hyphens themselves, may be too long, and
    differ from each other by more than case. What stands before it is for the eye, and is cut where it is too long.

    Args:
        pool: the pool's id.
        account: the login of an organization or a user.
        priority: of the Batch job.
    """
    exact = f"{pool.lower()}\0{account.lower()}\0{priority}"
    digest = hashlib.sha256(exact.encode()).hexdigest()[:_DIGEST]
    ending = f"-{priority}-{digest}"
    readable = f"{PREFIX}{pool}-{re.sub('[^a-z0-9_-]', '-', account.lower())}"
    return readable[: _MAX_ID - len(ending)] + ending


def former_job_id(pool: str) -> str:
    """Return the id of the one Batch job that a pool had in earlier versions."""
    return f"{PREFIX}{pool}"


def possible_job_ids(pool: str, account: str) -> frozenset[str]:
    """Return the ids, in lower case, that the Batch job of an account's tasks has or had, whatever the priority was."""
    current = (job_id(pool, account, priority) for priority in get_args(Priority.__value__))
    return frozenset(name.lower() for name in (former_job_id(pool), *current))


def note_id(pool: str) -> str:
    """Return the id of the Batch job that saves a pool's autoscale formula while the pool is boosted."""
    return f"github-boost-{pool}"


def list_jobs(client: BatchClient) -> Mapping[str, Sequence[str]]:
    """Return the ids of all Batch jobs with runner tasks, by their pool's id in lower case: one call.

    The pool is read from the job itself, not from its id.

    Raises:
        AzureError: Batch does not tell.
    """
    jobs: dict[str, list[str]] = {}
    for job in entries(client.list_jobs(filter=f"startswith(id,'{PREFIX}')", select=["id", "poolInfo"])):
        pool = job.pool_info.pool_id if job.pool_info else None
        if job.id and pool:
            jobs.setdefault(pool.lower(), []).append(job.id)
    return jobs


class KnownJobs:
    """The Batch jobs with runner tasks, as they were listed last. Safe under threads.

    Args:
        list_jobs: lists them, by pool; see `list_jobs`.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(
        self, list_jobs: Callable[[], Mapping[str, Sequence[str]]], clock: Clock, *, lock: MakeLock = threading.Lock
    ) -> None:
        self._list_jobs = list_jobs
        self._clock = clock
        self._lock = lock()
        self._jobs: Mapping[str, Sequence[str]] = {}
        self._listed_at: datetime | None = None

    def of(self, pool: str, max_age: timedelta) -> Sequence[str]:
        """Return the ids of a pool's Batch jobs.

        Args:
            pool: the pool's id.
            max_age: the age above which the list is read again.

        Raises:
            AzureError: The list had to be read, and Batch does not tell.
        """
        with self._lock:
            listed_at = self._listed_at
        if listed_at is None or self._clock() - listed_at > max_age:
            self.refresh()
        return self.known(pool)

    def refresh(self) -> None:
        """Read the list again.

        Raises:
            AzureError: Batch does not tell.
        """
        now, jobs = self._clock(), self._list_jobs()
        with self._lock:
            self._jobs, self._listed_at = jobs, now

    def known(self, pool: str) -> Sequence[str]:
        """Return the ids of a pool's Batch jobs, as far as they are known."""
        with self._lock:
            return self._jobs.get(pool.lower(), ())

    def add(self, pool: str, job: str) -> None:
        """Take note of a Batch job that was just created."""
        with self._lock:
            known = self._jobs.get(pool.lower(), ())
            if job.lower() not in (name.lower() for name in known):
                self._jobs = {**self._jobs, pool.lower(): [*known, job]}
