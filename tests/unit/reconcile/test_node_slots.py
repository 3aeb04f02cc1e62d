"""The slots of a node, asked where a task may need more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.reconcile.node_slots import node_slots
from orchestrator.runners.task import TaskState
from tests.builders import task_state

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def task(name: str, pool: str, state: Any = "waiting", *, age: float = 20, slots: int = 4) -> TaskState:
    """Return a task that was created some minutes ago."""
    return task_state(name, pool, state, NOW - timedelta(minutes=age), slots=slots)


def test_which_pools_are_asked() -> None:
    """Each pool is asked once, and only if a task of several slots has waited there for a quarter of an hour."""
    asked: list[str] = []

    def slots_per_node(pool: str) -> int:
        asked.append(pool)
        return 2

    tasks = [
        task("runner-1-1", "large"), task("runner-2-1", "large"), task("runner-3-1", "one", slots=1),
        task("runner-4-1", "young", age=14), task("runner-5-1", "running", "running"), task("runner-6-1", "also"),
    ]  # fmt: skip
    assert node_slots(tasks, NOW, slots_per_node) == {"also": 2, "large": 2}
    assert asked == ["also", "large"]


@pytest.mark.parametrize("error", [TransientError("busy"), UpstreamRefused("403: no role")])
def test_a_pool_that_does_not_tell(log_lines: list[tuple[str, dict[str, Any]]], error: Exception) -> None:
    """Where the identity may not read a pool, or Batch does not answer, the pass goes on without the figure."""

    def slots_per_node(pool: str) -> int:
        if pool == "a":
            raise error
        return 8

    assert node_slots([task("runner-1-1", "a"), task("runner-2-1", "b")], NOW, slots_per_node) == {"b": 8}
    assert [(level, line["result"], line["pool"]) for level, line in log_lines] == [("INFO", "skipped", "a")]
