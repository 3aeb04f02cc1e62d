"""The pool client, and boosts with it, against a Batch that answers over a socket."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.pools import PoolClient
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.errors import TransientError
from orchestrator.pool_boost import Autoscale, PoolBoost, PoolState
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from tests.batch_tasks import NoExecutor, task
from tests.contracts import CHECKER, assert_kept
from tests.fakes import ManualClock
from tests.waiting import until

FORMULA = "maxNodes = 4;\n$TargetDedicatedNodes = min(maxNodes, $PendingTasks);"
AUTOSCALE = Autoscale(FORMULA, timedelta(minutes=5))


@pytest.fixture
def clock() -> ManualClock:
    """Return the service's clock."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def batch(clock: ManualClock) -> Batch:
    """Return an account whose pool evaluates its formula every ten minutes, and needs a minute to resize."""
    pool = Pool("linux", slots_per_node=2, evaluation_s=600, resize_s=60, idle_s=0, start_delay_s=0, formula=FORMULA)
    pool.evaluated_at = clock().timestamp()
    return Batch([pool], executor=NoExecutor(), clock=lambda: clock().timestamp())


@pytest.fixture
def pools(batch_account: BatchAccount) -> PoolClient:
    """Return the client."""
    return PoolClient(batch_account)


@pytest.fixture
def add_jobs(tasks: RunnerTasks) -> Callable[[int], None]:
    """Return what adds runner tasks."""

    def add(count: int) -> None:
        for number in range(count):
            tasks.add(task(task_id=f"runner-{number}-1"))

    return add


def test_get(batch: Batch, pools: PoolClient, add_jobs: Callable[[int], None]) -> None:
    """The pool's state and the slots that tasks want are as the service tells them."""
    assert pools.get("linux") == PoolState(True, 0, 0, 2, AUTOSCALE)
    assert pools.slots_wanted("linux") == 0
    add_jobs(3)
    assert pools.slots_wanted("linux") == 3
    pools.disable_autoscale("linux")
    assert pools.get("linux").autoscale is None
    pools.resize("linux", 1, 2)
    assert pools.get("linux") == PoolState(False, 1, 2, 2, None)
    batch.tick()
    counts = pools._client.list_pool_node_counts(filter="poolId eq 'linux'").next()
    assert counts.dedicated
    assert counts.low_priority
    assert (counts.dedicated.total, counts.low_priority.total) == (1, 2)


def test_note(batch: Batch, pools: PoolClient, clock: ManualClock) -> None:
    """A note is written once, read as it was written, and only the one that was read is taken away."""
    assert pools.read_note("linux") is None
    assert pools.write_note("linux", AUTOSCALE)
    assert not pools.write_note("linux", Autoscale("another", timedelta(hours=1)))
    note = pools.read_note("linux")
    assert note is not None
    assert note.autoscale == AUTOSCALE
    assert abs(note.written - clock()) < timedelta(minutes=1)
    pools.delete_note("linux", note)
    clock.advance(timedelta(seconds=10))
    batch.tick()
    assert pools.read_note("linux") is None
    pools.delete_note("linux", note)
    assert pools.write_note("linux", AUTOSCALE)
    later = pools.read_note("linux")
    assert later is not None


def test_a_later_note_stays(pools: PoolClient) -> None:
    """A note that is not the one that was read is left alone."""
    pools.write_note("linux", AUTOSCALE)
    note = pools.read_note("linux")
    assert note is not None
    pools.delete_note("linux", replace(note, version="0x8DFFFF"))
    assert pools.read_note("linux") == note


def test_what_the_service_refuses(pools: PoolClient, clock: ManualClock) -> None:
    """A resize under autoscale or during another, autoscale during a resize or twice in 30 s: all may pass."""
    with pytest.raises(TransientError, match="resize a pool: 409 OperationInvalidForCurrentState"):
        pools.resize("linux", 1, 0)
    pools.disable_autoscale("linux")
    pools.resize("linux", 1, 0)
    with pytest.raises(TransientError, match="409 PoolBeingResized"):
        pools.resize("linux", 2, 0)
    with pytest.raises(TransientError, match="switch autoscale on: 409 PoolBeingResized"):
        pools.enable_autoscale("linux", AUTOSCALE)
    clock.advance(timedelta(seconds=61))
    with pytest.raises(TransientError, match="400 InvalidAutoScalingSettings"):
        pools.enable_autoscale("linux", Autoscale("", timedelta(minutes=5)))
    pools.enable_autoscale("linux", AUTOSCALE)
    with pytest.raises(TransientError, match="503 TooManyEnableAutoScaleRequests"):
        pools.enable_autoscale("linux", AUTOSCALE)
    with pytest.raises(TransientError, match="404 PoolNotFound"):
        pools.get("nowhere")


@pytest.mark.parametrize("call", ["get", "slots_wanted", "read_note", "disable_autoscale"])
def test_trouble(batch: Batch, pools: PoolClient, call: str) -> None:
    """No answer, and one that forbids it, are understood; the latter says which role is missing."""
    batch.faults.add(Fault("drop"), Fault("status", status=403))
    with pytest.raises(TransientError, match="does not answer"):
        getattr(pools, call)("linux")
    with pytest.raises(TransientError, match=r"403.*Azure Batch Data Contributor"):
        getattr(pools, call)("linux")


@pytest.mark.parametrize("body", ["[]", '{"id": "x"}', '{"commonEnvironmentSettings": [7]}', "<html>", ""])
def test_a_note_of_another_shape(batch: Batch, pools: PoolClient, body: str) -> None:
    """A note that cannot be read is trouble that may pass."""
    headers = {"Content-Type": "application/json;odata=minimalmetadata"}
    batch.faults.add(Fault("status", status=200, body=body, headers=headers))
    with pytest.raises(TransientError, match="read a note"):
        pools.read_note("linux")


def test_trouble_with_notes(batch: Batch, pools: PoolClient) -> None:
    """A note that cannot be written or taken away is trouble, and not a no."""
    batch.faults.add(Fault("status", "POST /jobs", status=503), Fault("status", "DELETE *", status=503))
    with pytest.raises(TransientError, match="write a note: 503"):
        pools.write_note("linux", AUTOSCALE)
    pools.write_note("linux", AUTOSCALE)
    note = pools.read_note("linux")
    assert note is not None
    with pytest.raises(TransientError, match="forget a note: 503"):
        pools.delete_note("linux", note)


def test_a_boost(batch: Batch, pools: PoolClient, clock: ManualClock, add_jobs: Callable[[int], None]) -> None:
    """Waiting jobs get nodes minutes before the formula would act; afterwards the formula takes the nodes away."""
    boost = PoolBoost(pools, clock)
    add_jobs(3)
    assert boost.step("linux") == "boosted"
    until_running(batch, 3)
    assert boost.step("linux") == "nothing"
    clock.advance(timedelta(seconds=61))
    assert boost.step("linux") == "restored"
    assert pools.get("linux").autoscale == AUTOSCALE
    for name in batch.task_bodies():
        pools._client.terminate_task(job_id("linux", "acme", "normal"), name)
    assert boost.step("linux") == "nothing"
    assert len(batch.node_ids("linux")) == 2
    clock.advance(timedelta(seconds=600))
    batch.tick()
    assert batch.node_ids("linux") == []


@pytest.mark.parametrize("step", ["POST /pools/linux/disableautoscale", "POST /pools/linux/resize"])
def test_a_boost_that_broke_off(
    batch: Batch, pools: PoolClient, clock: ManualClock, add_jobs: Callable[[int], None], step: str
) -> None:
    """Another process finds what one left half way, at whichever step, and ends it with the formula in force."""
    add_jobs(3)
    batch.faults.add(Fault("drop", step))
    PoolBoost(pools, clock).step_all(["linux"])
    another = PoolBoost(pools, clock)
    for _ in range(12):  # the service refuses requests that are signed for a quarter of an hour ago
        clock.advance(timedelta(seconds=61))
        batch.tick()
        another.step_all(["linux"])
    until_running(batch, 3)
    assert pools.get("linux") == PoolState(True, 2, 0, 2, AUTOSCALE)


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
def test_contract(
    batch: Batch, pools: PoolClient, clock: ManualClock, add_jobs: Callable[[int], None], tmp_path: Path
) -> None:
    """Every call keeps to Batch's schema, and so does every answer of the stand-in."""
    boost = PoolBoost(pools, clock)
    add_jobs(3)
    boost.step("linux")
    with pytest.raises(TransientError):
        pools.resize("linux", 3, 0)
    clock.advance(timedelta(seconds=61))
    boost.step("linux")
    list(pools._client.list_pool_node_counts())
    assert_kept(batch.recorder.exchanges, tmp_path)


def test_keys_are_never_told(batch_url: str) -> None:
    """A wrong key is refused without being repeated."""
    key = base64.b64encode(b"wrong").decode()
    with pytest.raises(TransientError, match="403") as caught:
        PoolClient(BatchAccount(batch_url, AzureNamedKeyCredential("a", key))).get("linux")
    assert key not in str(caught.value)


def until_running(batch: Batch, count: int) -> None:
    """Wait until so many tasks run."""
    until(lambda: sum(body["state"] == "running" for body in batch.task_bodies().values()) >= count)
