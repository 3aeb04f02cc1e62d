"""A report as text, as JSON, and as annotations of a workflow run (pure)."""

from collections.abc import Iterator
from typing import Any

from orchestrator.cli.workflow_lint.finding import Finding, Severity
from orchestrator.cli.workflow_lint.linter import Report

# Characters of one line.
MOST_SHOWN = 1_000


def text(report: Report) -> str:
    """Return a report for people, in the form of a compiler's messages."""
    lines = [line for finding in report.findings for line in _lines(finding)]
    counts = ", ".join(_counted(report.count(severity), severity.name.lower()) for severity in reversed(Severity))
    return "\n".join([*lines, f"{_counted(report.workflows, 'workflow')}: {counts}"])


def document(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "workflows": report.workflows,
        "findings": [
            {
                "path": finding.path,
                "line": finding.place.line,
                "column": finding.place.column,
                "severity": finding.severity.name.lower(),
                "code": finding.remark.code,
                "job": finding.job or None,
                "message": finding.remark.message,
                "hint": finding.remark.hint or None,
            }
            for finding in report.findings
        ],
        "jobs": [
            {
                "path": job.path,
                "line": job.place.line,
                "job": job.job,
                "labels": list(job.labels),
                "profile": job.profile,
            }
            for job in report.jobs
        ],
    }


def annotations(report: Report) -> str:
    """Return a report as commands that GitHub shows beside the lines of a workflow.

    Source: GitHub docs, "Workflow commands for GitHub Actions".
    """
    return "\n".join(map(_annotation, report.findings))


def _lines(finding: Finding) -> Iterator[str]:
    place, job = finding.place, f"job {finding.job}: " if finding.job else ""
    severity, remark = finding.severity.name.lower(), finding.remark
    where = f"{finding.path}:{place.line}:{place.column}"
    yield _printable(f"{where}: {severity} {remark.code}: {job}{remark.message}")
    if remark.hint:
        yield _printable(f"    -> {remark.hint}")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("s" if number != 1 else "")


def _annotation(finding: Finding) -> str:
    remark, place = finding.remark, finding.place
    job = f"job {finding.job}: " if finding.job else ""
    message = f"{job}{remark.message}" + (f". {remark.hint}" if remark.hint else "")
    properties = {"file": finding.path, "line": place.line, "col": place.column, "title": remark.code}
    listed = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in properties.items())
    return f"::{finding.severity.name.lower()} {listed}::{_escaped(message)}"


def _printable(said: str) -> str:
    """Return a text that a terminal only shows, cut: a workflow may hold anything."""
    return "".join(character if character.isprintable() else " " for character in said[:MOST_SHOWN])


def _escaped(said: str, more: str = "") -> str:
    """Escape what would end a command's property or message."""
    escaped = said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    for character in more:
        escaped = escaped.replace(character, f"%{ord(character):02X}")
    return _printable(escaped)
