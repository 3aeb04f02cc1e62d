"""The code package as it is deployed: unpacked, on its own, and in the Functions host. Building it needs PyPI."""

import fcntl
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests

from sandbox.functions.process import FunctionsHost
from tests.builders import delivery, environment
from tools.package import ROOT, SITE, admitted

# Imports everything that the function can ever import, and says what it is and where it came from.
_EVERYTHING = """
import importlib, json, pkgutil, sys
app, site = sys.argv[1:]
sys.path[:0] = [app, site]
import function_app, orchestrator
for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
    importlib.import_module(module.name)
function_app.application._upstream()
function_app.application._queue()
orchestrator.azure.identity.identity(None)
print(json.dumps({
    "functions": [function.get_function_name() for function in function_app.app.get_functions()],
    "modules": {name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)},
}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the package; one build serves all tests, in whichever process they run."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent
    output = folder / "orchestrator.zip"
    with (folder / "package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            _build(output)
    return output


@pytest.fixture
def unpacked(package: Path, tmp_path: Path) -> Path:
    """Return a folder with what is in the package."""
    with zipfile.ZipFile(package) as file:
        file.extractall(tmp_path / "wwwroot")
    return tmp_path / "wwwroot"


def _build(output: Path, **environ: str) -> None:
    """Build the package; skip the test without a network, except where CI demands it."""
    command = [sys.executable, "-m", "tools.package", "--output", str(output)]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=300, check=False
    )
    if "error sending request" in done.stderr and not os.environ.get("CI"):
        pytest.skip("PyPI cannot be reached, and the package is made of what it has")
    assert done.returncode == 0, done.stderr


def test_the_same_commit_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    """A second build, with another temporary folder and another order of sets, is equal byte for byte."""
    _build(tmp_path / "again.zip", TMPDIR=str(tmp_path), PYTHONHASHSEED="1")
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_it_holds_what_funcignore_admits(package: Path) -> None:
    """The package is the admitted files, the dependencies, and the compiled form of all of them."""
    with zipfile.ZipFile(package) as file:
        names = file.namelist()
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    ignore = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    own = [name for name in names if not name.startswith(f"{SITE}/") and "__pycache__" not in name]
    assert own == admitted(known.splitlines(), ignore)
    assert {name.partition("/")[0] for name in own} == {
        "function_app.py", "host.json", "orchestrator", "requirements.txt",
    }  # fmt: skip
    sources = [Path(name) for name in names if name.endswith(".py")]
    compiled = {str(path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc") for path in sources}
    assert compiled == {name for name in names if name.endswith(".pyc")}


def test_compiled_code_stands_by_itself(unpacked: Path) -> None:
    """Compiled code is used whatever time its source has, and tells nothing of where it was made."""
    code = list(unpacked.rglob("*.pyc"))
    assert {path.read_bytes()[4:8] for path in code} == {b"\1\0\0\0"}  # PEP 552: made from a hash, not to be checked
    named = {Path(marshal.loads(path.read_bytes()[16:]).co_filename) for path in code}  # noqa: S302 - we compiled it
    assert named == {path.relative_to(unpacked) for path in unpacked.rglob("*.py")}


def test_everything_is_in_it(unpacked: Path) -> None:
    """With the standard library and the package alone, every module and client of the function can be had."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-I", "-S", "-c", _EVERYTHING, str(unpacked), str(unpacked / SITE)],
        env=environment(), cwd=unpacked, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    names = [
        "ProvideActionsRunner",
        "ClaimRunner",
        "RunnerRequests",
        "Reconcile",
        "ReviveRequests",
        "Explain",
        "Health",
        "Status",
    ]
    assert found["functions"] == names
    modules: dict[str, str] = found["modules"]
    assert {"azure.batch", "azure.identity", "azure.storage.queue", "jwt", "requests"} <= set(modules)
    others = [path for path in modules.values() if not path.startswith(str(unpacked))]
    assert [path for path in others if "site-packages" in path or path.startswith(str(ROOT))] == []


def test_the_host_runs_it(unpacked: Path, tmp_path: Path) -> None:
    """The unpacked package answers a ping in the Functions host, on its own dependencies, and writes no file."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "sandbox").symlink_to(ROOT / "sandbox")
    path = f"{unpacked / SITE}{os.pathsep}{tmp_path / 'host'}"  # as in Azure, the app's packages come first
    before = {file: file.stat().st_mtime_ns for file in unpacked.rglob("*")}
    headers, body = delivery({"zen": "Keep it logically awesome.", "hook": {"events": ["workflow_job"]}}, event="ping")
    with FunctionsHost(unpacked, environment(PYTHONPATH=path), keys=["key"]) as host:
        url = f"{host.url}/api/ProvideActionsRunner"
        answer = requests.post(url, data=body, headers={**headers, "x-functions-key": "key"}, timeout=30)
        libraries = Path(f"/proc/{host.pid}/maps").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    assert (answer.status_code, answer.json()["result"]) == (200, "pong")
    loaded = {line.split()[-1] for line in libraries.splitlines() if "/_pydantic_core." in line}
    assert loaded <= {str(file) for file in unpacked.rglob("_pydantic_core.*")}
    assert bool(loaded) is (sys.platform == "linux")
    assert {file: file.stat().st_mtime_ns for file in unpacked.rglob("*")} == before
