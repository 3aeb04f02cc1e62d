"""The tables in docs/autoscale.md, made from the figures in measured.json."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

BEGIN, END = "<!-- made by `make autoscale` -->", "<!-- end -->"
HEAD = """\
| trace | wait p50 | wait p95 | node-hours | p95, ours / original | node-hours, ours / original |
|---|---|---|---|---|---|"""
SHORT_HEAD = """\
| system | slots per node | most nodes | boost | p95, ours / original | node-hours, ours / original |
|---|---|---|---|---|---|"""

type Json = Mapping[str, Any]


def tables(sections: Iterable[Json]) -> str:
    """Return the figures as Markdown."""
    every = list(sections)
    parts = [_full(section) for section in every if section["full"]]
    if short := [section for section in every if not section["full"]]:
        parts.append("Other pools (geometric means):\n\n" + "\n".join([SHORT_HEAD, *map(_short, short)]))
    return "\n\n".join(parts)


def with_tables(page: str, sections: Iterable[Json]) -> str:
    """Return the page with the part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(sections)}\n\n{END}{after}"


def means(traces: Json) -> tuple[float, float]:
    """Return the geometric means of the ratios: p95 waits, and node-hours."""
    p95, hours = ([row["ours"][key] / row["original"][key] for row in traces.values()] for key in ("p95", "node_hours"))
    return statistics.geometric_mean(p95), statistics.geometric_mean(hours)


def _full(section: Json) -> str:
    defaults = ", the template's defaults" if section["defaults"] else ""
    pool = f"{section['slots']} slots per node, at most {section['max_nodes']} nodes{defaults}"
    used = section["used"]
    traces = section["traces"]
    best = min(traces, key=lambda name: float(traces[name]["ours"]["p95"] / traces[name]["original"]["p95"]))
    p95, hours = means(traces)
    p95_rest, hours_rest = means({name: row for name, row in traces.items() if name != best or len(traces) == 1})
    ranges = [f"{low:.2f} to {high:.2f}" for low, high in (section["draws"][key] for key in ("p95", "node_hours"))]
    lines = [
        f"**{section['system'].capitalize()}**, {pool}:",
        "",
        HEAD,
        *(_row(name, row) for name, row in traces.items()),
        f"| **geometric mean** | | | | **{p95:.2f}** | **{hours:.2f}** |",
        f"| the same without the trace that gains most | | | | {p95_rest:.2f} | {hours_rest:.2f} |",
        f"| the mean of single draws | | | | {' | '.join(ranges)} |",
        "",
        f"A slot that is billed runs a job {used['original']:.0%} → {used['ours']:.0%} of the time.",
    ]
    return "\n".join(lines)


def _row(name: str, row: Json) -> str:
    original, ours = row["original"], row["ours"]
    pairs = [f"{original[key]:.0f} → {ours[key]:.0f}" for key in ("p50", "p95")]
    pairs.append(f"{original['node_hours']:.1f} → {ours['node_hours']:.1f}")
    ratios = [f"{ours[key] / original[key]:.2f}" for key in ("p95", "node_hours")]
    return f"| {name} | {' | '.join(pairs + ratios)} |"


def _short(section: Json) -> str:
    boost = ("samples kept" if section["keeps_samples"] else "samples lost") if section["boost"] else "off"
    p95, hours = means(section["traces"])
    pool = f"{section['system'].capitalize()} | {section['slots']} | {section['max_nodes']}"
    return f"| {pool} | {boost} | {p95:.2f} | {hours:.2f} |"
