"""The code package from a fresh process to its functions' names: as it is deployed, and without its compiled code."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.table import Row
from tests.builders import environment
from tools.package import SITE, build

ROUNDS = 7

_LOAD = """
import sys, time
sys.path[:0] = sys.argv[1:]
import function_app
function_app.app.get_functions()
FIRST_JOB
print(time.process_time() * 1000)
"""
_KINDS = {"loaded": "", "loaded, and all clients made": "function_app.application._upstream()"}


def rows() -> Iterator[Row]:
    """Measure both forms of the package, loaded and then ready to start a runner."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "orchestrator.zip"
        build(package)
        compiled, plain = Path(folder) / "compiled", Path(folder) / "plain"
        with zipfile.ZipFile(package) as file:
            file.extractall(compiled)
        shutil.copytree(compiled, plain, ignore=shutil.ignore_patterns("__pycache__"))
        for kind, more in _KINDS.items():
            floor = _measure(compiled, _LOAD.replace("FIRST_JOB", more))
            yield Row(f"{kind}: compiled", floor, "ms CPU", floor)
            yield Row(f"{kind}: not compiled", _measure(plain, _LOAD.replace("FIRST_JOB", more)), "ms CPU", floor)


def _measure(app: Path, code: str) -> float:
    """Return the median CPU milliseconds of a fresh process that keeps no bytecode, after one that warms the files."""
    figures = []
    for _ in range(ROUNDS + 1):
        done = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-I", "-S", "-B", "-c", code, str(app), str(app / SITE)],
            capture_output=True, text=True, check=True, cwd=app, timeout=60, env={**os.environ, **environment()},
        )  # fmt: skip
        figures.append(float(done.stdout.split()[-1]))
    return statistics.median(figures[1:])
