"""The use case behind the timer: a pass finds and corrects what deliveries and the queue have missed.

    recall what earlier passes remember -> list the tasks on Batch -> redeliver failed deliveries
        -> compare demand with supply -> tell which runners have ended -> look at the boundary
        -> look at the runner's version -> measure pools and queues -> report given-up requests -> remember

No step depends on another: if one fails, the log says why, and the others go on.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from orchestrator.clock import Clock
from orchestrator.errors import UpstreamError
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.reconcile.findings import Findings
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.measurements import tell_ended
from orchestrator.reconcile.memory import PassMemory
from orchestrator.reconcile.progress import Progress
from orchestrator.reconcile.skipped import skipped
from orchestrator.result import Result
from orchestrator.runners.task import TaskState

log = Log(__name__)

# Lists the runner tasks of some pools: those that wait, run or ended lately, and those past their retention. Takes the
# pools, the time, and the tasks that are known to have finished.
type ListTasks = Callable[[Iterable[str], datetime, FinishedTasks], Sequence[TaskState]]
# One step of a pass; takes the runner tasks and the time.
type Step = Callable[[Sequence[TaskState], datetime], None]
# One that goes on from where earlier passes have come, and brings that up to date.
type StepOn = Callable[[Sequence[TaskState], datetime, Progress], None]
# The one that compares demand with supply: it also returns what it found.
type Compare = Callable[[Sequence[TaskState], datetime, Progress], Findings]

# Why there are no findings if nothing else says why.
_UNEXPECTED = "something unexpected kept the pass from it, and is in the log"
# How many characters of a given-up request the log shows.
_SHOWN = 1000


class ControlLoop:
    """Makes passes.

    Args:
        list_tasks: lists the runner tasks.
        pools: the pools where they run.
        begin: is called when a pass begins.
        redeliver: has failed deliveries sent again; see `Redelivery`.
        reconcile: compares demand with supply; see `Reconciler`.
        watches: report who could use the runners against the settings, runners that GitHub will soon refuse, and how
            large everything is; see `BoundaryWatch`, `VersionWatch` and `Measurements`.
        given_up: yields given-up requests that were not reported yet.
        memory: what passes remember.
        clock: tells the time.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a pass needs
        self,
        list_tasks: ListTasks,
        pools: Sequence[str],
        *,
        begin: Callable[[], None],
        redeliver: StepOn,
        reconcile: Compare,
        watches: Sequence[Step],
        given_up: Callable[[], Iterable[bytes]],
        memory: PassMemory,
        clock: Clock,
    ) -> None:
        self._list_tasks = list_tasks
        self._pools = pools
        self._begin = begin
        self._redeliver = redeliver
        self._reconcile = reconcile
        self._watches = watches
        self._given_up = given_up
        self._memory = memory
        self._clock = clock

    def run(self) -> None:
        """Make one pass.

        Raises:
            ExceptionGroup: The unexpected errors of all steps.
        """
        with about(**{"pass": "control loop"}):
            self._begin()
            now = self._clock()
            errors: list[Exception] = []
            self._memory.recall()
            self._memory.findings = self._memory.findings.not_renewed(_UNEXPECTED)
            progress = Progress.from_json(self._memory.progress)
            tasks = self._tasks_at(now, errors)
            steps: list[Callable[[], None]] = [lambda: self._redeliver(tasks or (), now, progress)]
            if tasks is not None:
                steps.append(lambda: self._compare(tasks, now, progress))
                steps.append(lambda: tell_ended(self._memory.finished.new))
            steps += [
                *(partial(watch, tasks or (), now) for watch in self._watches),
                self._report_given_up,
                lambda: self._remember(progress),
            ]
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
            return self._list_tasks(self._pools, now, self._memory.finished)
        except UpstreamError as error:
            skipped(log, error)
            self._memory.findings = self._memory.findings.not_renewed(str(error))
        except Exception as error:  # noqa: BLE001 - see `run`
            errors.append(error)
        return None

    def _compare(self, tasks: Sequence[TaskState], now: datetime, progress: Progress) -> None:
        self._memory.findings = self._reconcile(tasks, now, progress).after(self._memory.findings)

    def _remember(self, progress: Progress) -> None:
        self._memory.progress = progress.to_json()
        self._memory.keep(self._clock())

    def _report_given_up(self) -> None:
        try:
            for request in self._given_up():
                text = request.decode("utf-8", "replace")[:_SHOWN]
                log(logging.CRITICAL, Line.GIVEN_UP, result=Result.GIVEN_UP, message=text)
        except UpstreamError as error:
            skipped(log, error)
