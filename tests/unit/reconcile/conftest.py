"""What the tests of passes share."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.logs import fields_of


@pytest.fixture
def log_lines() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the level and the fields of each line that the orchestrator logs."""
    lines: list[tuple[str, dict[str, Any]]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelname, fields_of(record.getMessage())))

    logger = logging.getLogger("orchestrator")
    handler, level = Collect(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.setLevel(level)
    logger.removeHandler(handler)
