"""Rows of figures, printed with their ratio to a floor that was measured in the same run."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
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


def cpu_ms(actions: Mapping[str, Callable[[], object]], *, rounds: int = 15) -> dict[str, float]:
    """Return the CPU milliseconds of each action: the median over rounds, after one to warm up.

    Each round runs all of them, so that a machine that is slow for a while is slow for all.
    """
    figures: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            started = time.process_time()
            action()
            figures[name].append((time.process_time() - started) * 1000)
    return {name: statistics.median(of_rounds[1:]) for name, of_rounds in figures.items()}
