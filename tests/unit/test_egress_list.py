"""What must get out of the network is told in one list, from which the page's table is made."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.egress import DATA, PAGE, ROOT, main, with_table
from tools.package import admitted

ENTRIES: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))


def test_the_pages_table() -> None:
    """The table in docs/network.md is the list; `make egress` puts right what is told here."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, ENTRIES) == page


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['who']}: {entry['why']}")
def test_an_entry(entry: dict[str, Any]) -> None:
    """Each entry says who calls which hosts, when, why, and where that was read."""
    assert list(entry) == ["who", "hosts", "port", "why", "when", "source"]
    assert entry["hosts"]
    assert all(re.fullmatch(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+", host) for host in entry["hosts"])
    assert 0 < entry["port"] < 65_536
    assert all(entry[key] for key in ("why", "when", "source"))


def test_everybody_is_there() -> None:
    """The deployment's own calls are listed beside those of the function, the nodes and the runners."""
    assert {entry["who"] for entry in ENTRIES} == {"deployment", "function", "Windows nodes", "runners"}
    of_function = {host for entry in ENTRIES if entry["who"] == "function" for host in entry["hosts"]}
    assert "api.github.com" in of_function


def test_the_list_is_deployed() -> None:
    """The list belongs to the code package, and not only to the repository."""
    name = DATA.relative_to(ROOT).as_posix()
    ignore = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    assert admitted([name], ignore) == [name]


def test_another_list_makes_another_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool writes between its marks and leaves the rest of the page alone."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- made by `make egress` -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    data = tmp_path / "egress.json"
    entry = {"who": "nodes", "hosts": ["a.example", "b.example"], "port": 1688, "why": "w", "when": "always"}
    data.write_text(json.dumps([entry]), encoding="utf-8")
    monkeypatch.setattr("tools.egress.PAGE", page)
    monkeypatch.setattr("tools.egress.DATA", data)
    main()
    text = page.read_text(encoding="utf-8")
    assert "| nodes | `a.example:1688`, `b.example:1688` | w | always |" in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
