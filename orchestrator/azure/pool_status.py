"""What Batch says of a pool: its size, why it does not grow, and its nodes.

Source: Azure Batch service REST API 2025-06-01, Pools - Get Pool, Nodes - List Nodes.
"""

from collections import Counter
from dataclasses import replace
from datetime import UTC
from itertools import islice

from azure.batch.models import AllocationState, BatchNode, BatchNodeState, BatchPool

from orchestrator.azure.batch_account import SOMEBODY_WAITS, BatchAccount
from orchestrator.azure.errors import ErrorCode, expecting, translating
from orchestrator.azure.paging import entries
from orchestrator.errors import UpstreamError
from orchestrator.explain.facts import BROKEN_NODE_STATES, PoolFacts, ServiceError
from orchestrator.pool_boost import Limits
from orchestrator.reconcile.measurements import PoolSize

_POOL = [
    "id", "allocationState", "currentDedicatedNodes", "currentLowPriorityNodes", "targetDedicatedNodes",
    "targetLowPriorityNodes", "taskSlotsPerNode", "resizeErrors", "enableAutoScale", "autoScaleFormula", "autoScaleRun",
    "virtualMachineConfiguration",
]  # fmt: skip
_NODE = ["id", "state", "errors", "startTaskInfo"]
# Nodes that are looked at: one page of the list.
_MOST_NODES = 1000


class PoolStatus:
    """Looks at pools.

    Args:
        account: the Batch account.
    """

    def __init__(self, account: BatchAccount) -> None:
        self._client = account.client(SOMEBODY_WAITS)

    def facts(self, pool: str) -> PoolFacts | None:
        """Return what Batch says of a pool, in one call and so without its nodes; None if there is none of this id.

        Raises:
            UpstreamError: Batch does not tell.
        """
        with translating("look at a pool"):
            found = expecting(lambda: self._client.get_pool(pool, select=_POOL), "PoolNotFound")
            return None if isinstance(found, ErrorCode) else _facts(pool, found)

    def look(self, pool: str) -> PoolFacts | None:
        """Return what Batch says of a pool and its nodes, in two calls; None if there is none of this id.

        Raises:
            UpstreamError: Batch does not tell.
        """
        facts = self.facts(pool)
        return self._with_nodes(facts) if facts is not None and facts.nodes else facts

    def size(self, pool: str) -> PoolSize | None:
        """Return how large a pool is, and why it does not grow, in one call; None if there is none of this id.

        Raises:
            UpstreamError: Batch does not tell.
        """
        facts = self.facts(pool)
        if facts is None:
            return None
        short = facts.resize_errors if facts.nodes < facts.target else ()
        errors = [*filter(None, [facts.formula_error]), *short]
        return PoolSize(facts.nodes, facts.target, facts.slots_per_node, "; ".join(map(str, errors)) or None)

    def _with_nodes(self, facts: PoolFacts) -> PoolFacts:
        """Return the facts with those of the nodes, where they may be read: a pool is known without them."""
        try:
            with translating("list the nodes"):
                listed = entries(self._client.list_nodes(facts.pool, select=_NODE, max_results=_MOST_NODES))
                nodes = list(islice(listed, _MOST_NODES))
        except UpstreamError as error:
            return replace(facts, nodes_unknown=str(error))
        states = Counter(BatchNodeState(node.state).value for node in nodes if node.state)
        broken = (_error_of(node) for node in nodes if node.state in BROKEN_NODE_STATES)
        return replace(facts, nodes_by_state=states, node_error=next(filter(None, broken), None))


def _facts(pool: str, found: BatchPool) -> PoolFacts:
    run = found.auto_scale_run
    limits = Limits.of(found.auto_scale_formula) if found.enable_auto_scale and found.auto_scale_formula else None
    evaluated_at = run.timestamp if run else None
    machines = found.virtual_machine_configuration
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
        containers=machines is not None and machines.container_configuration is not None,
    )


def _error_of(node: BatchNode) -> ServiceError | None:
    """Return why a node takes no tasks, if it says so. A message may hold anything, so it is cut."""
    started = node.start_task_info
    failure = started.failure_info if started else None
    if started and failure:
        exit_code = f" (exit code {started.exit_code})" if started.exit_code is not None else ""
        return ServiceError(f"start task: {failure.code or 'failed'}", f"{(failure.message or '')[:200]}{exit_code}")
    return next((ServiceError(e.code or "", (e.message or "")[:200]) for e in node.errors or ()), None)
