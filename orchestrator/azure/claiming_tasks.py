"""The task of a container that claims its registration, with the claim that it carries.

Source: Azure Batch service REST API 2025-06-01, Tasks - Get Task.
"""

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import answer
from orchestrator.azure.task_model import SELECT, environment_of, task_state
from orchestrator.azure.tasks import GONE
from orchestrator.azure.transport import bounded
from orchestrator.claims.door import ClaimingTask
from orchestrator.egress import DIRECT, Egress
from orchestrator.runners.notes import CLAIM

# Seconds to connect, between bytes of the answer, and for one answer in all. A container waits for it.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 5
TOTAL_TIMEOUT = 8

# A task of this state has a node, but its container was not started yet.
_PREPARING = "preparing"


class ClaimingTasks:
    """Asks Batch for single tasks.

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

    def look(self, batch_job: str, task_id: str) -> ClaimingTask | None:
        """Return what Batch says of a task; None if there is none.

        Args:
            batch_job: the Batch job that holds it.
            task_id: its id.

        Raises:
            UpstreamError: Batch does not tell.
        """

        def read() -> ClaimingTask:
            task = answer(self._client, f"/jobs/{batch_job}/tasks/{task_id}", {"$select": SELECT})
            state = task_state("", batch_job, task)
            said = "waiting" if task["state"] == _PREPARING else state.state
            return ClaimingTask(said, state.started_at, environment_of(task).get(CLAIM, ""), state.notes)

        with translating("look for a task"):
            found = expecting(read, *GONE)
        return None if isinstance(found, ErrorCode) else found
