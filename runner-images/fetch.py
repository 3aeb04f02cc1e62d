#!/usr/bin/env python3
"""Puts the pinned runner, or a pinned tool, into an image; run while the image is built.

    fetch.py [--tool NAME] FOLDER [PACKAGE]

What it downloads, or the package that was downloaded before, must have the sha256 that versions.json pins, or the build
ends here. An archive is unpacked; any other file is placed in the folder. Standard library only; Python 3.6 or newer.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import shutil
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from typing import Any, Dict

MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
CHUNK = 1024 * 1024


class Unfit(Exception):
    """There is no such package, or it is not what was pinned."""


def package_name(system: str, machine: str) -> str:
    """Return what GitHub calls the runner for a machine: `linux-x64`."""
    try:
        return "{}-{}".format({"Linux": "linux", "Windows": "win"}[system], MACHINES[machine.lower()])
    except KeyError:
        raise Unfit(f"there is no runner for {system} on {machine}") from None


def fetch(package: Dict[str, Any], folder: str) -> None:
    """Download a package, check it, and unpack or place it in a new folder.

    Args:
        package: its `url` and `sha256`.
        folder: where to.

    Raises:
        Unfit: It is not what was pinned, or nothing is pinned; nothing is unpacked.
    """
    if not (package["url"] and package["sha256"]):
        raise Unfit("it is not pinned in versions.json for this machine: run `pins.py update` and commit")
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        with urllib.request.urlopen(package["url"]) as answer:  # noqa: S310 - the URL is pinned
            for chunk in iter(lambda: answer.read(CHUNK), b""):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != package["sha256"]:
            raise Unfit(
                "{} has the sha256 {}, and not {}, which is pinned".format(
                    package["url"], digest.hexdigest(), package["sha256"]
                )
            )
        file.seek(0)
        os.makedirs(folder)
        name = package["url"].rpartition("/")[2]
        if name.endswith(".zip"):
            with zipfile.ZipFile(file) as zipped:
                zipped.extractall(folder)  # noqa: S202 - it is what was pinned
        elif ".tar." in name:
            with tarfile.open(fileobj=file) as archive:
                archive.extraction_filter = lambda member, _path: member  # newer Pythons ask for one
                archive.extractall(folder)  # noqa: S202 - it is what was pinned
        else:
            with open(os.path.join(folder, name), "wb") as placed:
                shutil.copyfileobj(file, placed)


def main() -> int:
    """Fetch the runner, or a tool, for this machine; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool")
    parser.add_argument("folder")
    parser.add_argument("package", nargs="?")
    given = parser.parse_args()
    pins = os.path.join(os.path.dirname(os.path.abspath(__file__)), "versions.json")
    with open(pins, encoding="utf-8") as file:
        found = json.load(file)
    try:
        machine = package_name(platform.system(), platform.machine())
        packages = found["tools"].get(given.tool, {}) if given.tool else found["runner"]["packages"]
        package = packages.get(machine, {"url": None, "sha256": None})
        if given.package:
            package = dict(package, url=pathlib.Path(given.package).absolute().as_uri())
        fetch(package, given.folder)
    except (Unfit, OSError) as error:
        shutil.rmtree(given.folder, ignore_errors=True)
        print("fetch: {}: {}".format(given.tool or "the runner", error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
