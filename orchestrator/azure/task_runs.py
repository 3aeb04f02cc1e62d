"""How long runner tasks took, as far as Batch still has them. Nothing is changed, and no environment is read.

Source: Azure Batch service REST API 2025-06-01, Tasks - List Tasks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure import batch_jobs
from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import pages
from orchestrator.azure.task_model import SELECT_FINISHED, task_state
from orchestrator.azure.transport import bounded
from orchestrator.egress import DIRECT, Egress
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import TaskState, is_task_id

# Seconds to connect, between bytes of the answer, and for one answer in all. A page may hold a thousand tasks.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 15
TOTAL_TIMEOUT = 60

_NOT_READ = TaskNotes()


class TaskRuns:
    """Lists the tasks of one Batch account that run or have run.

    Args:
        endpoint: `BatchAccountUrl`.
        credential: the account's key, or an Entra ID credential.
        egress: the way out.
    """

    def __init__(
        self, endpoint: str, credential: AzureNamedKeyCredential | TokenCredential, *, egress: Egress = DIRECT
    ) -> None:
        options = bounded(CONNECT_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT, egress)
        self._client = BatchClient(endpoint, credential, **options)

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
            yield from (task_state(pool, job, task, _NOT_READ) for task in page if is_task_id(task["id"]))
