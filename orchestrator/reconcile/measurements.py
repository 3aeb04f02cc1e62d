"""What a pass writes into the log for alerts, pictures and reckonings: pools, queues, calls, and runners that ended."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import UpstreamError
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.reconcile.skipped import skipped
from orchestrator.runners.task import TaskState

log = Log(__name__)


@dataclass(frozen=True)
class PoolSize:
    """How large a pool is.

    Attributes:
        nodes: how many nodes it has, dedicated and Spot together.
        target: how many it is to have.
        slots: how many task slots a node has.
        trouble: why it cannot grow, in Azure's words, if it cannot.
    """

    nodes: int
    target: int
    slots: int
    trouble: str | None


class Measurements:
    """Measures once in each pass: one call for each pool, and four for the queues.

    Args:
        pools: those of the profiles.
        look_at: asks Batch about a pool; None if there is none of this id.
        queues: tells about how many messages of requests wait for their next try, and how many were given up.
        usage: tells what was used of GitHub's limits since it was asked last.
    """

    def __init__(
        self,
        pools: Sequence[str],
        *,
        look_at: Callable[[str], PoolSize | None],
        queues: Callable[[], tuple[int, int]],
        usage: Callable[[], Mapping[str, int | None]],
    ) -> None:
        self._pools = pools
        self._look_at = look_at
        self._queues = queues
        self._usage = usage

    def run(self, tasks: Iterable[TaskState], _now: datetime) -> None:
        """Write the lines; what does not answer is left out, and the log says so.

        Args:
            tasks: all runner tasks.
        """
        with about(**{"pass": "measurements"}):
            by_state = Counter((task.pool, task.state) for task in tasks)
            for pool in self._pools:
                with about(pool=pool):
                    self._measure_pool(pool, by_state[pool, "waiting"], by_state[pool, "running"])
            try:
                kept, given_up = self._queues()
                log(logging.INFO, Line.QUEUES, kept=kept, given_up=given_up)
            except UpstreamError as error:
                skipped(log, error, level=logging.INFO, what="the queues")
            log(logging.INFO, Line.USAGE, **self._usage())

    def _measure_pool(self, pool: str, waiting: int, running: int) -> None:
        try:
            size = self._look_at(pool)
        except UpstreamError as error:
            skipped(log, error, level=logging.INFO, what="the size of a pool")
            return
        tasks = {"waiting": waiting, "running": running}
        if size is None:
            log(logging.WARNING, Line.POOL, **tasks, nodes=0, target=0, slots=0, reason="Batch has no pool of this id")
            return
        reason = {"reason": size.trouble} if size.trouble else {}
        level = logging.WARNING if size.trouble else logging.INFO
        log(level, Line.POOL, **tasks, nodes=size.nodes, target=size.target, slots=size.slots, **reason)


def tell_ended(tasks: Iterable[TaskState]) -> None:
    """Write a line for each runner that has ended: what it was for, how long it took, and how it ended.

    Args:
        tasks: finished tasks as Batch lists them.
    """
    for task in tasks:
        log(
            logging.INFO,
            Line.RUNNER_ENDED,
            task=task.task_id,
            pool=task.pool,
            repository=task.repository,
            profile=task.profile,
            slots=task.slots,
            created_at=task.created_at.isoformat(),
            started_at=task.started_at and task.started_at.isoformat(),
            ended_at=task.ended_at and task.ended_at.isoformat(),
            outcome=task.outcome,
            reason=task.ending,
            runs_before=task.runs_before,
        )
