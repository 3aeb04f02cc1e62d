"""When the last pass ended and what it found, as its record says, whichever process made it."""

import threading

from orchestrator.errors import OrchestratorError, TransientError
from orchestrator.explain.facts import Unknown
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
        self._known: Recorded | Unknown | None = None

    def look(self) -> Recorded | Unknown | None:
        """Return what the record tells, or why it cannot be read; None if there is no record."""
        with self._lock:
            try:
                content = self._store.read()
            except OrchestratorError as error:
                # The store tells only what is new: what is known stays known.
                return Unknown(str(error), refused=not isinstance(error, TransientError))
            if content is not None:
                self._known = _read(content)
            return self._known

    def found(self) -> Recorded | None:
        """Return what the record tells; None if there is no record, or it cannot be read."""
        known = self.look()
        return None if isinstance(known, Unknown) else known


def _read(content: bytes) -> Recorded | Unknown:
    try:
        return recorded(content)
    except ValueError as error:
        # The further lines of a long reason quote the record.
        return Unknown(str(error).partition("\n")[0])
