"""The runner tasks of one workflow job, found within a few calls.

Source: Azure Batch service REST API 2025-06-01, Tasks - List Tasks.
"""

from collections.abc import Mapping, Sequence
from itertools import islice

from orchestrator.azure import batch_jobs
from orchestrator.azure.batch_account import SOMEBODY_WAITS, BatchAccount
from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import pages
from orchestrator.azure.task_model import SELECT, task_state
from orchestrator.config.profiles import Profile
from orchestrator.errors import TransientError
from orchestrator.runners.task import TaskState, is_task_id

# Batch jobs that are looked into beside the one that a job's tasks are created in. With the pool these are six calls.
MOST_OTHERS = 2
# Batch jobs that are looked into where only the number of a job is known.
MOST_SEARCHED = 3
# Tasks of each Batch job that are read where any will do.
MOST_EXAMPLES = 20


class JobTasks:
    """Looks for the tasks of single jobs.

    Args:
        account: the Batch account.
    """

    def __init__(self, account: BatchAccount) -> None:
        self._client = account.client(SOMEBODY_WAITS)

    def of_job(self, profile: Profile, account: str, job_id: int) -> Sequence[TaskState]:
        """Return the tasks of a job, of all its attempts.

        They are in the Batch job of the profile's priority, unless that was another one when they were created.

        Args:
            profile: the one that serves the job.
            account: the login of the organization or user that the repository belongs to.
            job_id: the workflow job's id.

        Raises:
            UpstreamError: Batch does not tell, or there are more Batch jobs than a few calls can look into.
        """
        pool, own = profile.pool, batch_jobs.job_id(profile.pool, account, profile.priority)
        with translating("list the tasks"):
            if found := self._list(pool, own, job_id):
                return found
            possible = batch_jobs.possible_job_ids(pool, account) - {own.lower()}
            listed = batch_jobs.list_jobs(self._client).get(pool.lower(), ())
            others = [(pool, job) for job in listed if job.lower() in possible]
        return self._first(others, job_id, MOST_OTHERS)

    def find(self, job_id: int) -> Sequence[TaskState]:
        """Return the tasks of a job in whatever pool.

        Args:
            job_id: the workflow job's id.

        Raises:
            UpstreamError: Batch does not tell, or there are more Batch jobs than a few calls can look into.
        """
        with translating("list the tasks"):
            listed = batch_jobs.list_jobs(self._client)
        places = [(pool, job) for pool, jobs in sorted(listed.items()) for job in jobs]
        return self._first(places, job_id, MOST_SEARCHED)

    def examples(self) -> Sequence[TaskState]:
        """Return some runner tasks of some Batch jobs: they tell for whom runners are started.

        Raises:
            UpstreamError: Batch does not tell.
        """
        with translating("list the tasks"):
            listed = batch_jobs.list_jobs(self._client)
            places = [(pool, job) for pool, jobs in listed.items() for job in jobs][:MOST_SEARCHED]
            return [
                task for pool, job in places for task in self._read(pool, job, {"maxresults": str(MOST_EXAMPLES)}, 1)
            ]

    def _first(self, places: Sequence[tuple[str, str]], job_id: int, most: int) -> Sequence[TaskState]:
        """Return the tasks of the first Batch job that has some."""
        for pool, job in places[:most]:
            with translating("list the tasks"):
                if found := self._list(pool, job, job_id):
                    return found
        if len(places) > most:
            raise TransientError(f"{len(places)} Batch jobs may hold its tasks, and only {most} are looked into")
        return ()

    def _list(self, pool: str, job: str, job_id: int) -> list[TaskState]:
        return self._read(pool, job, {"$filter": f"startswith(id,'runner-{job_id}-')"})

    def _read(self, pool: str, job: str, query: Mapping[str, str], most_pages: int | None = None) -> list[TaskState]:
        def read() -> list[TaskState]:
            listed = islice(pages(self._client, f"/jobs/{job}/tasks", {**query, "$select": SELECT}), most_pages)
            return [task_state(pool, job, task) for page in listed for task in page if is_task_id(task["id"])]

        found = expecting(read, "JobNotFound")
        return [] if isinstance(found, ErrorCode) else found
