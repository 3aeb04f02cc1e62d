"""The record of a claim's first use."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.claims.use import Use, name_of

NONCE = "0a" * 32


def test_round_trip() -> None:
    """What was kept is read back; the nonce itself is not kept."""
    use = Use.of(NONCE, 7)
    assert Use.decode(use.encode()) == use
    assert NONCE not in use.encode().decode()


def test_by_the_same() -> None:
    """The same nonce is the same container, whichever runner it got; another nonce is somebody else."""
    assert Use.of(NONCE).is_by_same(Use.of(NONCE, 7))
    assert not Use.of(NONCE).is_by_same(Use.of("0b" * 32))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"nonce": 7}'])
def test_what_is_no_record(content: bytes) -> None:
    """A record that cannot be read counts as somebody else's."""
    assert not Use.decode(content).is_by_same(Use.of(NONCE))


def test_name() -> None:
    """Each start of each task has a name of its own, whatever zone its time is told in."""
    start = datetime(2026, 11, 25, 12, 0, 0, 120, tzinfo=UTC)
    name = name_of("job", "runner-7-1", start)
    assert name == "job/runner-7-1/2026-11-25T12-00-00.000120Z.json"
    assert name == name_of("job", "runner-7-1", start.astimezone(timezone(timedelta(hours=2))))
    assert name != name_of("job", "runner-7-1", start + timedelta(microseconds=1))
