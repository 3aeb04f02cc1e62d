"""Recorded exchanges held against the official API schemas.

The checker and the schemas are not part of this repository; they are used where they stand beside it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHECKER = Path(__file__).parents[2] / "shared" / "contracts" / "contract_check.py"


def in_extract(path: str) -> bool:
    """Whether the extract of GitHub's schema that the checker has knows a path."""
    extract = CHECKER.parent / "specs" / "github-api.github.com.subset.json"
    return extract.exists() and path in json.loads(extract.read_text(encoding="utf-8"))["paths"]


def assert_kept(exchanges: Iterable[dict[str, Any]], folder: Path, *options: str) -> None:
    """Check exchanges against the schemas."""
    file = folder / "exchanges.jsonl"
    # The extract of GitHub's schema that the checker has is without the repositories of an organization and of a group.
    others = re.compile(r"/_runner/|/orgs/[^/]+/repos\b|/runner-groups/\d+/repositories\b")
    lines = [json.dumps(exchange) for exchange in exchanges if not others.search(exchange["url"])]
    assert lines
    file.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - the checker
        [sys.executable, str(CHECKER), str(file), *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
