"""When the last pass ended and what it found, as its record says, whichever process made it."""

import threading

from orchestrator.errors import OrchestratorError
from orchestrator.reconcile.findings import Recorded
from orchestrator.reconcile.memory import Store, recorded
from orchestrator.runtime import MakeLock


class LastPass:
    """Reads the record of passes. Safe under threads.

    Args:
        store: where the record is; for this reader alone, since it tells what is new since the last time.
        lock: makes a lock.
    """

    def __init__(self, store: Store, *, lock: MakeLock = threading.Lock) -> None:
        self._store = store
        self._lock = lock()
        self._known: Recorded | None = None

    def look(self) -> Recorded | None:
        """Return what the record tells; None if there is no record, or it cannot be read."""
        with self._lock:
            try:
                content = self._store.read()
                if content is not None:
                    self._known = recorded(content)
            except (OrchestratorError, ValueError):
                self._known = None
            return self._known
