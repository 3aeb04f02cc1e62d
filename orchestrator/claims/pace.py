"""How often one task may claim: a container that asks without pause costs nobody else anything."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from orchestrator.clock import Clock
from orchestrator.runtime import MakeLock

PERIOD = timedelta(minutes=1)
# Twice as often as a container asks that is told to come again after two seconds.
MOST_IN_A_PERIOD = 60
# Tasks that are counted, those that asked last.
MOST_TASKS = 10_000


class Pace:
    """Counts what each task asks for, in this process. Safe under threads.

    Args:
        clock: the time.
        most_tasks: so many tasks are counted.
        lock: makes a lock.
    """

    def __init__(self, clock: Clock, *, most_tasks: int = MOST_TASKS, lock: MakeLock = threading.Lock) -> None:
        self._clock = clock
        self._most_tasks = most_tasks
        self._lock = lock()
        # When the period began in which a task is counted, and how often it has asked since.
        self._asked: OrderedDict[tuple[str, str], tuple[datetime, int]] = OrderedDict()

    def wait(self, batch_job: str, task_id: str) -> float | None:
        """Count one claim; return the seconds after which the task may ask again, and None if it may ask now.

        Args:
            batch_job: the Batch job that holds the task.
            task_id: the task's id.
        """
        key, now = (batch_job, task_id), self._clock()
        with self._lock:
            since, times = self._asked.pop(key, (now, 0))
            if not timedelta(0) <= now - since < PERIOD:
                since, times = now, 0
            self._asked[key] = since, times + 1
            if len(self._asked) > self._most_tasks:
                self._asked.popitem(last=False)
        return (since + PERIOD - now).total_seconds() if times >= MOST_IN_A_PERIOD else None
