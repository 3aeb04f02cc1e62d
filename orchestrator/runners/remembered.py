"""Answers of GitHub's that change seldom, each kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.clock import Clock
from orchestrator.errors import TransientError
from orchestrator.runtime import MakeLock

# How many answers are kept, the last used ones.
MOST_ANSWERS = 2000
# While GitHub does not answer, an old answer is used for so long before GitHub is asked again.
ASK_AGAIN_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class _Answer[V]:
    """An answer.

    Attributes:
        value: what GitHub said.
        at: when it said so.
        tried_at: when it was last asked, with or without success.
    """

    value: V
    at: datetime
    tried_at: datetime


class _Slot[V]:
    """What is known about one key; only who holds the lock may look."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self.lock = lock
        self.answer: _Answer[V] | None = None


class Remembered[K: Hashable, V]:
    """One answer per key. Safe under threads: one asks about a key while the others wait for the answer.

    Args:
        ask: asks GitHub about a key.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(self, ask: Callable[[K], V], clock: Clock, *, lock: MakeLock = threading.Lock) -> None:
        self._ask = ask
        self._clock = clock
        self._make_lock = lock
        self._lock = lock()
        self._slots: OrderedDict[K, _Slot[V]] = OrderedDict()

    def get(self, key: K, most_age: timedelta) -> V:
        """Return the answer about a key; ask if there is none, or if the answer is older than `most_age`.

        While GitHub does not answer, the old answer is returned, whatever its age. If GitHub refuses to answer, the old
        answer is forgotten.

        Raises:
            UpstreamError: GitHub refuses, or there is no old answer.
        """
        slot = self._slot(key)
        with slot.lock:
            known, now = slot.answer, self._clock()
            if known is not None and not _is_due(known, now, most_age):
                return known.value
            slot.answer = None
            try:
                value = self._ask(key)
            except TransientError:
                if known is None:
                    raise
                slot.answer = _Answer(known.value, known.at, now)
                return known.value
            slot.answer = _Answer(value, now, now)
            return value

    def _slot(self, key: K) -> _Slot[V]:
        with self._lock:
            if key not in self._slots:
                self._slots[key] = _Slot(self._make_lock())
            self._slots.move_to_end(key)
            if len(self._slots) > MOST_ANSWERS:
                self._slots.popitem(last=False)
            return self._slots[key]


def _is_due[V](known: _Answer[V], now: datetime, most_age: timedelta) -> bool:
    if timedelta(0) <= now - known.at < most_age:
        return False
    failed_lately = known.tried_at != known.at and timedelta(0) <= now - known.tried_at < ASK_AGAIN_AFTER
    return not failed_lately
