"""The task of a container that claims its registration, with the claim that it carries.

Source: Azure Batch service REST API 2025-06-01, Tasks - Get Task.
"""

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import answer
from orchestrator.azure.task_model import SELECT, environment_of, task_state
from orchestrator.azure.tasks import GONE
from orchestrator.azure.transport import TimeOuts
from orchestrator.claims.door import ClaimingTask
from orchestrator.runners.notes import CLAIM

# A container waits for it.
TIME_OUTS = TimeOuts(connect=3, read=5, total=8)

# A task of this state has a node, but its container was not started yet.
_PREPARING = "preparing"


class ClaimingTasks:
    """Asks Batch for single tasks.

    Args:
        account: the Batch account.
    """

    def __init__(self, account: BatchAccount) -> None:
        self._client = account.client(TIME_OUTS)

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
