"""What passes remember, and the record of it."""

import gzip
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.errors import SettingsError, TransientError
from orchestrator.reconcile import memory
from orchestrator.reconcile.findings import Findings
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.memory import PassMemory, Record, decode, encode, recorded
from tests.builders import task_state
from tests.fakes import MemoryStore

type Lines = list[tuple[str, dict[str, Any]]]

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HEAD = {"version": memory.VERSION, "writtenAt": "2026-11-25T12:00:00+00:00", "findings": {}}
OLD = {"version": 1, "writtenAt": "2026-11-25T12:00:00+00:00", "progress": {}}
TASKS: dict[str, Any] = {"lookedAt": {}, "notes": {}}


def record(*lines: object) -> bytes:
    """Return a record of these lines."""
    return gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode(), mtime=0)


def known() -> FinishedTasks:
    """Return one finished task."""
    tasks = FinishedTasks()
    tasks.merged([task_state("runner-1-1", "linux", "finished", NOW, batch_job="j", ended_at=NOW)], ["j"], NOW)
    return tasks


def test_the_next_process() -> None:
    """A process takes over what another one has kept, with the time at which it was written."""
    store = MemoryStore()
    one = PassMemory(store)
    one.finished, one.progress = known(), {"after": "acme/app"}
    one.findings = Findings(at=NOW, requests_left=4711)
    one.keep(NOW)
    assert store.content is not None
    assert decode(store.content).written_at == NOW
    other = PassMemory(MemoryStore(store.content))
    other.recall()
    assert other.progress == {"after": "acme/app"}
    assert other.findings == one.findings
    assert [task.task_id for task in other.finished.merged([], ["j"], NOW)] == ["runner-1-1"]
    finished = other.finished
    other.recall()
    assert other.finished is finished


@pytest.mark.parametrize(
    "content",
    [
        b"", b"garbage", gzip.compress(b"\xff", mtime=0), gzip.compress(b"{}", mtime=0)[:-9],
        record(), record(7), record([]), record({}),
        record(HEAD), record(HEAD, {}), record(OLD, TASKS), record(HEAD | {"version": None}, {}, TASKS),
        record(HEAD | {"writtenAt": 7}, {}, TASKS), record(HEAD | {"findings": 7}, {}, TASKS), record(HEAD, 7, TASKS),
        record(HEAD | {"findings": {"jobs": [{"job": "?"}]}}, {}, TASKS), record(HEAD, {}, 7),
        record(HEAD, {}, TASKS, [[]]), record(HEAD, {}, TASKS, 7),
        record(HEAD, {}, TASKS, [[0, 0, 0, "soon", 0, 0, 0, 0, 0, 0]]),
        record(HEAD, {}, {"lookedAt": {"j": 1e99}, "notes": {}}),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read(content: bytes, log_lines: Lines) -> None:
    """A record that is garbage, cut, or another version's is left aside with one line; the next one replaces it."""
    store = MemoryStore(content)
    remembering = PassMemory(store)
    remembering.recall()
    ((_, line),) = log_lines
    assert (line["result"], line["what"]) == ("skipped", "the memory of earlier passes")
    assert remembering.progress == {}
    remembering.keep(NOW)
    assert store.content is not None
    assert decode(store.content).written_at == NOW


def test_a_damaged_record() -> None:
    """Whichever byte of it is damaged, it is read, or left aside as one that cannot be read."""
    whole = encode(Record(NOW, {"after": "acme/app"}, known()))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        for read in (decode, recorded):
            with suppress(ValueError):
                read(bytes(damaged))


@pytest.mark.parametrize("error", [TransientError("no answer"), SettingsError.of("X", "is missing")])
def test_a_store_that_fails(error: Exception, log_lines: Lines) -> None:
    """A pass goes on without its memory, and what the process knows stays."""
    store = MemoryStore()
    remembering = PassMemory(store)
    remembering.finished = tasks = known()
    store.error = error
    remembering.recall()
    remembering.keep(NOW)
    assert [line["reason"] for _, line in log_lines] == [str(error)] * 2
    assert remembering.finished is tasks


def test_another_process_was_faster(log_lines: Lines) -> None:
    """If another process has written its memory meanwhile, that one counts, and the log says so."""
    store = MemoryStore(encode(Record(NOW, {"theirs": 1}, FinishedTasks())))
    store.fresh, store.taken = False, True
    remembering = PassMemory(store)
    remembering.keep(NOW)
    assert [line["reason"] for _, line in log_lines] == ["another process wrote its own meanwhile"]
    store.fresh = True
    remembering.recall()
    assert remembering.progress == {"theirs": 1}


def test_too_long(monkeypatch: pytest.MonkeyPatch, log_lines: Lines) -> None:
    """A record that is too long is written without the finished tasks, and the log says so."""
    monkeypatch.setattr(memory, "MOST_BYTES", 100)
    store = MemoryStore()
    remembering = PassMemory(store)
    remembering.finished, remembering.progress = known(), {"after": "acme/app"}
    remembering.keep(NOW)
    assert store.content is not None
    found = decode(store.content)
    assert (found.progress, found.finished.merged([], ["j"], NOW)) == ({"after": "acme/app"}, [])
    assert "finished tasks are left out" in str(log_lines[0][1]["reason"])
