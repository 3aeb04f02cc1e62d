"""The picture of one day: nodes and waiting jobs under both formulas, as an SVG file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, PANEL_HEIGHT, GAP = 900, 180, 50
LEFT, RIGHT, TOP, BOTTOM = 45, 15, 35, 45
NODES, WAITING = "#1f77b4", "#d62728"
TITLES = {"original": "The original formula", "ours": "The formula here"}


def drawing(day: Mapping[str, Any]) -> str:
    """Return the picture.

    Args:
        day: `hours`, the first and the last; `step_s`, seconds between two values; for each of `TITLES` the values of
            `nodes` and `waiting`.
    """
    highest = max(max(day[who][what]) for who in TITLES for what in ("nodes", "waiting"))
    top = max(20, -(-highest // 20) * 20)
    height = TOP + len(TITLES) * PANEL_HEIGHT + (len(TITLES) - 1) * GAP + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (who, title) in enumerate(TITLES.items()):
        base = TOP + number * (PANEL_HEIGHT + GAP) + PANEL_HEIGHT
        parts += _panel(base, top, day["hours"], title)
        steps = {what: _steps(day[who][what], base, top) for what in ("nodes", "waiting")}
        parts.append(f'<path d="{steps["nodes"]} V{base} H{LEFT} Z" fill="{NODES}" fill-opacity="0.4"/>')
        parts.append(f'<path d="{steps["waiting"]}" fill="none" stroke="{WAITING}"/>')
    for number, (colour, label) in enumerate(((NODES, "nodes"), (WAITING, "jobs that wait"))):
        x = WIDTH - RIGHT - 180 + number * 70
        parts.append(f'<rect x="{x}" y="{TOP - 20}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{TOP - 11}">{label}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) // 2}" y="{height - 8}" text-anchor="middle">hour of the day</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(base: int, top: int, hours: Sequence[int], title: str) -> list[str]:
    """Return a panel's title and axes; `base` is where its zero is, `top` its highest value."""
    parts = [f'<text x="{LEFT}" y="{base - PANEL_HEIGHT - 10}" font-weight="bold">{escape(title)}</text>']
    for value in range(0, top + 1, 20):
        y = base - value * PANEL_HEIGHT // top
        parts.append(f'<path d="M{LEFT} {y} H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value}</text>')
    first, last = hours
    for hour in range(first, last + 1):
        x = LEFT + (hour - first) * (WIDTH - LEFT - RIGHT) // (last - first)
        parts.append(f'<path d="M{x} {base} v4" stroke="black"/>')
        parts.append(f'<text x="{x}" y="{base + 17}" text-anchor="middle">{hour}</text>')
    return [*parts, f'<path d="M{LEFT} {base} H{WIDTH - RIGHT}" stroke="black"/>']


def _steps(values: Sequence[int], base: int, top: int) -> str:
    """Return a path that holds each value until the next."""
    path = [f"M{LEFT} {base}"]
    for number, value in enumerate(values):
        x = LEFT + (number + 1) * (WIDTH - LEFT - RIGHT) / len(values)
        path.append(f"V{base - value * PANEL_HEIGHT / top:.1f} H{x:.1f}")
    return " ".join(path)
