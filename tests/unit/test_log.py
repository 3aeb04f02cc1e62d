"""The log's lines, and the ids that they carry."""

import asyncio
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.delivery.deadline import within
from orchestrator.lines import FIELDS, IDS, Line
from orchestrator.log import Log, about, also_about
from tests.logs import line, lines, undocumented

ROOT = Path(__file__).parents[2]

log = Log("orchestrator.test")


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_one_object_per_line(caplog: pytest.LogCaptureFixture) -> None:
    """A line is one JSON object, whatever its fields hold."""
    log(logging.WARNING, Line.RETRY, result="kept", reason='two\nlines and a "quote"')
    assert line(caplog) == ("WARNING", {"result": "kept", "reason": 'two\nlines and a "quote"'})
    assert "\n" not in caplog.records[0].getMessage()


def test_each_line_has_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """A line's name stands beside what it says."""
    log(logging.INFO, Line.RETRY, result="kept")
    assert json.loads(caplog.records[0].getMessage()) == {"result": "kept", "line": "retry"}


def test_fields_that_are_not_listed() -> None:
    """A field that a line is not listed with is found, which fails every test that makes the code write it."""
    assert undocumented(Line.RETRY, {"result": "kept", "job": 1, "colour": "red"}) == {"colour"}


def test_no_line_is_listed_in_vain() -> None:
    """Every line that is listed is written somewhere, and so is every field."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "orchestrator").rglob("*.py")]
    code = "\n".join(source for source in sources if "class Line(" not in source)
    assert [name for name in Line.__members__ if f"Line.{name}" not in code and name != "ERROR"] == []
    fields = IDS.union(*FIELDS.values())
    assert [name for name in sorted(fields) if not re.search(rf'\b{name}=|"{name}"', code)] == []
    assert set(FIELDS) == set(Line)


def test_ids(caplog: pytest.LogCaptureFixture) -> None:
    """Lines carry the ids of the blocks around them, also those that were added later, and no longer than that."""
    with about(delivery="d-1"):
        with about(task="t"):
            also_about(job=7)
            log(logging.INFO, Line.RETRY, result="created")
        log(logging.INFO, Line.RETRY)
    log(logging.INFO, Line.RETRY)
    assert [fields for _, fields in lines(caplog)] == [
        {"delivery": "d-1", "task": "t", "job": 7, "result": "created"},
        {"delivery": "d-1"},
        {},
    ]


def test_a_field_wins_over_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """What a line itself says is what it is about."""
    with about(task="first"):
        log(logging.INFO, Line.RETRY, task="second")
    assert line(caplog)[1] == {"task": "second"}


def test_threads_see_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    """A delivery's ids stand in the lines of the thread that works for it."""

    async def deliver() -> None:
        with about(delivery="d-1"), ThreadPoolExecutor(1) as threads:
            await within(60, threads, lambda: log(logging.INFO, Line.RETRY, result="created"))

    asyncio.run(deliver())
    assert line(caplog)[1] == {"delivery": "d-1", "result": "created"}


def test_an_exception_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged with where it happened."""
    nothing: dict[str, str] = {}
    try:
        nothing["oops"]
    except KeyError:
        log.exception(message="an unexpected error")
    assert line(caplog) == ("ERROR", {"message": "an unexpected error"})
    assert "KeyError: 'oops'" in caplog.text
