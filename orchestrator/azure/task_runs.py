"""How long runner tasks took, as far as Batch still has them. Nothing is changed, and no environment is read.

Source: Azure Batch service REST API 2025-06-01, Tasks - List Tasks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from orchestrator.azure import batch_jobs
from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import pages
from orchestrator.azure.task_model import SELECT_FINISHED, task_state
from orchestrator.azure.transport import TimeOuts
from orchestrator.runners.notes import SAYS_NOTHING
from orchestrator.runners.task import TaskState, is_task_id

# A page may hold a thousand tasks.
TIME_OUTS = TimeOuts(connect=3, read=15, total=60)


class TaskRuns:
    """Lists the tasks of one Batch account that run or have run.

    Args:
        account: the Batch account.
    """

    def __init__(self, account: BatchAccount) -> None:
        self._client = account.client(TIME_OUTS)

    def since(self, moment: datetime) -> list[TaskState]:
        """Return the runner tasks that run, and those that ended since a moment, each once.

        Args:
            moment: Batch has nothing older than its retention.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        with translating("list the Batch jobs"):
            listed = batch_jobs.list_jobs(self._client)
        ended = f"state eq 'completed' and stateTransitionTime ge DateTime'{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
        with translating("list the tasks"):
            # A task that ends meanwhile is listed twice, and its end counts. The other order could miss it.
            found = {
                task.key: task
                for clause in ("state eq 'running'", ended)
                for pool, jobs in listed.items()
                for job in jobs
                for task in self._list(pool, job, clause)
            }
        return list(found.values())

    def _list(self, pool: str, job: str, clause: str) -> Iterator[TaskState]:
        listed = pages(self._client, f"/jobs/{job}/tasks", {"$filter": clause, "$select": SELECT_FINISHED})
        while True:
            page = expecting(lambda: next(listed, None), "JobNotFound")
            if page is None or isinstance(page, ErrorCode):
                return
            yield from (task_state(pool, job, task, SAYS_NOTHING) for task in page if is_task_id(task["id"]))
