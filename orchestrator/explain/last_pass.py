"""When the last pass ended, as its record says, whichever process made it."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from orchestrator.errors import OrchestratorError
from orchestrator.reconcile.memory import Store, written_at


class LastPass:
    """Reads the record of passes. Safe under threads.

    Args:
        store: where the record is; for this reader alone, since it tells what is new since the last time.
        lock: makes a lock.
    """

    def __init__(self, store: Store, *, lock: Callable[[], AbstractContextManager[object]] = threading.Lock) -> None:
        self._store = store
        self._lock = lock()
        self._at: datetime | None = None

    def at(self) -> datetime | None:
        """Return when the last pass ended; None if there is no record, or it cannot be read."""
        with self._lock:
            try:
                content = self._store.read()
                if content is not None:
                    self._at = written_at(content)
            except (OrchestratorError, ValueError):
                self._at = None
            return self._at
