"""What Batch says of a pool: its size, why it does not grow, and its nodes.

Source: Azure Batch service REST API 2025-06-01, Pools - Get Pool, Accounts - List Pool Node Counts, Nodes - List Nodes.
"""

from datetime import UTC

from azure.batch import BatchClient
from azure.batch.models import AllocationState, BatchNode, BatchNodeCounts, BatchPool
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import entries
from orchestrator.azure.transport import bounded
from orchestrator.explain.facts import BROKEN_NODE_STATES, PoolFacts, ServiceError
from orchestrator.pool_boost import Limits

# Seconds to connect, between bytes of the answer, and for one answer in all. An operator waits for it.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 4
TOTAL_TIMEOUT = 5

_POOL = [
    "id", "allocationState", "currentDedicatedNodes", "currentLowPriorityNodes", "targetDedicatedNodes",
    "targetLowPriorityNodes", "taskSlotsPerNode", "resizeErrors", "enableAutoScale", "autoScaleFormula", "autoScaleRun",
]  # fmt: skip
_NODE = ["id", "state", "errors", "startTaskInfo"]
_BROKEN = " or ".join(f"state eq '{state}'" for state in BROKEN_NODE_STATES)


class PoolStatus:
    """Looks at pools, in two calls each, or three where nodes are broken.

    Args:
        endpoint: `BatchAccountUrl`.
        credential: the account's key, or an Entra ID credential.
    """

    def __init__(self, endpoint: str, credential: AzureNamedKeyCredential | TokenCredential) -> None:
        self._client = BatchClient(endpoint, credential, **bounded(CONNECT_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT))

    def look(self, pool: str) -> PoolFacts | None:
        """Return what Batch says of a pool; None if there is none of this id.

        Raises:
            UpstreamError: Batch does not tell.
        """
        with translating("look at a pool"):
            found = expecting(lambda: self._client.get_pool(pool, select=_POOL), "PoolNotFound")
            if isinstance(found, ErrorCode):
                return None
            states = self._nodes_by_state(pool)
            broken = any(states.get(state) for state in BROKEN_NODE_STATES)
            return _facts(pool, found, states, self._node_error(pool) if broken else None)

    def _nodes_by_state(self, pool: str) -> dict[str, int]:
        states: dict[str, int] = {}
        for counted in entries(self._client.list_pool_node_counts(filter=f"poolId eq '{pool}'")):
            for kind in (counted.dedicated, counted.low_priority):
                for state, count in _counts(kind).items():
                    states[state] = states.get(state, 0) + count
        return {state: count for state, count in states.items() if count}

    def _node_error(self, pool: str) -> ServiceError | None:
        """Return what is wrong with a node that takes no tasks; None if no node says."""
        nodes = entries(self._client.list_nodes(pool, filter=_BROKEN, select=_NODE, max_results=10))
        return next((error for node in nodes if (error := _error_of(node)) is not None), None)


def _facts(pool: str, found: BatchPool, states: dict[str, int], node_error: ServiceError | None) -> PoolFacts:
    run = found.auto_scale_run
    limits = Limits.of(found.auto_scale_formula) if found.enable_auto_scale and found.auto_scale_formula else None
    evaluated_at = run.timestamp if run else None
    target = (found.target_dedicated_nodes or 0) + (found.target_low_priority_nodes or 0)
    return PoolFacts(
        pool=pool,
        slots_per_node=found.task_slots_per_node or 1,
        nodes=(found.current_dedicated_nodes or 0) + (found.current_low_priority_nodes or 0),
        target=target,
        steady=found.allocation_state == AllocationState.STEADY,
        # Without a formula the pool stays as large as somebody made it.
        most_nodes=target if not found.enable_auto_scale else limits.nodes if limits else None,
        resize_errors=tuple(ServiceError(e.code or "", e.message or "") for e in found.resize_errors or ()),
        formula_error=ServiceError(run.error.code or "", run.error.message or "") if run and run.error else None,
        evaluated_at=evaluated_at.replace(tzinfo=evaluated_at.tzinfo or UTC) if evaluated_at else None,
        nodes_by_state=states,
        node_error=node_error,
    )


def _counts(kind: BatchNodeCounts | None) -> dict[str, int]:
    """Return the counts of one kind of node by state, in the words that nodes themselves use."""
    counts = dict(kind.as_dict()) if kind is not None else {}
    return {state.lower(): int(count) for state, count in counts.items() if state != "total"}


def _error_of(node: BatchNode) -> ServiceError | None:
    """Return why a node takes no tasks, if it says so. A message may hold anything, so it is cut."""
    started = node.start_task_info
    failure = started.failure_info if started else None
    if started and failure:
        exit_code = f" (exit code {started.exit_code})" if started.exit_code is not None else ""
        return ServiceError(f"start task: {failure.code or 'failed'}", f"{(failure.message or '')[:200]}{exit_code}")
    return next((ServiceError(e.code or "", (e.message or "")[:200]) for e in node.errors or ()), None)
