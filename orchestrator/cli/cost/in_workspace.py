"""What the log workspace knows of a month: the runners that ended, and how many nodes each pool had.

The lines `runner ended` and `pool` tell it; the passes of the control loop have written them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from orchestrator.cli.cost.reckoning import Month, Use, node_hours
from orchestrator.cli.log_workspace import read
from orchestrator.errors import TransientError
from orchestrator.runners.task import replacement_of

# A task that began in a month may end so much later: `JobMaxHours` is 120 at most. A pass may tell of it a day later.
_ENDS_WITHIN = timedelta(days=6)

# Each runner once, also if two passes told of it.
RUNNERS = """AppTraces
| where Message startswith "{"
| extend line = parse_json(Message)
| where tostring(line.line) == "runner ended"
| summarize Message = take_any(Message) by tostring(line.pool), tostring(line.task), tostring(line.ended_at)
| project Message"""

# The average number of nodes in each hour.
NODES = """AppTraces
| where Message startswith "{"
| extend line = parse_json(Message)
| where tostring(line.line) == "pool"
| extend pool = tostring(line.pool), nodes = toreal(line.nodes), slots = tolong(line.slots)
| summarize nodes = avg(nodes), slots = max(slots) by pool, hour = bin(TimeGenerated, 1h)
| project Message = tostring(bag_pack("pool", pool, "hour", hour, "nodes", nodes, "slots", slots))"""

# Asks the workspace; takes a query, and the time that it is about. Each row is a JSON object.
type Ask = Callable[[str, str], Sequence[Mapping[str, Any]]]


class PoolHours(NamedTuple):
    """What the workspace knows of a pool.

    Attributes:
        slots: of a node, the most in the month.
        node_hours: how many hours its nodes were there, all together.
        hours_unseen: for how many hours no pass told of it.
    """

    slots: int
    node_hours: float
    hours_unseen: float


def workspace(name: str) -> Ask:
    """Return what asks a workspace, as the Azure CLI is logged in.

    Args:
        name: its id (its GUID).
    """
    return lambda query, timespan: read(query, name, timespan)


def uses(month: Month, ask: Ask) -> list[Use]:
    """Return what the runners have used that ended in a month or soon after.

    Args:
        month: the month.
        ask: asks the workspace.

    Raises:
        UpstreamError: It is not read.
    """
    rows = ask(RUNNERS, _timespan(month.start, month.end + _ENDS_WITHIN))
    return _understood(lambda: [_use(row) for row in rows])


def pools(month: Month, ask: Ask) -> Mapping[str, PoolHours]:
    """Return what is known of each pool that passes told of in a month.

    Args:
        month: the month.
        ask: asks the workspace.

    Raises:
        UpstreamError: It is not read.
    """
    rows = ask(NODES, _timespan(month.start, month.end))

    def read_pools() -> Mapping[str, PoolHours]:
        samples: dict[str, list[tuple[datetime, float]]] = {}
        slots: dict[str, int] = {}
        for row in rows:
            samples.setdefault(row["pool"], []).append((_moment(row["hour"]), float(row["nodes"])))
            slots[row["pool"]] = max(int(row["slots"]), slots.get(row["pool"], 0))
        return {pool: PoolHours(slots[pool], *node_hours(found, month)) for pool, found in samples.items()}

    return _understood(read_pools)


def _use(row: Mapping[str, Any]) -> Use:
    return Use(
        pool=str(row["pool"]),
        repository=str(row["repository"]),
        profile=str(row["profile"]),
        slots=int(row["slots"]),
        start=_moment(row["started_at"]) if row["started_at"] else None,
        end=_moment(row["ended_at"] or row["created_at"]),
        outcome=str(row["outcome"]),
        replaces=replacement_of(str(row["task"])) > 0,
        nodes_lost=int(row["runs_before"]),
    )


def _understood[T](read_rows: Callable[[], T]) -> T:
    try:
        return read_rows()
    except (LookupError, TypeError, ValueError, AttributeError):
        raise TransientError("a line in the workspace is not of the form that passes write") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


def _timespan(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
