"""What deliveries are answered with, as the documentation has it: the table of status and `result`."""

import re
from collections.abc import Iterator
from pathlib import Path

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
_HEADER = re.compile(r"\|\s*status\s*\|\s*`result`\s*\|\s*when\s*\|")


def documented_answers() -> frozenset[tuple[int, str]]:
    """Return every documented pair of status and `result`."""
    return read_answers(_REFERENCE.read_text(encoding="utf-8"))


def read_answers(markdown: str) -> frozenset[tuple[int, str]]:
    """Read the table of answers, whose columns are status, `result` and when.

    A cell may hold several statuses or results; every combination of them counts.

    Raises:
        ValueError: There is no such table, or a row of it holds no status or no result.
    """
    pairs: set[tuple[int, str]] = set()
    for row in _rows(markdown):
        status_cell, result_cell, _ = row.strip("|").split("|", 2)
        statuses = [int(status) for status in re.findall(r"\b\d{3}\b", status_cell)]
        results = re.findall(r"`([^`]+)`", result_cell)
        if not statuses or not results:
            raise ValueError(f"neither status nor result: {row}")
        pairs |= {(status, result) for status in statuses for result in results}
    return frozenset(pairs)


def _rows(markdown: str) -> Iterator[str]:
    lines = iter(markdown.splitlines())
    if not any(_HEADER.fullmatch(line.strip()) for line in lines):
        raise ValueError("there is no table of answers")
    next(lines, None)  # the rule below the header
    for line in lines:
        if not line.startswith("|"):
            return
        yield line
