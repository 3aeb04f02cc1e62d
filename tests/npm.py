"""Packages of the npm registry that some tests read, fetched once into the git-ignored `.venv`."""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CACHE = Path(__file__).parents[1] / ".venv" / "npm"


def package(name: str, version: str) -> Path:
    """Return the `node_modules` folder with an npm package; skip the test where npm or the registry is not there.

    Args:
        name: the package's name.
        version: its exact version.
    """
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    home = CACHE / f"{name.replace('/', '-')}-{version}"
    with _alone(home):
        if not (home / "complete").exists():
            command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(  # noqa: S603 - a fixed command
                [*command, f"{name}@{version}"], capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                pytest.skip(f"npm cannot fetch {name}: {done.stderr.strip()[-200:]}")
            (home / "complete").touch()
    return home / "node_modules"


def package_file(name: str, version: str, path: str) -> Any:
    """Return a JSON file of an npm package; see `package`.

    Args:
        name: the package's name.
        version: its exact version.
        path: inside the package.
    """
    return json.loads((package(name, version) / name / path).read_text(encoding="utf-8"))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let one process at a time fetch a package: the tests run side by side."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
