"""How the Batch stand-in shares a pool between jobs, as Batch is documented to do."""

from collections.abc import Mapping

from sandbox.batch.model import Pool
from sandbox.batch.pools import BatchPools


def started(jobs: Mapping[str, tuple[int, int]], slots: Mapping[str, int] | None = None) -> list[str]:
    """Return which tasks of these jobs start first on a node of four slots.

    Args:
        jobs: priority and number of tasks of each, by its id, in the order in which they came.
        slots: how many slots a task of a job takes, where it is more than one.
    """
    pools = BatchPools("account", [Pool("pool", container=False, slots_per_node=4, nodes=1, start_delay_s=0)])
    pools.step(0)
    for job, (priority, number) in jobs.items():
        pools.add_job({"id": job, "priority": priority, "poolInfo": {"poolId": "pool"}}, 0)
        for index in range(number):
            body = {"id": f"{job}-{index}", "commandLine": "x", "requiredSlots": (slots or {}).get(job, 1)}
            pools.add_task(job, body, 0)
    return [command.run.task_id for command in pools.step(1)]


def test_equal_priority() -> None:
    """Jobs of one priority take turns: many waiting tasks of one do not stand before the few of another."""
    assert started({"greedy": (0, 100), "modest": (0, 2)}) == ["greedy-0", "modest-0", "greedy-1", "modest-1"]


def test_higher_priority() -> None:
    """Tasks of a higher priority start first."""
    jobs = {"low": (-500, 5), "normal": (0, 2), "high": (500, 1)}
    assert started(jobs) == ["high-0", "normal-0", "normal-1", "low-0"]


def test_a_large_task_stops_nobody() -> None:
    """What fits starts, although a task that came before needs more slots than a node has."""
    assert started({"large": (0, 2), "small": (0, 2)}, slots={"large": 8}) == ["small-0", "small-1"]
