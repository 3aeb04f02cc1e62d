"""The use case behind the timer: what deliveries and the queue have missed is found and mended, pass by pass.

    look at Batch -> failed deliveries -> demand against supply -> given-up requests

No step depends on another: where one is hindered, the log says by what, and the others go on.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from orchestrator.errors import UpstreamError
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.redelivery import Redelivery
from orchestrator.runners.task import TaskState

logger = logging.getLogger(__name__)


class TaskList(Protocol):
    """The runner tasks on Batch."""

    def listed(self, pools: Iterable[str], now: datetime) -> Iterator[TaskState]:
        """List those that live or ended lately, and those past their retention."""


class ControlLoop:
    """Makes passes.

    Args:
        tasks: lists the runner tasks.
        pools: where they run.
        redelivery: sees to failed deliveries.
        reconciler: compares demand with supply.
        unexplained: yields given-up requests that nobody has told of yet (`RequestQueue.unexplained`).
        clock: epoch seconds.
    """

    def __init__(
        self,
        tasks: TaskList,
        pools: Sequence[str],
        *,
        redelivery: Redelivery,
        reconciler: Reconciler,
        unexplained: Callable[[], Iterable[bytes]],
        clock: Callable[[], float],
    ) -> None:
        self._tasks = tasks
        self._pools = pools
        self._redelivery = redelivery
        self._reconciler = reconciler
        self._unexplained = unexplained
        self._clock = clock

    def run(self) -> None:
        """Make one pass.

        Raises:
            ExceptionGroup: What no step had expected.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        tasks = self._look(now)
        mistakes: list[Exception] = []
        steps: list[Callable[[], None]] = [lambda: self._redelivery.run(tasks or (), now)]
        if tasks is not None:
            steps.append(lambda: self._reconciler.run(tasks, now))
        for step in (*steps, self._tell_of_given_up):
            try:
                step()
            except Exception as mistake:  # noqa: BLE001 - it is raised when the others had their turn
                mistakes.append(mistake)
        if mistakes:
            raise ExceptionGroup("a pass was not completed", mistakes)

    def _look(self, now: datetime) -> Sequence[TaskState] | None:
        try:
            # One that moved on while it was listed is seen twice; its later state counts.
            return list({(task.pool, task.task_id): task for task in self._tasks.listed(self._pools, now)}.values())
        except UpstreamError as error:
            _log(logging.WARNING, result="skipped", reason=str(error))
            return None

    def _tell_of_given_up(self) -> None:
        try:
            for message in self._unexplained():
                _log(logging.CRITICAL, result="given up", message=message.decode("utf-8", "replace")[:1000])
        except UpstreamError as error:
            _log(logging.WARNING, result="skipped", reason=str(error))


def _log(level: int, **fields: object) -> None:
    logger.log(level, "%s", json.dumps({"pass": "control loop", **fields}))
