"""The use case behind the timer: a pass finds and corrects what deliveries and the queue have missed.

    list the tasks on Batch -> redeliver failed deliveries -> compare demand with supply -> look at the boundary
        -> look at the runner's version -> report given-up requests

No step depends on another: if one fails, the log says why, and the others go on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from orchestrator.clock import Clock
from orchestrator.errors import UpstreamError
from orchestrator.log import Log, about
from orchestrator.result import Result
from orchestrator.runners.task import TaskState

log = Log(__name__)

# Lists the runner tasks of some pools: those that wait, run or ended lately, and those past their retention.
type ListTasks = Callable[[Iterable[str], datetime], Iterator[TaskState]]
# One step of a pass; takes the runner tasks and the time.
type Step = Callable[[Sequence[TaskState], datetime], None]

# How many characters of a given-up request the log shows.
_SHOWN = 1000


class ControlLoop:
    """Makes passes.

    Args:
        list_tasks: lists the runner tasks.
        pools: the pools where they run.
        redeliver: has failed deliveries sent again; see `Redelivery`.
        reconcile: compares demand with supply; see `Reconciler`.
        watches: report who could use the runners against the settings, and runners that GitHub will soon refuse; see
            `BoundaryWatch` and `VersionWatch`.
        given_up: yields given-up requests that were not reported yet.
        clock: tells the time.
    """

    def __init__(
        self,
        list_tasks: ListTasks,
        pools: Sequence[str],
        *,
        redeliver: Step,
        reconcile: Step,
        watches: Sequence[Step],
        given_up: Callable[[], Iterable[bytes]],
        clock: Clock,
    ) -> None:
        self._list_tasks = list_tasks
        self._pools = pools
        self._redeliver = redeliver
        self._reconcile = reconcile
        self._watches = watches
        self._given_up = given_up
        self._clock = clock

    def run(self) -> None:
        """Make one pass.

        Raises:
            ExceptionGroup: The unexpected errors of all steps.
        """
        with about(**{"pass": "control loop"}):
            now = self._clock()
            errors: list[Exception] = []
            tasks = self._tasks_at(now, errors)
            steps: list[Callable[[], None]] = [lambda: self._redeliver(tasks or (), now)]
            if tasks is not None:
                steps.append(lambda: self._reconcile(tasks, now))
            steps += [*(partial(watch, tasks or (), now) for watch in self._watches), self._report_given_up]
            for step in steps:
                try:
                    step()
                except Exception as error:  # noqa: BLE001 - it is raised when all steps were tried
                    errors.append(error)
        if errors:
            raise ExceptionGroup("a pass was not completed", errors)

    def _tasks_at(self, now: datetime, errors: list[Exception]) -> Sequence[TaskState] | None:
        """Return the tasks, each once; None if Batch does not list them. An unexpected error is put to the others."""
        try:
            # A task that changes its state while it is listed is seen twice; the later state counts.
            return list({task.key: task for task in self._list_tasks(self._pools, now)}.values())
        except UpstreamError as error:
            log(logging.WARNING, result=Result.SKIPPED, reason=str(error))
        except Exception as error:  # noqa: BLE001 - see `run`
            errors.append(error)
        return None

    def _report_given_up(self) -> None:
        try:
            for request in self._given_up():
                text = request.decode("utf-8", "replace")[:_SHOWN]
                log(logging.CRITICAL, result=Result.GIVEN_UP, message=text)
        except UpstreamError as error:
            log(logging.WARNING, result=Result.SKIPPED, reason=str(error))
