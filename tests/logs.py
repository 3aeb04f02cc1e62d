"""Reading the log: each line is a level and a JSON object. Whether its fields are listed is checked in every test."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.lines import FIELDS, IDS, Line


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return the lines so far: each with its level's name and its fields."""
    return [(record.levelname, fields_of(record.getMessage())) for record in caplog.records]


def fields_of(text: str) -> dict[str, Any]:
    """Return a line's fields without its name."""
    return {name: value for name, value in json.loads(text).items() if name != "line"}


def undocumented(line: Line, fields: Mapping[str, object]) -> set[str]:
    """Return the fields of a line that are not listed."""
    return set(fields) - FIELDS[line] - IDS


def line(caplog: pytest.LogCaptureFixture) -> tuple[str, dict[str, Any]]:
    """Return the only line so far."""
    (found,) = lines(caplog)
    return found
