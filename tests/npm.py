"""Packages of the npm registry that some tests read, fetched once into the git-ignored `.venv`."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CACHE = Path(__file__).parents[1] / ".venv" / "npm"


def package_file(package: str, version: str, path: str) -> Any:
    """Return a JSON file of an npm package; skip the test where npm or the registry is not there.

    Args:
        package: its name.
        version: its exact version.
        path: inside the package.
    """
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the published examples cannot be fetched")
    home = CACHE / f"{package.replace('/', '-')}-{version}"
    found = home / "node_modules" / package / path
    if not found.exists():
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(  # noqa: S603 - a fixed command
            [*command, f"{package}@{version}"], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot fetch {package}: {done.stderr.strip()[-200:]}")
    return json.loads(found.read_text(encoding="utf-8"))
