"""How many slots the nodes of a pool have, where that may be why a task waits."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from orchestrator.errors import UpstreamError
from orchestrator.log import Log
from orchestrator.reconcile.skipped import skipped
from orchestrator.reconcile.view import REPORT_WAIT_AFTER
from orchestrator.runners.task import TaskState

log = Log(__name__)


def node_slots(tasks: Iterable[TaskState], now: datetime, slots_per_node: Callable[[str], int]) -> Mapping[str, int]:
    """Return the slots per node of the pools in which a task of several slots has waited for long: one call each.

    A task of one slot fits on every node. A pool that does not tell is left out, and the log says so.

    Args:
        tasks: all runner tasks.
        now: the time.
        slots_per_node: asks Batch about a pool.
    """
    pools = {
        task.pool
        for task in tasks
        if task.state == "waiting" and task.slots > 1 and now - task.created_at >= REPORT_WAIT_AFTER
    }
    found: dict[str, int] = {}
    for pool in sorted(pools):
        try:
            found[pool] = slots_per_node(pool)
        except UpstreamError as error:
            skipped(log, error, level=logging.INFO, what="the slots of a node", pool=pool)
    return found
