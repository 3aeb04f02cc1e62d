"""The report on the set-up, as a program and as a person read it."""

import pytest

from orchestrator.health.finding import Finding, document, fail, not_asked, ok, text, warn

LINES = [ok("settings", "right"), warn("queue", "2 wait", "revive them"), not_asked("hook ranges", "not known")]


@pytest.mark.parametrize(
    ("lines", "state", "answered"),
    [
        ([], "ok", True),
        (LINES[:1], "ok", True),
        (LINES[::2], "not asked", True),
        (LINES, "warn", True),
        ([*LINES, fail("pool p", "none", "create it")], "fail", True),
        ([*LINES, not_asked("Batch", "no answer", answered=False)], "warn", False),
    ],
)
def test_the_worst_counts(lines: list[Finding], state: str, answered: bool) -> None:
    """A report has the state of its worst line, and says whether every question had an answer."""
    found = document(lines)
    assert (found["state"], found["answered"]) == (state, answered)


def test_short_form() -> None:
    """The short form leaves out what is ok, and keeps the state."""
    found = document(LINES, full=False)
    assert found["state"] == "warn"
    assert found["checks"] == [
        {"item": "queue", "state": "warn", "says": "2 wait", "cure": "revive them"},
        {"item": "hook ranges", "state": "not asked", "says": "not known", "cure": ""},
    ]


def test_text() -> None:
    """Each line says what it is about, how that is, and below it what to do; the worst state comes last."""
    assert text(document(LINES)) == (
        "ok         settings     right\n"
        "warn       queue        2 wait\n"
        "                        -> revive them\n"
        "not asked  hook ranges  not known\n"
        "warn\n"
    )


@pytest.mark.parametrize("report", [{}, {"state": "ok", "checks": 7}, {"state": "ok", "checks": ["x"]}])
def test_a_strange_report(report: dict[str, object]) -> None:
    """A report of another machine that has another shape is shown as far as it goes."""
    assert text(report) == f"{report.get('state')}\n"


def test_a_terminal_is_told_nothing() -> None:
    """What a service says cannot move the terminal's cursor or begin a line."""
    assert "\x1b" not in text(document([ok("a", "\x1b[2Jgone\nstate")]))
    assert text(document([ok("a", "one\ntwo")])).splitlines()[0] == "ok         a  one two"
