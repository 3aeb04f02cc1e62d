"""What was found out about one part of the set-up, and all of it as a person and as a program read it (pure)."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How a part of the set-up is. `docs/reference.md` explains each; a test compares the two."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    NOT_ASKED = "not asked"


class Finding(NamedTuple):
    """One line.

    Attributes:
        item: what it is about.
        state: how that is.
        says: what was found, without a secret.
        cure: what a person should do; empty where there is nothing to do.
        answered: False where a question had no answer, so that asking again may help.
    """

    item: str
    state: State
    says: str
    cure: str = ""
    answered: bool = True


# Of several findings the first of these states counts.
_WORST = (State.FAIL, State.WARN, State.NOT_ASKED, State.OK)

type Document = Mapping[str, object]


def ok(item: str, says: str) -> Finding:
    """Return a line about what is as it should be."""
    return Finding(item, State.OK, says)


def warn(item: str, says: str, cure: str) -> Finding:
    """Return a line about what works, and will not for long or not always."""
    return Finding(item, State.WARN, says, cure)


def fail(item: str, says: str, cure: str) -> Finding:
    """Return a line about what keeps jobs from their runners."""
    return Finding(item, State.FAIL, says, cure)


def not_asked(item: str, says: str, cure: str = "", *, answered: bool = True) -> Finding:
    """Return a line about what is not known."""
    return Finding(item, State.NOT_ASKED, says, cure, answered)


def document(findings: Sequence[Finding], *, full: bool = True) -> Document:
    """Return the whole report as JSON has it.

    Args:
        findings: all lines.
        full: whether the lines are shown that are ok.
    """
    states = {finding.state for finding in findings}
    return {
        "state": next((state for state in _WORST if state in states), State.OK).value,
        "answered": all(finding.answered for finding in findings),
        "checks": [
            {"item": one.item, "state": one.state.value, "says": one.says, "cure": one.cure}
            for one in findings
            if full or one.state != State.OK
        ],
    }


def text(report: Document) -> str:
    """Return a document as it is read: a line for each finding, the cure below it, and the worst state at the end.

    Args:
        report: a document, perhaps as another machine sent it.
    """
    checks = report.get("checks")
    entries = [entry for entry in checks if isinstance(entry, dict)] if isinstance(checks, list) else []
    width = max((len(str(entry.get("item"))) for entry in entries), default=0)
    lines = list(_lines(entries, width))
    return "\n".join([*lines, str(report.get("state"))]) + "\n"


def _lines(entries: Iterable[Mapping[str, object]], width: int) -> Iterable[str]:
    state_width = len(State.NOT_ASKED)
    for entry in entries:
        item, state, says = (_clean(entry.get(name)) for name in ("item", "state", "says"))
        yield f"{state:{state_width}}  {item:{width}}  {says}"
        if entry.get("cure"):
            yield f"{'':{state_width}}  {'':{width}}  -> {_clean(entry['cure'])}"


def _clean(value: object) -> str:
    """Return a text on one line, without what a terminal would act upon."""
    return "".join(character if character.isprintable() else " " for character in str(value))
