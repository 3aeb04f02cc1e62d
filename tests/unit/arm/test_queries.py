"""The queries of alerts and workbook, held against what the log has."""

import json
import re
from typing import Any

import pytest

from arm.build import ALERT, TEMPLATE, WORKBOOK, query
from orchestrator.result import Result
from orchestrator.runners.claim_refusal import ClaimCode
from tests.queries import problems, stored

QUERIES = stored()
SHOWN = [item["content"]["query"] for item in json.loads(WORKBOOK.read_text(encoding="utf-8"))["items"][1:]]
CONTENT: dict[str, Any] = json.loads(TEMPLATE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", QUERIES)
def test_fields(name: str) -> None:
    """A query names lines of the log, and fields that these lines have."""
    assert problems(QUERIES[name]) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("traces | where line.ms > 1", "it names no line"),
        ('where tostring(line.line) == "poool"', "no line is named poool"),
        ('where tostring(line.line) == "pass" | where line.verdict == 1', "pass: no field verdict"),
        ('where tostring(line.line) in ("retry", "pool") | where line.ms == 1', "retry, pool: no field ms"),
        ('where tostring(line.line) == "pass" | where line["verdict"] == 1', "line["),
    ],
)
def test_a_wrong_query(query: str, expected: str) -> None:
    """A line or a field that the log does not have is found."""
    assert problems(query) == [expected]


@pytest.mark.parametrize(("field", "words"), [("result", set(Result)), ("code", set(ClaimCode))])
def test_words(field: str, words: set[str]) -> None:
    """What a query compares a field with is a word that the field may have."""
    pattern = rf'line\.{field}\) == "([^"]*)"'
    named = {word for text in QUERIES.values() for word in re.findall(pattern, text)}
    assert named
    assert named <= words


def test_every_query_is_used() -> None:
    """Each query belongs to an alert or to a step of the workbook, and says at its beginning what it tells."""
    alerts = {f"{ALERT}{alert['name']}" for alert in CONTENT["variables"]["alerts"]}
    assert alerts | set(SHOWN) == set(QUERIES)
    assert all(text.startswith("// ") and text.isascii() for text in QUERIES.values())


def test_embedded() -> None:
    """The template has the queries as their files have them, without comments."""
    for name, text in CONTENT["variables"]["alertQueries"].items():
        assert text == query(f"{ALERT}{name}")
        assert "//" not in text
    steps = CONTENT["variables"]["workbook"]["items"][1:]
    assert [step["content"]["query"] for step in steps] == [query(name) for name in SHOWN]
