"""Which runners wait or run, as far as quotas need to know: Batch's list, short-lived and shared.

Deliveries need the number at once, and many may need it at the same time. So the list of a few seconds ago is good
enough to hold a job. To start one, the list must also be recent in terms of what was started since: the closer a quota
is to being full, the sooner Batch is asked again. That keeps several instances, which do not know of each other, from
using the same free slots.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.clock import Clock
from orchestrator.errors import TransientError, UpstreamError
from orchestrator.quotas.rule import Quota, Slot, slots_of
from orchestrator.runners.task import TaskState
from orchestrator.runtime import MakeLock

# How long the list may be used, from when it is complete: Batch may take longer than this to give it.
LIST_LIFE = timedelta(seconds=5)
# How long a job waits for lists that leave room for it. Each lets one start at least, but Batch may be slow.
PATIENCE = timedelta(seconds=30)
# Of the slots that a list shows as free, this process uses one of so many (and one at least) before it lists again.
SHARE_OF_FREE_SLOTS = 4
# How long a runner whose job has ended is remembered. Its container ends within seconds.
ENDED_REMEMBERED_FOR = timedelta(minutes=5)

# Returns the tasks of a pool that wait or run.
type ListLive = Callable[[str], Iterable[TaskState]]


@dataclass(frozen=True)
class Reservation:
    """What became of the wish for a slot.

    Attributes:
        is_new: whether one was reserved; if so, `Occupancy.settle` must follow.
        reason: why there is none now. Neither this nor a new one: the job has a slot already.
    """

    is_new: bool
    reason: str | None = None


class Occupancy:
    """Counts slots, and reserves them for runners that are about to be started. Safe under threads.

    Args:
        list_live: asks Batch.
        pools: all that quotas concern.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(
        self, list_live: ListLive, pools: Iterable[str], clock: Clock, *, lock: MakeLock = threading.Lock
    ) -> None:
        self._list_live = list_live
        self._pools = sorted(pools)
        self._clock = clock
        self._lock = lock()
        self._one_lists = lock()
        self._listed: Sequence[Slot] = ()
        self._listed_at: datetime | None = None
        # How often Batch has told, and how often it has not.
        self._lists, self._failures = 0, 0
        # What this process has reserved: the slot, and when its task was created; None while that is being done.
        self._own: dict[str, tuple[Slot, datetime | None]] = {}
        # How many slots of each quota were reserved since the list was made.
        self._reserved: Counter[Quota] = Counter()
        self._ended: dict[str, datetime] = {}

    def reserve(self, slot: Slot, quotas: Sequence[Quota]) -> Reservation:
        """Reserve a slot for a job's runner, if there is room and the job has none.

        Args:
            slot: named by the job's key.
            quotas: those that the runner counts against.

        Raises:
            UpstreamError: Batch does not tell, or takes too long.
        """
        asked_at = self._clock()
        while True:
            with self._lock:
                tried = self._lists, self._failures
                slots = self._slots()
                if slots is not None:
                    if any(known.job_key == slot.job_key for known in slots):
                        return Reservation(is_new=False)
                    reason = next((reason for quota in quotas if (reason := quota.reason(slots))), None)
                    if reason is not None:
                        return Reservation(is_new=False, reason=reason)
                    if all(map(self._may_start, quotas)):
                        self._own[slot.task_id] = (slot, None)
                        self._reserved.update(quotas)
                        return Reservation(is_new=True)
            self._list(*tried, asked_at)

    def settle(self, slot: Slot, created: str | None) -> None:
        """Take note of what became of a slot that was reserved.

        Args:
            slot: as it was reserved.
            created: the id of the task that was created; None if none was.
        """
        with self._lock:
            self._own.pop(slot.task_id, None)
            if created is not None:
                self._own[created] = (replace(slot, task_id=created), self._clock())

    def ended(self, task_id: str) -> None:
        """Take note that a runner has had its job, so that its slot is as good as free."""
        now = self._clock()
        with self._lock:
            self._ended[task_id] = now
            while now - next(iter(self._ended.values())) >= ENDED_REMEMBERED_FOR:
                del self._ended[next(iter(self._ended))]

    def slots(self) -> Sequence[Slot]:
        """Return the slots that are taken.

        Raises:
            UpstreamError: Batch does not tell, or takes too long.
        """
        asked_at = self._clock()
        while True:
            with self._lock:
                tried = self._lists, self._failures
                slots = self._slots()
            if slots is not None:
                return slots
            self._list(*tried, asked_at)

    def known(self, most_age: timedelta) -> Sequence[Slot] | None:
        """Return the slots that are taken by a list of that age or younger; None if there is none. Batch is not asked.

        Args:
            most_age: of the list.
        """
        with self._lock:
            return self._slots(most_age)

    def _slots(self, most_age: timedelta = LIST_LIFE) -> Sequence[Slot] | None:
        """Return the slots that are taken; None if Batch must be asked first."""
        if self._listed_at is None or self._clock() - self._listed_at >= most_age:
            return None
        known = {slot.task_id: slot for slot in self._listed} | {slot.task_id: slot for slot, _ in self._own.values()}
        return [slot for task_id, slot in known.items() if task_id not in self._ended]

    def _may_start(self, quota: Quota) -> bool:
        """Whether the list is recent enough to start one more runner."""
        free = quota.limit - sum(map(quota.counts, self._listed))
        return self._reserved[quota] < max(1, free // SHARE_OF_FREE_SLOTS)

    def _list(self, lists: int, failures: int, asked_at: datetime) -> None:
        """Ask Batch: one thread for all that wait for the answer.

        Args:
            lists: how often Batch had told when the caller found that it must be asked.
            failures: how often it had not.
            asked_at: since when the caller has waited.
        """
        if self._clock() - asked_at >= PATIENCE:
            raise TransientError("Batch takes too long to tell which runners wait and run")
        with self._one_lists:
            if self._lists != lists:
                return
            if self._failures != failures:
                raise TransientError("Batch does not tell which runners wait and run")
            began = self._clock()
            try:
                slots = slots_of(task for pool in self._pools for task in self._list_live(pool))
            except UpstreamError:
                self._failures += 1
                raise
            with self._lock:
                self._listed, self._listed_at = slots, self._clock()
                self._lists += 1
                self._reserved.clear()
                # The list may lack a task that was created while it was made. An older one is in it, or is over.
                self._own = {key: own for key, own in self._own.items() if own[1] is None or own[1] >= began}
