"""`make egress`: the table of what must get out, in docs/network.md, from `orchestrator/config/egress.json`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "orchestrator" / "config" / "egress.json"
PAGE = ROOT / "docs" / "network.md"
BEGIN, END = "<!-- made by `make egress` -->", "<!-- end -->"
HEAD = "| who | where | for what | when |\n|---|---|---|---|"
HTTPS = 443


def main() -> None:
    """Write the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, json.loads(DATA.read_text(encoding="utf-8"))), encoding="utf-8")


def table(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the list as Markdown."""
    return "\n".join([HEAD, *map(_row, entries)])


def with_table(page: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the page with the part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(entries)}\n\n{END}{after}"


def _row(entry: Mapping[str, Any]) -> str:
    port = "" if entry["port"] == HTTPS else f":{entry['port']}"
    hosts = ", ".join(f"`{host}{port}`" for host in entry["hosts"])
    return f"| {entry['who']} | {hosts} | {entry['why']} | {entry['when']} |"


if __name__ == "__main__":
    main()
