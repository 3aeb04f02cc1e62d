"""The deployed shape with `PoolBoost=resize`, and without: what a job that finds no free slot leads to."""

from collections.abc import Iterator

import pytest

from sandbox.batch.model import Pool
from sandbox.deployment import REPOSITORY, Deployment
from tests.e2e.helpers import all_done
from tests.waiting import until


def slow_pool() -> Pool:
    """Return a Linux pool without nodes whose formula is not evaluated before it is put into force anew."""
    pool = Pool("batchLinux", slots_per_node=2, start_delay_s=0.1, evaluation_s=3600)
    pool.evaluated_at = float("inf")
    return pool


@pytest.fixture
def boosted() -> Iterator[Deployment]:
    """Return a deployment that boosts."""
    with Deployment(settings={"PoolBoost": "resize", "WindowsPool": ""}, pools=[slow_pool()]) as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        yield deployment


def test_a_job_gets_a_node_without_waiting_for_the_formula(boosted: Deployment) -> None:
    """The job runs on a node that the formula would not have made, and the formula is in force again."""
    boosted.github.queue_job(REPOSITORY, ("self-hosted", "ubuntu-latest"))
    until(lambda: all_done(boosted))
    boosted.host.run("TendPools")
    until(lambda: "DELETE /jobs/github-boost-batchLinux -> 202" in boosted.batch.recorder.calls)
    assert [call for call in boosted.batch.recorder.calls if call.startswith("POST /pools/")] == [
        "POST /pools/batchLinux/disableautoscale -> 200",
        "POST /pools/batchLinux/resize -> 202",
        "POST /pools/batchLinux/enableautoscale -> 200",
    ]


def test_off_by_default() -> None:
    """Without the setting nothing is asked of any pool, and there is no timer for it."""
    with Deployment(pools=[slow_pool()]) as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        deployment.github.queue_job(REPOSITORY, ("self-hosted", "ubuntu-latest"))
        until(deployment.batch.task_bodies)
        until(lambda: all(delivery.answer for delivery in deployment.github.deliveries))
        assert not [call for call in deployment.batch.recorder.calls if "/pools" in call]
        assert "TendPools" not in deployment.host.functions
