"""Rows of figures, printed with their ratio to a floor that was measured in the same run."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line: what was measured, the figure, and the floor it stands beside (0 for none)."""

    what: str
    figure: float
    unit: str
    floor: float = 0.0
    note: str = ""


def show(title: str, rows: Iterable[Row]) -> None:
    """Print one table."""
    print(f"\n{title}")
    for row in rows:
        ratio = f"x{row.figure / row.floor:6.2f}" if row.floor else " " * 7
        print(f"  {row.what:44s} {row.figure:10.3f} {row.unit:10s} {ratio}  {row.note}".rstrip())


def cpu_ms(action: Callable[[], object], *, times: int, rounds: int = 5) -> float:
    """Return the CPU milliseconds of one call: the median over rounds of many calls each, after a round to warm up."""
    figures = []
    for _ in range(rounds + 1):
        started = time.process_time()
        for _ in range(times):
            action()
        figures.append((time.process_time() - started) * 1000 / times)
    return statistics.median(figures[1:])
