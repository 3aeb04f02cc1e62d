"""When the last pass ended, and what it found."""

import gzip
from datetime import UTC, datetime

import pytest

from orchestrator.errors import TransientError
from orchestrator.explain.last_pass import LastPass
from orchestrator.reconcile.findings import Findings, Recorded
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.memory import Record, encode

AT = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
FINDINGS = Findings(at=AT, unserved={"ubuntu-latest": 2})
RECORD = encode(Record(AT, {}, FinishedTasks(), FINDINGS))


class Store:
    """What the storage answers, one after the other."""

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self._answers = list(answers)

    def read(self) -> bytes | None:
        """Answer."""
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(self, content: bytes) -> bool:
        """Take nothing."""
        raise AssertionError(content)


def test_read_once() -> None:
    """The record is told, also while it stays the same."""
    last = LastPass(Store(RECORD, None))
    assert [last.look(), last.look()] == [Recorded(AT, FINDINGS)] * 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        TransientError("silence"),
        b"",
        b"nothing",
        gzip.compress(b"[]", mtime=0),
        RECORD[:9],
        gzip.compress(b'{"version": 1, "writtenAt": "2026-11-27T12:00:00+00:00", "progress": {}}', mtime=0),
    ],
)
def test_unknown(answer: bytes | Exception | None) -> None:
    """Without a record that can be read, it is not known."""
    assert LastPass(Store(answer)).look() is None
