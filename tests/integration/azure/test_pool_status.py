"""What is seen of a pool, against a Batch that answers over a socket."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.pool_status import PoolStatus
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.explain.facts import PoolFacts, ServiceError
from orchestrator.reconcile.measurements import PoolSize
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from tests.batch_tasks import NoExecutor, task
from tests.contracts import CHECKER, assert_kept
from tests.fakes import ManualClock

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def clock() -> ManualClock:
    """Return the service's clock."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def pool() -> Pool:
    """Return a pool that grows from nothing at once."""
    return Pool("linux", slots_per_node=2, start_delay_s=0, formula="maxNodes = 3;\nspot = 0;")


@pytest.fixture
def batch(pool: Pool, clock: ManualClock) -> Batch:
    """Return an account with this pool."""
    return Batch([pool], executor=NoExecutor(), clock=lambda: clock().timestamp())


@pytest.fixture
def status(batch_account: BatchAccount) -> PoolStatus:
    """Return the client."""
    return PoolStatus(batch_account)


def test_a_pool_that_works(batch: Batch, tasks: RunnerTasks, status: PoolStatus, clock: ManualClock) -> None:
    """Size, limit, slots and the formula's last evaluation are read in two calls."""
    tasks.add(task())
    batch.tick()
    batch.tick()
    batch.recorder.clear()
    assert status.look("linux") == PoolFacts(
        "linux", slots_per_node=2, nodes=1, target=1, steady=True, most_nodes=3, evaluated_at=clock(),
        nodes_by_state={"running": 1},
    )  # fmt: skip
    assert batch.recorder.calls == ["GET /pools/linux -> 200", "GET /pools/linux/nodes -> 200"]


def test_no_pool(status: PoolStatus) -> None:
    """A pool that does not exist is no error."""
    assert status.look("windows") is None


def test_no_quota(batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus) -> None:
    """Why Azure gives no node is told by its code and message."""
    pool.resize_error = ("AccountCoreQuotaReached", "The account has reached its core quota")
    tasks.add(task())
    batch.tick()
    found = status.look("linux")
    assert found is not None
    assert (found.nodes, found.target) == (0, 1)
    assert found.resize_errors == (ServiceError(*pool.resize_error),)


def test_size(batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus) -> None:
    """How large a pool is takes one call, and says why it gets no nodes, or that there is none."""
    pool.resize_error = ("AccountCoreQuotaReached", "The account has reached its core quota")
    assert status.size("linux") == PoolSize(0, 0, 2, None)
    tasks.add(task())
    batch.tick()
    batch.recorder.clear()
    reason = "AccountCoreQuotaReached: The account has reached its core quota"
    assert status.size("linux") == PoolSize(0, 1, 2, reason)
    assert batch.recorder.calls == ["GET /pools/linux -> 200"]
    assert status.size("windows") is None


def test_a_wrong_formula(batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus) -> None:
    """Why the formula cannot be evaluated is told, and a formula without maxNodes has no limit."""
    pool.formula_error, pool.formula = ("AutoScalingFormulaEvaluationError", "no such variable"), "$Nonsense"
    tasks.add(task())
    batch.tick()
    found = status.look("linux")
    assert found is not None
    assert (found.target, found.formula_error, found.most_nodes) == (0, ServiceError(*pool.formula_error), None)


def test_broken_nodes(batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus) -> None:
    """Why a node takes no tasks is read from the node: its start task failed."""
    pool.start_task_error = ("FailureExitCode", "The task exited with an exit code representing a failure")
    tasks.add(task())
    batch.tick()
    batch.tick()
    found = status.look("linux")
    assert found is not None
    assert found.nodes_by_state == {"starttaskfailed": 1}
    assert str(found.node_error) == (
        "start task: FailureExitCode: The task exited with an exit code representing a failure (exit code 1)"
    )


@pytest.mark.parametrize(
    ("node", "error"),
    [
        ({"errors": [{"code": "DiskFull", "message": "x" * 300}]}, ServiceError("DiskFull", "x" * 200)),
        ({"startTaskInfo": {"state": "completed", "failureInfo": {"category": "usererror"}}},
         ServiceError("start task: failed", "")),
        ({"startTaskInfo": {"state": "running"}}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_a_node_says(
    batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus, node: dict[str, object],
    error: ServiceError | None,
) -> None:  # fmt: skip
    """A node's own error is told where its start task did not fail; a node may also say nothing."""
    pool.start_task_error = ("FailureExitCode", "")
    tasks.add(task())
    batch.tick()
    batch.tick()
    body = json.dumps({"value": [{"id": "tvm-1", "state": "unusable", **node}]})
    batch.faults.add(Fault("status", "GET */nodes", status=200, body=body, headers=JSON))
    found = status.look("linux")
    assert found is not None
    assert found.node_error == error


def test_nodes_that_may_not_be_read(batch: Batch, tasks: RunnerTasks, status: PoolStatus) -> None:
    """Where the role admits no look at the nodes, the pool is known without them, and it says why."""
    tasks.add(task())
    batch.tick()
    batch.tick()
    body = '{"code": "AuthorizationFailure"}'
    batch.faults.add(Fault("status", "GET */nodes", status=403, body=body, headers=JSON))
    found = status.look("linux")
    assert found is not None
    assert (found.nodes, found.nodes_by_state) == (1, {})
    assert "Batch refused to list the nodes" in (found.nodes_unknown or "")


def test_a_fixed_pool(pool: Pool, status: PoolStatus) -> None:
    """A pool without a formula does not grow beyond its size."""
    pool.autoscale, pool.target = False, 2
    found = status.look("linux")
    assert found is not None
    assert (found.target, found.most_nodes, found.evaluated_at) == (2, 2, None)


def test_trouble(batch: Batch, status: PoolStatus) -> None:
    """Silence is transient; a refusal is told as one."""
    batch.faults.add(Fault("status", status=503))
    with pytest.raises(TransientError):
        status.look("linux")
    body = '{"code": "AuthorizationFailure"}'
    batch.faults.add(Fault("status", status=403, body=body, headers=JSON))
    with pytest.raises(UpstreamRefused, match="has the identity a role"):
        status.look("linux")


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
def test_contract(batch: Batch, pool: Pool, tasks: RunnerTasks, status: PoolStatus, tmp_path: Path) -> None:
    """What is sent, and what the stand-in answers, is as the service's schema has it."""
    pool.start_task_error, pool.resize_error = ("FailureExitCode", "exit code 1"), None
    tasks.add(task())
    batch.tick()
    batch.tick()
    pool.resize_error, pool.formula_error = ("AccountCoreQuotaReached", "none"), ("FormulaError", "wrong")
    status.look("linux")
    assert_kept(batch.recorder.exchanges, tmp_path)
