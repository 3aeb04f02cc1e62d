"""A bill as a picture: one bar for each row (pure). It needs nothing from elsewhere, and follows light and dark."""

from xml.sax.saxutils import escape

from orchestrator.cli.cost.reckoning import Bill

_WIDTH, _LEFT, _RIGHT, _TOP, _STEP, _BAR = 800, 260, 100, 48, 28, 18
# Characters of a name; a longer one is cut.
_NAME = 36
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.task{fill:#0969da}.idle{fill:#8c959f}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.task{fill:#4493f8}.idle{fill:#6e7681}.page{fill:#0d1117}}"
)


def svg(bill: Bill) -> str:
    """Return a bill as SVG.

    Args:
        bill: the bill.
    """
    bars = [(row.name, row.cost, "task") for row in bill.rows]
    bars += [(f"idle: {one.pool}", one.cost, "idle") for one in bill.idle]
    most = max((cost for _, cost, _ in bars), default=0.0) or 1.0
    height = _TOP + _STEP * len(bars) + 12
    title = escape(f"Cost of runners by {bill.by.value}, {bill.month.name} (UTC): {bill.cost:,.2f} together")
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">',
        f"<title>{title}</title><style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}"/><text x="12" y="28">{title}</text>',
    ]
    for place, (name, cost, kind) in enumerate(bars):
        top = _TOP + _STEP * place
        width = round((_WIDTH - _LEFT - _RIGHT) * cost / most, 1)
        shown = escape(name if len(name) <= _NAME else f"{name[: _NAME - 1]}…")
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{top + 14}" text-anchor="end">{shown}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width}" height="{_BAR}"/>'
            f'<text x="{_LEFT + width + 8}" y="{top + 14}">{cost:,.2f}</text>'
        )
    return "\n".join([*drawn, "</svg>", ""])
