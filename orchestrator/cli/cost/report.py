"""A bill as text, as CSV, and for a program (pure)."""

import csv
import io
from collections.abc import Sequence

from orchestrator.cli.cost.reckoning import Bill, Row

# The widest bar, in characters.
_BAR = 30
_HEADS = ("tasks", "failed", "replaced", "lost", "slot hours", "node hours", "cost")


def text(bill: Bill) -> str:
    """Return a bill as a person reads it: a table with a bar for each row.

    Args:
        bill: the bill.
    """
    most = max((row.cost for row in bill.rows), default=0.0)
    cells = [[row.name, *_cells(row)] for row in bill.rows]
    cells.append([bill.attributed.name, *_cells(bill.attributed)])
    cells += [[f"idle: {one.pool}", "", "", "", "", "", _hours(one.node_hours), _money(one.cost)] for one in bill.idle]
    if bill.idle:
        cells.append(["together", "", "", "", "", "", "", _money(bill.cost)])
    head = [bill.by.value, *_HEADS]
    widths = [max(len(row[column]) for row in (head, *cells)) for column in range(len(head))]
    bars = ["█" * round(_BAR * row.cost / most) if most else "" for row in bill.rows]
    lines = [_line(head, widths)] + [_line(row, widths) for row in cells]
    drawn = [f"{line}  {bar}".rstrip() for line, bar in zip(lines[1 : 1 + len(bars)], bars, strict=True)]
    so_far = "" if bill.month.is_over else " so far"
    return "\n".join([f"{bill.month.name}{so_far}, UTC", "", lines[0], *drawn, *lines[1 + len(bars) :]])


def as_csv(bill: Bill) -> str:
    """Return a bill as CSV (RFC 4180): a row for each row of the bill, and one for what each pool's nodes idled.

    Args:
        bill: the bill.
    """
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(
        ["month", bill.by.value, "tasks", "failed", "replaced", "nodes_lost", "slot_hours", "node_hours", "cost"]
    )
    for row in bill.rows:
        counts = [row.tasks, row.failed, row.replaced, row.nodes_lost]
        hours = [round(value, 4) for value in (row.slot_hours, row.node_hours, row.cost)]
        writer.writerow([bill.month.name, row.name, *counts, *hours])
    for idle in bill.idle:
        empty = [""] * 5
        name = f"(idle: {idle.pool})"
        writer.writerow([bill.month.name, name, *empty, round(idle.node_hours, 4), round(idle.cost, 4)])
    return written.getvalue().rstrip("\r\n")


def document(bill: Bill, source: str, notes: Sequence[str]) -> dict[str, object]:
    """Return a bill for a program.

    Args:
        bill: the bill.
        source: who knew it: `batch` or `workspace`.
        notes: what is missing in it.
    """
    return {
        "month": bill.month.name,
        "from": bill.month.start.isoformat(),
        "to": bill.month.end.isoformat(),
        "source": source,
        "by": bill.by.value,
        "rows": [_row(row) for row in bill.rows],
        "tasks": _row(bill.attributed),
        "idle": [
            {
                "pool": one.pool,
                "nodeHours": round(one.node_hours, 6),
                "cost": round(one.cost, 6),
                "hoursUnseen": round(one.hours_unseen, 2),
            }
            for one in bill.idle
        ]
        if bill.idle
        else None,
        "cost": round(bill.cost, 6),
        "notes": list(notes),
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "tasks": row.tasks,
        "failed": row.failed,
        "replaced": row.replaced,
        "nodesLost": row.nodes_lost,
        "slotHours": round(row.slot_hours, 6),
        "nodeHours": round(row.node_hours, 6),
        "cost": round(row.cost, 6),
    }


def _cells(row: Row) -> list[str]:
    counts = (row.tasks, row.failed, row.replaced, row.nodes_lost)
    return [*map(str, counts), _hours(row.slot_hours), _hours(row.node_hours), _money(row.cost)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in numbers)])


def _hours(hours: float) -> str:
    return f"{hours:,.1f}"


def _money(amount: float) -> str:
    return f"{amount:,.2f}"
