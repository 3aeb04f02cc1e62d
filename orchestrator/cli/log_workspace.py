"""What the log workspace still knows, read by the Azure CLI as whoever is logged in there.

Batch forgets a task after seven days; the workspace keeps lines for as long as it is told to.

Source: Azure CLI, `az monitor log-analytics query`; Azure Monitor, table `AppTraces`.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from orchestrator.errors import SettingsError, TransientError, UpstreamRefused

# Seconds that the Azure CLI may take.
PATIENCE = 120
# Lines that are read: those of one job are few.
MOST_LINES = 500

_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class Line(NamedTuple):
    """One line of the function's log."""

    at: datetime
    fields: dict[str, Any]

    def __str__(self) -> str:
        """The line as a person reads it: when, what became of it, and why."""
        said = [str(self.fields[name]) for name in ("pass", "action", "result", "task") if self.fields.get(name)]
        reason = self.fields.get("reason") or self.fields.get("message")
        text = f"{self.at:%Y-%m-%d %H:%M:%SZ}  {' '.join(said)}" + (f": {reason}" if reason else "")
        return "".join(character if character.isprintable() else " " for character in text)


def history(job_id: int, workspace: str, days: int) -> list[Line]:
    """Return the lines about a job, the oldest first.

    Args:
        job_id: the workflow job's id.
        workspace: the workspace's id (its GUID).
        days: how far back to look.

    Raises:
        SettingsError: The workspace's id is none.
        UpstreamError: The Azure CLI is missing, or does not do it.
    """
    return _rows(query(job_id), workspace, f"P{days}D", _line)


def read(text: str, workspace: str, timespan: str) -> list[Mapping[str, Any]]:
    """Return what the column `Message` of a query's rows holds: JSON objects.

    Args:
        text: the query.
        workspace: the workspace's id (its GUID).
        timespan: what the query is about: an ISO 8601 duration up to now, or two moments with a slash between them.

    Raises:
        SettingsError: The workspace's id is none.
        UpstreamError: The Azure CLI is missing, or does not do it.
    """
    return _rows(text, workspace, timespan, lambda row: dict(json.loads(row["Message"])))


def _rows[T](text: str, workspace: str, timespan: str, of: Callable[[Any], T]) -> list[T]:
    if _GUID.fullmatch(workspace) is None:
        raise SettingsError.of("--workspace", "is not the id (a GUID) of a Log Analytics workspace")
    command = [
        "az", "monitor", "log-analytics", "query", "--only-show-errors", "--output", "json",
        "--workspace", workspace, "--timespan", timespan, "--analytics-query", text,
    ]  # fmt: skip
    printed = _run(command)
    try:
        return [of(row) for row in json.loads(printed)]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise TransientError("what the Azure CLI printed cannot be understood") from None


def query(job_id: int) -> str:
    """Return the query for the lines about a job."""
    return (
        'AppTraces | where Message startswith "{" | extend line = parse_json(Message) '
        f'| where tostring(line.job) == "{job_id}" or tostring(line.task) startswith "runner-{job_id}-" '
        f"| order by TimeGenerated asc | take {MOST_LINES} | project TimeGenerated, Message"
    )


def _line(row: Any) -> Line:
    fields = json.loads(row["Message"])
    return Line(datetime.fromisoformat(row["TimeGenerated"]).astimezone(UTC), dict(fields))


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - az
    except FileNotFoundError:
        raise UpstreamRefused("the Azure CLI (az) is not installed: it reads the workspace as you") from None
    except subprocess.TimeoutExpired:
        raise TransientError(f"the Azure CLI was not done within {PATIENCE} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise UpstreamRefused(f"the Azure CLI does not read the workspace: {(lines or ['no reason'])[0][:300]}")
    return done.stdout
