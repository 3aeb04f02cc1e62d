"""The queries over the log: which lines and fields they name."""

import re
from pathlib import Path

from orchestrator.lines import FIELDS, IDS, Line

FOLDER = Path(__file__).parents[1] / "arm" / "queries"

_LINES = re.compile(r"tostring\(line\.line\) (?:== (\"[^\"]*\")|in \(([^)]*)\))")
_TEXT = re.compile(r'"([^"]*)"')
_FIELD = re.compile(r"\bline\.(\w+)")


def stored() -> dict[str, str]:
    """Return the queries of alerts and workbook, by their names."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.kql"))}


def problems(query: str) -> list[str]:
    """Return what a query names that the log does not have.

    Args:
        query: one statement. It says first which lines it is about.
    """
    found = _LINES.search(query)
    if found is None:
        return ["it names no line"]
    names = _TEXT.findall(found[1] or found[2])
    unknown = [f"no line is named {name}" for name in names if name not in set(Line)]
    known = IDS.union(*(FIELDS[Line(name)] for name in names if name in set(Line)))
    strange = sorted(set(_FIELD.findall(query)) - known - {"line"})
    # A field in brackets, or of a copy of the line, would escape the look above.
    escapes = re.findall(r"\bline\s*\[|parse_json\((?!message\)|Message\))|\bbag_(?!pack)", query)
    return [*unknown, *(f"{', '.join(names)}: no field {name}" for name in strange), *escapes]
