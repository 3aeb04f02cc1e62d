"""Reading the log: each line is a level and a JSON object."""

import json
from typing import Any

import pytest


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return the lines so far: each with its level's name and its fields."""
    return [(record.levelname, json.loads(record.getMessage())) for record in caplog.records]


def line(caplog: pytest.LogCaptureFixture) -> tuple[str, dict[str, Any]]:
    """Return the only line so far."""
    (found,) = lines(caplog)
    return found
