"""When the last pass ended, and what it found."""

import gzip
from datetime import UTC, datetime

import pytest

from orchestrator.errors import OrchestratorError, SettingsError, TransientError
from orchestrator.explain.facts import Unknown
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


def test_no_record() -> None:
    """Before the first pass there is no record, and nothing is wrong."""
    assert LastPass(Store(None)).look() is None


@pytest.mark.parametrize(
    ("trouble", "refused"),
    [(TransientError("the storage is silent"), False), (SettingsError.of("Uri", "is missing"), True)],
)
def test_a_storage_that_does_not_answer(trouble: OrchestratorError, refused: bool) -> None:
    """Why the record could not be read is told; when the storage answers again, so is what was known."""
    last = LastPass(Store(RECORD, trouble, None, trouble))
    known = Recorded(AT, FINDINGS)
    assert [last.look(), last.look(), last.look()] == [known, Unknown(str(trouble), refused), known]
    assert last.found() is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"nothing", "it cannot be read (BadGzipFile)"),
        (gzip.compress(b"[]", mtime=0), "it cannot be read (TypeError)"),
        (RECORD[:9], "it cannot be read (EOFError)"),
        (gzip.compress(b'{"version": 1, "writtenAt": "2026-11-27T12:00:00+00:00"}', mtime=0), "it is of version 1"),
        (
            gzip.compress(
                b'{"version": 3, "writtenAt": "2026-11-27T12:00:00Z", "findings": {"unserved": "s3cret"}}', mtime=0
            ),
            "1 validation error for Findings",
        ),
    ],
)
def test_a_record_that_cannot_be_read(content: bytes, reason: str) -> None:
    """A record of another form is not known, for a reason that quotes nothing of it, until there is another one."""
    last = LastPass(Store(content, None, RECORD))
    first = last.look()
    assert isinstance(first, Unknown)
    assert first.reason.startswith(reason)
    assert "s3cret" not in first.reason
    assert [last.look(), last.found()] == [first, Recorded(AT, FINDINGS)]
