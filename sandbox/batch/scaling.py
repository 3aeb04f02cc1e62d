"""A pool's size on request: what the service takes, and when it refuses.

Source: Azure Batch service REST API 2025-06-01, Pools - Enable Auto Scale, Disable Auto Scale, Resize; Batch Status and
Error Codes.
"""

from collections.abc import Iterable
from math import isfinite

from sandbox.batch.model import BatchRefusal, Json, Node, Pool
from sandbox.batch.wire import timestamp

ENABLE_EVERY = 30.0  # seconds between two requests to enable autoscale on one pool
STATES = (
    "creating", "idle", "offline", "preempted", "rebooting", "reimaging", "running", "starting", "startTaskFailed",
    "leavingPool", "unknown", "unusable", "waitingForStartTask", "deallocated", "deallocating", "upgradingOS",
)  # fmt: skip


def enable_autoscale(pool: Pool, body: Json, now: float) -> None:
    """Put a formula into force; the stand-in evaluates it one interval later (whether Azure does at once is disputed).

    Raises:
        BatchRefusal: A resize is going on, the last request was less than 30 s ago, or there is no formula.
    """
    if now < pool.steady_at:
        raise BatchRefusal("PoolBeingResized")
    if now - pool.enabled_at < ENABLE_EVERY:
        raise BatchRefusal("TooManyEnableAutoScaleRequests")
    if not pool.autoscale and not body.get("autoScaleFormula"):
        raise BatchRefusal("InvalidAutoScalingSettings")
    pool.formula = body.get("autoScaleFormula", pool.formula)
    pool.interval = body.get("autoScaleEvaluationInterval", pool.interval)
    pool.autoscale, pool.enabled_at, pool.evaluated_at = True, now, now
    pool.version += 1


def disable_autoscale(pool: Pool) -> None:
    """Take the formula out of force: the pool keeps its targets, and the service forgets the formula."""
    pool.autoscale, pool.formula = False, ""
    pool.version += 1


def resize(pool: Pool, body: Json, now: float) -> None:
    """Give a pool new targets.

    Raises:
        BatchRefusal: It scales by a formula, a resize is going on, or no target is named.
    """
    if pool.autoscale:
        raise BatchRefusal("OperationInvalidForCurrentState")
    if now < pool.steady_at:
        raise BatchRefusal("PoolBeingResized")
    if not {"targetDedicatedNodes", "targetLowPriorityNodes"} & set(body):
        raise BatchRefusal("MissingRequiredProperty", PropertyName="targetDedicatedNodes")
    pool.target = body.get("targetDedicatedNodes", pool.target)
    pool.spot_target = body.get("targetLowPriorityNodes", pool.spot_target)
    pool.steady_at = now + pool.resize_s
    pool.version += 1


def size_fields(pool: Pool, nodes: Iterable[Node], now: float) -> Json:
    """Return what a pool says of its size; of a formula only while one is in force."""
    spots = [node.spot for node in nodes]
    fields: Json = {
        "allocationState": "resizing" if now < pool.steady_at else "steady",
        "currentDedicatedNodes": len(spots) - sum(spots),
        "currentLowPriorityNodes": sum(spots),
        "targetDedicatedNodes": pool.target,
        "targetLowPriorityNodes": pool.spot_target,
        "enableAutoScale": pool.autoscale,
    }
    if pool.resize_error is not None:
        fields["resizeErrors"] = [_error(pool.resize_error)]
    if pool.autoscale:
        fields |= {"autoScaleFormula": pool.formula, "autoScaleEvaluationInterval": pool.interval}
    if pool.autoscale and isfinite(pool.evaluated_at):  # a test lets a formula wait for ever
        run: Json = {"timestamp": timestamp(pool.evaluated_at), "results": f"$TargetDedicatedNodes={pool.target}"}
        if pool.formula_error is not None:
            run["error"] = _error(pool.formula_error)
        fields["autoScaleRun"] = run
    return fields


def machines(pool: Pool) -> Json:
    """Return what a pool's nodes are made of."""
    windows = pool.os == "windows"
    image = {
        "publisher": "microsoft-dsvm" if not windows else "microsoftwindowsserver",
        "offer": "ubuntu-hpc" if not windows else "windowsserver", "sku": "2204" if not windows else "2022-datacenter",
        "version": "latest",
    }  # fmt: skip
    fields: Json = {
        "imageReference": image, "nodeAgentSKUId": "batch.node.windows amd64" if windows else "batch.node.ubuntu 22.04"
    }  # fmt: skip
    return fields | ({"containerConfiguration": {"type": "dockerCompatible"}} if pool.container else {})


def node_fields(pool: Pool, node: Node) -> Json:
    """Return what a node says of itself."""
    fields: Json = {"id": node.id, "state": node.state.lower(), "isDedicated": not node.spot, "vmSize": pool.vm_size}
    if node.state == "startTaskFailed" and pool.start_task_error is not None:
        code, message = pool.start_task_error
        fields["startTaskInfo"] = {
            "state": "completed", "startTime": timestamp(node.created_at), "retryCount": 0, "result": "failure",
            "exitCode": 1, "failureInfo": {"category": "usererror", "code": code, "message": message},
        }  # fmt: skip
    return fields


def _error(error: tuple[str, str]) -> Json:
    return {"code": error[0], "message": error[1], "values": []}


def node_counts(pool: Pool, nodes: Iterable[Node]) -> Json:
    """Return how many nodes of each kind are in which state."""
    counts = {kind: dict.fromkeys((*STATES, "total"), 0) for kind in ("dedicated", "lowPriority")}
    for node in nodes:
        kind = counts["lowPriority" if node.spot else "dedicated"]
        kind[node.state] += 1
        kind["total"] += 1
    return {"poolId": pool.id, **counts}
