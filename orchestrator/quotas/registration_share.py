"""No repository takes more than half of a minute's registrations while others wait.

Each JIT configuration is a call that costs GitHub's points, and GitHub counts points by the minute for all repositories
of an installation together (of a token: for all repositories). So the matrix of one repository could use up each
minute.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.clock import Clock
from orchestrator.errors import CallsSpent
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runtime import MakeLock

PERIOD = timedelta(minutes=1)
# A repository waits if it has asked within this time. A request that had to wait for a minute comes back within a
# minute and a quarter.
ASKED_LATELY = timedelta(seconds=90)


@dataclass
class _Repository:
    """What one repository has asked for.

    Attributes:
        asked_at: when it last asked.
        taken_at: when it took the registrations of the last minute.
    """

    asked_at: datetime
    taken_at: deque[datetime] = field(default_factory=deque)


class RegistrationShare:
    """Decides before each registration whether it is the repository's turn. Safe under threads.

    Args:
        per_minute: how many registrations GitHub takes in a minute.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(self, per_minute: int, clock: Clock, *, lock: MakeLock = threading.Lock) -> None:
        self._share = per_minute // 2
        self._clock = clock
        self._lock = lock()
        # By installation; a token has one for all.
        self._asked: dict[int | None, dict[str, _Repository]] = {}

    def take(self, event: WorkflowJobEvent) -> None:
        """Count a registration that is about to be made.

        Args:
            event: the job that it is for.

        Raises:
            CallsSpent: The repository has had its share, and others wait; the error says for how long.
        """
        now, name = self._clock(), event.repository.full_name.lower()
        with self._lock:
            known = self._asked.setdefault(event.installation_id, {})
            for other in [other for other, about in known.items() if now - about.asked_at >= ASKED_LATELY]:
                del known[other]
            repository = known.setdefault(name, _Repository(now))
            repository.asked_at = now
            while repository.taken_at and now - repository.taken_at[0] >= PERIOD:
                repository.taken_at.popleft()
            if len(known) > 1 and len(repository.taken_at) >= self._share:
                oldest = repository.taken_at[-self._share]
                raise CallsSpent(
                    f"{event.repository.full_name} has had half of this minute's registrations, and others wait",
                    retry_after=(oldest + PERIOD - now).total_seconds(),
                )
            repository.taken_at.append(now)
