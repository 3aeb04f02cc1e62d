"""The pool client, and boosts with it, against a Batch that answers over a socket."""

import base64
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.azure.pools import PoolClient
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.errors import TransientError
from orchestrator.pool_boost import Autoscale, PoolBoost, PoolState
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from sandbox.server import Server
from tests.integration.azure.test_tasks import NoExecutor, task
from tests.integration.test_contracts import CHECKER, assert_kept
from tests.waiting import until

FORMULA = "maxNodes = 4;\n$TargetDedicatedNodes = min(maxNodes, $PendingTasks);"
AUTOSCALE = Autoscale(FORMULA, timedelta(minutes=5))


class Clock:
    """The service's time: the real one, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return epoch seconds."""
        return time.time() + self.ahead

    def utc(self) -> datetime:
        """Return it as a date."""
        return datetime.fromtimestamp(self(), UTC)


@pytest.fixture
def clock() -> Clock:
    """Return the service's clock."""
    return Clock()


@pytest.fixture
def batch(clock: Clock) -> Batch:
    """Return an account whose pool evaluates its formula every ten minutes, and needs a minute to resize."""
    pool = Pool("linux", slots_per_node=2, evaluation_s=600, resize_s=60, idle_s=0, start_delay_s=0, formula=FORMULA)
    pool.evaluated_at = clock()
    return Batch([pool], executor=NoExecutor(), clock=clock)


@pytest.fixture
def url(batch: Batch) -> Iterator[str]:
    """Serve it; return its address."""
    with Server(batch.application) as server:
        yield server.url


@pytest.fixture
def credential(batch: Batch) -> AzureNamedKeyCredential:
    """Return the account's key."""
    return AzureNamedKeyCredential(batch.account, batch.key)


@pytest.fixture
def pools(url: str, credential: AzureNamedKeyCredential) -> PoolClient:
    """Return the client."""
    return PoolClient(url, credential)


@pytest.fixture
def add_jobs(url: str, credential: AzureNamedKeyCredential) -> Callable[[int], None]:
    """Return what adds runner tasks."""
    tasks = RunnerTasks(url, credential)

    def add(count: int) -> None:
        for number in range(count):
            tasks.add(task(task_id=f"runner-{number}-1"))

    return add


def test_look(batch: Batch, pools: PoolClient, add_jobs: Callable[[int], None]) -> None:
    """The pool's state and the slots that tasks want are as the service tells them."""
    assert pools.look("linux") == PoolState(True, 0, 0, 2, AUTOSCALE)
    assert pools.slots_wanted("linux") == 0
    add_jobs(3)
    assert pools.slots_wanted("linux") == 3
    pools.disable_autoscale("linux")
    assert pools.look("linux").autoscale is None
    pools.resize("linux", 1, 2)
    assert pools.look("linux") == PoolState(False, 1, 2, 2, None)
    batch.tick()
    counts = pools._client.list_pool_node_counts(filter="poolId eq 'linux'").next()
    assert counts.dedicated
    assert counts.low_priority
    assert (counts.dedicated.total, counts.low_priority.total) == (1, 2)


def test_note(batch: Batch, pools: PoolClient, clock: Clock) -> None:
    """A note is written once, read as it was written, and only the one that was read is taken away."""
    assert pools.read_note("linux") is None
    assert pools.write_note("linux", AUTOSCALE)
    assert not pools.write_note("linux", Autoscale("another", timedelta(hours=1)))
    note = pools.read_note("linux")
    assert note is not None
    assert note.autoscale == AUTOSCALE
    assert abs(note.written - clock.utc()) < timedelta(minutes=1)
    pools.forget("linux", note)
    clock.ahead += 10
    batch.tick()
    assert pools.read_note("linux") is None
    pools.forget("linux", note)
    assert pools.write_note("linux", AUTOSCALE)
    later = pools.read_note("linux")
    assert later is not None


def test_a_later_note_stays(pools: PoolClient) -> None:
    """A note that is not the one that was read is left alone."""
    pools.write_note("linux", AUTOSCALE)
    note = pools.read_note("linux")
    assert note is not None
    pools.forget("linux", type(note)(note.autoscale, note.written, "0x8DFFFF"))
    assert pools.read_note("linux") == note


def test_what_the_service_refuses(pools: PoolClient, clock: Clock) -> None:
    """A resize under autoscale or during another, autoscale during a resize or twice in 30 s: all may pass."""
    with pytest.raises(TransientError, match="resize a pool: 409 OperationInvalidForCurrentState"):
        pools.resize("linux", 1, 0)
    pools.disable_autoscale("linux")
    pools.resize("linux", 1, 0)
    with pytest.raises(TransientError, match="409 PoolBeingResized"):
        pools.resize("linux", 2, 0)
    with pytest.raises(TransientError, match="switch autoscale on: 409 PoolBeingResized"):
        pools.enable_autoscale("linux", AUTOSCALE)
    clock.ahead += 61
    with pytest.raises(TransientError, match="400 InvalidAutoScalingSettings"):
        pools.enable_autoscale("linux", Autoscale("", timedelta(minutes=5)))
    pools.enable_autoscale("linux", AUTOSCALE)
    with pytest.raises(TransientError, match="503 TooManyEnableAutoScaleRequests"):
        pools.enable_autoscale("linux", AUTOSCALE)
    with pytest.raises(TransientError, match="404 PoolNotFound"):
        pools.look("nowhere")


@pytest.mark.parametrize("call", ["look", "slots_wanted", "read_note", "disable_autoscale"])
def test_trouble(batch: Batch, pools: PoolClient, call: str) -> None:
    """No answer, and one that forbids it, are understood; the latter says which role is missing."""
    batch.faults.add(Fault("drop"), Fault("status", status=403))
    with pytest.raises(TransientError, match="does not answer"):
        getattr(pools, call)("linux")
    with pytest.raises(TransientError, match=r"403.*Azure Batch Data Contributor"):
        getattr(pools, call)("linux")


def test_trouble_with_notes(batch: Batch, pools: PoolClient) -> None:
    """A note that cannot be written or taken away is trouble, and not a no."""
    batch.faults.add(Fault("status", "POST /jobs", status=503), Fault("status", "DELETE *", status=503))
    with pytest.raises(TransientError, match="write a note: 503"):
        pools.write_note("linux", AUTOSCALE)
    pools.write_note("linux", AUTOSCALE)
    note = pools.read_note("linux")
    assert note is not None
    with pytest.raises(TransientError, match="forget a note: 503"):
        pools.forget("linux", note)


def test_a_boost(batch: Batch, pools: PoolClient, clock: Clock, add_jobs: Callable[[int], None]) -> None:
    """Waiting jobs get nodes minutes before the formula would act; afterwards the formula takes the nodes away."""
    boost = PoolBoost(pools, clock.utc)
    add_jobs(3)
    assert boost.tend("linux") == "boosted"
    until_running(batch, 3)
    assert boost.tend("linux") == "nothing"
    clock.ahead += 61
    assert boost.tend("linux") == "restored"
    assert pools.look("linux").autoscale == AUTOSCALE
    for name in batch.task_bodies():
        pools._client.terminate_task("github-runner-linux", name)
    assert boost.tend("linux") == "nothing"
    assert len(batch.node_ids("linux")) == 2
    clock.ahead += 600
    batch.tick()
    assert batch.node_ids("linux") == []


@pytest.mark.parametrize("step", ["POST /pools/linux/disableautoscale", "POST /pools/linux/resize"])
def test_a_boost_that_broke_off(
    batch: Batch, pools: PoolClient, clock: Clock, add_jobs: Callable[[int], None], step: str
) -> None:
    """Another process finds what one left half way, at whichever step, and ends it with the formula in force."""
    add_jobs(3)
    batch.faults.add(Fault("drop", step))
    PoolBoost(pools, clock.utc).tend_all(["linux"])
    another = PoolBoost(pools, clock.utc)
    for _ in range(12):  # the service refuses requests that are signed for a quarter of an hour ago
        clock.ahead += 61
        batch.tick()
        another.tend_all(["linux"])
    until_running(batch, 3)
    assert pools.look("linux") == PoolState(True, 2, 0, 2, AUTOSCALE)


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
def test_contract(
    batch: Batch, pools: PoolClient, clock: Clock, add_jobs: Callable[[int], None], tmp_path: Path
) -> None:
    """Every call keeps to Batch's schema, and so does every answer of the stand-in."""
    boost = PoolBoost(pools, clock.utc)
    add_jobs(3)
    boost.tend("linux")
    with pytest.raises(TransientError):
        pools.resize("linux", 3, 0)
    clock.ahead += 61
    boost.tend("linux")
    list(pools._client.list_pool_node_counts())
    assert_kept(batch.recorder.exchanges, tmp_path)


def test_keys_are_never_told(url: str) -> None:
    """A wrong key is refused without being repeated."""
    key = base64.b64encode(b"wrong").decode()
    with pytest.raises(TransientError, match="403") as caught:
        PoolClient(url, AzureNamedKeyCredential("a", key)).look("linux")
    assert key not in str(caught.value)


def until_running(batch: Batch, count: int) -> None:
    """Wait until so many tasks run."""
    until(lambda: sum(body["state"] == "running" for body in batch.task_bodies().values()) >= count)
