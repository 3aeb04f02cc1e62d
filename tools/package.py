"""`make package`: the code package that Azure Functions runs, built here once instead of in Azure at every deployment.

It holds what `.funcignore` admits, and the packages of `requirements.txt` where Functions looks for them, compiled. The
same commit gives the same bytes on every machine with the same Python and zlib, whatever its system: the packages are
wheels for Azure's system, checked against their hashes.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dist" / "orchestrator.zip"
# https://learn.microsoft.com/azure/azure-functions/python-build-options: where a local build puts the dependencies.
SITE = PurePosixPath(".python_packages/lib/site-packages")
PYTHON = (3, 13)
# The oldest C library that the wheels of cryptography are made for; Azure's own image has a newer one.
PLATFORM = "x86_64-manylinux_2_28"
# Who installed a distribution, how and from where: none of it is needed to run, and it differs between machines.
# Beside them RECORD, which has the hashes of the scripts, and those begin with the path of an interpreter.
INSTALLERS_OWN = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
_ZIP_BEGINS = 315_532_800  # 1980, the first time that a zip's entry can have


class BuildFailed(Exception):
    """There is no package; the message says why."""


def main() -> int:
    """Build the package; return 1 if that fails."""
    parser = argparse.ArgumentParser(description="build the code package for Azure Functions")
    parser.add_argument("--output", type=Path, default=PACKAGE)
    output: Path = parser.parse_args().output
    try:
        build(output)
    except BuildFailed as error:
        print(f"no package: {error}", file=sys.stderr)
        return 1
    content = output.read_bytes()
    print(f"{hashlib.sha256(content).hexdigest()}  {output}  ({len(content) / 1e6:.1f} MB)")
    return 0


def build(output: Path) -> None:
    """Build the package from the working tree: the files that git knows, as they are now.

    Args:
        output: the zip to write.

    Raises:
        BuildFailed: This is another Python, no git checkout, SOURCE_DATE_EPOCH is no number, or the dependencies cannot
            be had as pinned.
    """
    if sys.version_info[:2] != PYTHON:
        raise BuildFailed("compiled code serves one version of Python: Python 3.13 is needed")
    moment = _moment()
    known = _run("git", "ls-files", "-z").split("\0")
    ignore = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    with TemporaryDirectory() as folder:
        stage = Path(folder)
        for name in admitted(filter(None, known), ignore):
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, stage / name)
        _install(stage / SITE)
        # A fresh interpreter each time, because what is loaded already shows in compiled code. The unchecked form needs
        # no look at the source's time, which a deployment does not keep; -s leaves the stage's own path out.
        compile_all = ("-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", folder)
        _run(sys.executable, *compile_all, folder)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_zip(output, stage, moment)


def admitted(names: Iterable[str], ignore: Iterable[str]) -> list[str]:
    """Return the files of the repository that are deployed.

    Args:
        names: paths from the repository's root.
        ignore: the lines of `.funcignore`, which are those of a `.gitignore`.
    """
    spec = GitIgnoreSpec.from_lines(ignore)
    return sorted(name for name in names if not spec.match_file(name))


def needed(path: PurePosixPath) -> bool:
    """Tell whether a file that an installer left in `site-packages` belongs to the package.

    Nothing of a dependency is cut but its scripts: tests, stubs and headers together are less than 1 % of the package.

    Args:
        path: from `site-packages`.
    """
    if path.parts[0] in {"bin", ".lock"}:
        return False
    return not (path.parent.name.endswith(".dist-info") and path.name in INSTALLERS_OWN)


def write_zip(output: Path, tree: Path, moment: int) -> None:
    """Write a zip that depends on names and contents alone.

    Args:
        output: the zip to write.
        tree: the folder whose files go into it.
        moment: the time of every entry, in seconds since 1970.
    """
    files = sorted((path.relative_to(tree).as_posix(), path) for path in tree.rglob("*") if path.is_file())
    with zipfile.ZipFile(output, "w") as package:
        for name, path in files:
            entry = zipfile.ZipInfo(name, time.gmtime(moment)[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is built, so that the mode counts
            entry.external_attr = 0o100644 << 16
            package.writestr(entry, path.read_bytes())


def _install(site: Path) -> None:
    """Install the pinned wheels for Azure's system, which need not be this machine's."""
    target = ("--target", str(site), "--python-platform", PLATFORM, "--python-version", "3.13")
    exactly = ("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements.txt"))
    _run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--link-mode", "copy", *target, *exactly)
    for path in list(site.rglob("*")):
        if path.is_file() and not needed(PurePosixPath(path.relative_to(site).as_posix())):
            path.unlink()


def _moment() -> int:
    """Return the commit's time, or what https://reproducible-builds.org/specs/source-date-epoch/ puts in its place."""
    given = os.environ.get("SOURCE_DATE_EPOCH") or _run("git", "log", "-1", "--format=%ct").strip()
    if not given.isdecimal():
        raise BuildFailed("SOURCE_DATE_EPOCH is not a number of seconds")
    return max(int(given), _ZIP_BEGINS)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    except FileNotFoundError as error:
        raise BuildFailed(f"{command[0]} is not installed") from error
    if done.returncode:
        raise BuildFailed(f"{' '.join(command[:4])} …: {(done.stderr or done.stdout).strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
