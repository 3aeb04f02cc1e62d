"""What belongs to the code package, and how it is zipped."""

import ast
import os
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tools.package import ROOT, BuildFailed, admitted, build, needed, write_zip

IGNORE = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/test_a.py", "sandbox/server.py", "tools/package.py", "docs/a.md", "README.md", "Makefile",
        "LICENSE", ".github/workflows/ci.yml", ".gitignore", ".funcignore", "requirements-dev.txt",
        "requirements-package.txt",
        "local.settings.json", "orchestrator/__pycache__/a.cpython-313.pyc", ".venv/bin/python",
        "dist/orchestrator.zip", "orchestrator/__main__.py", "orchestrator/cli/main.py",
        "orchestrator/cli/github_app/manifest.py", "github-app.parameters.json",
    ],
)  # fmt: skip
def test_funcignore_leaves_out(name: str) -> None:
    """What is only for development is not deployed, from whatever folder it comes."""
    assert admitted([name], IGNORE) == []


def test_admitted_files_are_sorted() -> None:
    """The function, its host's settings, its requirements and its code are deployed, in a fixed order."""
    names = ["requirements.txt", "orchestrator/github/client.py", "host.json", "function_app.py"]
    assert admitted(names, IGNORE) == sorted(names)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("requests/sessions.py", True),
        ("pydantic_core/_pydantic_core.cpython-313-x86_64-linux-gnu.so", True),
        ("requests-2.0.dist-info/METADATA", True),
        ("requests-2.0.dist-info/licenses/LICENSE", True),
        ("somebody/RECORD", True),
        ("somebody/bin/tool.py", True),
        ("requests-2.0.dist-info/RECORD", False),
        ("requests-2.0.dist-info/direct_url.json", False),
        ("bin/normalizer", False),
        (".lock", False),
    ],
)
def test_what_an_installer_leaves(path: str, expected: bool) -> None:
    """A dependency's code, metadata and licences belong to the package; scripts and the installer's notes do not."""
    assert needed(PurePosixPath(path)) is expected


def test_a_zip_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    """Order of creation, modes and times of the files do not show, and the time given does."""
    for folder, names, mode in (("one", "abc", 0o600), ("two", "cba", 0o755)):
        for name in names:
            path = tmp_path / folder / name / "file.py"
            path.parent.mkdir(parents=True)
            path.write_text(name, encoding="utf-8")
            path.chmod(mode)
            os.utime(path, (mode, mode))
        write_zip(tmp_path / f"{folder}.zip", tmp_path / folder, 1_700_000_000)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as package:
        entries = package.infolist()
    assert [entry.filename for entry in entries] == ["a/file.py", "b/file.py", "c/file.py"]
    assert {entry.date_time for entry in entries} == {(2023, 11, 14, 22, 13, 20)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


def test_the_builder_needs_only_what_its_pins_name() -> None:
    """What a release's builder installs is what `tools/package.py` uses, in the versions and hashes of development."""
    tree = ast.parse((ROOT / "tools" / "package.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    foreign = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    pins, all_pins = (pinned(ROOT / f"requirements-{name}.txt") for name in ("package", "dev"))
    assert {name.partition("==")[0] for name in pins} == foreign | {"uv"}
    assert pins == {name: hashes for name, hashes in all_pins.items() if name in pins}


def pinned(path: Path) -> dict[str, list[str]]:
    """Return the hashes of a requirements file, by `name==version`."""
    entries = re.findall(r"^(\S+) \\\n((?: .*\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: re.findall(r"--hash=\S+", hashes) for name, hashes in entries}


def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Code compiled by another Python would be ignored in Azure: there is no package then."""
    monkeypatch.setattr("tools.package.PYTHON", (3, 12))
    with pytest.raises(BuildFailed, match=r"Python 3\.13 is needed"):
        build(tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A SOURCE_DATE_EPOCH that is not a number of seconds is named, before anything is fetched."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildFailed, match="SOURCE_DATE_EPOCH"):
        build(tmp_path / "package.zip")
