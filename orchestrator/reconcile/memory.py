"""What passes remember for the next one, and the record of it that another process can read.

It is a cache. What a pass does follows from what GitHub and Batch say now; the memory says where to look, and which
finished tasks need not be listed again. If the record is gone, cannot be read, or is another version's, the next pass
asks for everything once more and takes longer. No secret is in it.
"""

import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestrator.clock import moment_of
from orchestrator.errors import OrchestratorError
from orchestrator.log import Log
from orchestrator.reconcile.findings import Findings, Recorded
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.skipped import skipped

log = Log(__name__)

# Of the record. One of another version is not read.
VERSION = 3
# Bytes of a record that is written, and of what it holds when it is unpacked. 50,000 tasks take about a fiftieth.
MOST_BYTES = 16 * 1024 * 1024
_MOST_UNPACKED = 256 * 1024 * 1024
# Bytes of its first line. What `findings` keeps at most takes a third of that, with ten pools.
_MOST_HEAD = 4 * 1024 * 1024
# What reading something else, or a damaged record, raises beside ValueError.
_NOT_OURS = (LookupError, TypeError, OSError, EOFError, zlib.error)


class Store(Protocol):
    """Where the record is kept."""

    def read(self) -> bytes | None:
        """Return the record; None if there is none, or the same as this process read or wrote last."""

    def write(self, content: bytes) -> bool:
        """Write it; return False if another process has written one since this process read it."""


@dataclass(frozen=True)
class Record:
    """The memory at the end of a pass, as it was written.

    Attributes:
        written_at: when that was.
        progress: how far the passes have come with GitHub; what it holds is its owner's business.
        finished: the finished tasks.
        findings: what the pass found, for whoever asks before the next one.
    """

    written_at: datetime
    progress: Mapping[str, Any]
    finished: FinishedTasks
    findings: Findings = field(default_factory=Findings)


def encode(record: Record) -> bytes:
    """Return a record as it is written: compressed JSON lines, the first of which stands for itself."""
    head = {
        "version": VERSION,
        "writtenAt": record.written_at.isoformat(),
        "findings": record.findings.model_dump(mode="json", exclude_defaults=True),
    }
    lines = f"{json.dumps(head, separators=(',', ':'))}\n{json.dumps(record.progress)}\n"
    return gzip.compress(lines.encode(), mtime=0) + b"".join(record.finished.encoded())


def decode(content: bytes) -> Record:
    """Read a record.

    Raises:
        ValueError: It is none, or one of another version.
    """
    try:
        lines = _lines(content)
        at, findings = _head(next(lines))
        return Record(at, dict(next(lines)), FinishedTasks.decoded(lines), findings)
    except (*_NOT_OURS, AttributeError, StopIteration, OverflowError) as error:
        raise ValueError(f"it cannot be read ({type(error).__name__})") from None


def recorded(content: bytes) -> Recorded:
    """Return when a record was written and what its pass found, without reading the rest of it.

    Raises:
        ValueError: It is none, or one of another version.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            return _head(json.loads(unpacked.readline(_MOST_HEAD)))
    except _NOT_OURS as error:
        raise ValueError(f"it cannot be read ({type(error).__name__})") from None


def _head(head: Any) -> Recorded:
    """Return what the first line of a record tells."""
    if head["version"] != VERSION:
        raise ValueError(f"it is of version {head['version']!r}")
    return Recorded(moment_of(head["writtenAt"]), Findings.model_validate(head["findings"]))


def _lines(content: bytes) -> Iterator[Any]:
    text = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MOST_UNPACKED)
    values: list[Any] = json.loads(b"[%s]" % text.rstrip(b"\n").replace(b"\n", b","))
    return iter(values)


class PassMemory:
    """What this process remembers, and what it has from the processes that made passes before.

    Args:
        store: keeps the record between processes.

    Attributes:
        finished: the finished tasks.
        progress: how far the passes have come with GitHub.
        findings: what the last pass found that could look.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.finished = FinishedTasks()
        self.progress: Mapping[str, Any] = {}
        self.findings = Findings()

    def recall(self) -> None:
        """Take over what another process has written since this one wrote or read last."""
        try:
            content = self._store.read()
            if content is None:
                return
            record = decode(content)
        except (OrchestratorError, ValueError) as error:
            skipped(log, error, what="the memory of earlier passes")
            return
        self.finished, self.progress, self.findings = record.finished, record.progress, record.findings

    def keep(self, now: datetime) -> None:
        """Write it for the next pass, whichever process makes it."""
        content = encode(Record(now, self.progress, self.finished, self.findings))
        if len(content) > MOST_BYTES:
            reason = f"{len(content):,} bytes are too many: finished tasks are left out"
            skipped(log, reason, what="the memory of this pass")
            content = encode(Record(now, self.progress, FinishedTasks(), self.findings))
        try:
            written = self._store.write(content)
        except OrchestratorError as error:
            skipped(log, error, what="the memory of this pass")
            return
        if not written:
            reason = "another process wrote its own meanwhile"
            skipped(log, reason, level=logging.INFO, what="the memory of this pass")
