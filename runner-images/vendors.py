"""Where the newest release of each tool is found, with the checksum that its vendor publishes.

No tool is downloaded for that: GitHub computes the digest of a release's file itself, Node.js publishes a list of
checksums, and the index of a Debian repository names the sha256 of each package. TLS alone protects these lists.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

type Json = dict[str, Any]
# Takes a URL, returns the text there.
type Read = Callable[[str], str]

# Repository, and what the files of its releases are called. Git for Windows: MinGit has no bash, this archive has.
GITHUB: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "buildx": (
        "docker/buildx",
        {"linux-x64": r"buildx-v[\d.]+\.linux-amd64", "linux-arm64": r"buildx-v[\d.]+\.linux-arm64"},
    ),
    "gh": (
        "cli/cli",
        {"linux-x64": r"gh_[\d.]+_linux_amd64\.tar\.gz", "linux-arm64": r"gh_[\d.]+_linux_arm64\.tar\.gz"},
    ),
    "git": ("git-for-windows/git", {"win-x64": r"Git-[\d.]+-64-bit\.tar\.bz2"}),
    "pwsh": (
        "PowerShell/PowerShell",
        {
            "linux-x64": r"powershell-[\d.]+-linux-x64\.tar\.gz",
            "linux-arm64": r"powershell-[\d.]+-linux-arm64\.tar\.gz",
            "win-x64": r"PowerShell-[\d.]+-win-x64\.zip",
        },
    ),
}
# Repository, its index for an architecture, and the package. Those of Ubuntu 22.04 start on newer ones as well.
DEBIAN: Mapping[str, tuple[str, str, str]] = {
    "az": ("https://packages.microsoft.com/repos/azure-cli/", "dists/jammy/main/binary-{}/Packages", "azure-cli"),
    "docker": (
        "https://download.docker.com/linux/ubuntu/",
        "dists/jammy/stable/binary-{}/Packages",
        "docker-ce-cli",
    ),
}
DEBIAN_ARCHITECTURES = {"linux-x64": "amd64", "linux-arm64": "arm64"}
NODE = "https://nodejs.org/dist/"


class NotFound(Exception):
    """A release has no such file, or no checksum for it."""


def of_release(release: Json, patterns: Mapping[str, str]) -> Json:
    """Return version, URLs and checksums of a release at GitHub.

    Args:
        release: as GitHub's API has it.
        patterns: system -> what its file is called.
    """
    version = str(release["tag_name"]).removeprefix("v")
    found: Json = {"version": version}
    for system, pattern in patterns.items():
        assets = [asset for asset in release["assets"] if re.fullmatch(pattern, asset["name"])]
        sha256 = (assets[0].get("digest") or "").removeprefix("sha256:") if len(assets) == 1 else ""
        found[system] = _pin(assets[0]["browser_download_url"] if assets else pattern, sha256)
    return found


def of_index(base: str, indexes: Mapping[str, str], package: str) -> Json:
    """Return version, URLs and checksums of a package in a Debian repository.

    Args:
        base: the repository's URL.
        indexes: system -> the text of its `Packages`.
        package: its name.
    """
    found: Json = {"version": None}
    for system, text in indexes.items():
        newest = max(
            (stanza for stanza in _stanzas(text) if stanza.get("Package") == package),
            key=lambda stanza: _numbers(stanza["Version"]),
            default=None,
        )
        if newest is None:
            raise NotFound(f"{base} has no {package} for {system}")
        found["version"] = newest["Version"]
        found[system] = _pin(base + newest["Filename"], newest.get("SHA256", ""))
    return found


def of_node(releases: Iterable[Json], checksums: Read) -> Json:
    """Return version, URLs and checksums of the newest Node.js with long-term support.

    Args:
        releases: `index.json`.
        checksums: reads a release's `SHASUMS256.txt`.
    """
    newest = max((release["version"] for release in releases if release["lts"]), key=_numbers)
    folder = f"{NODE}{newest}/"
    lines = checksums(f"{folder}SHASUMS256.txt").splitlines()
    sums = {name: sha256 for sha256, name in (line.split() for line in lines)}
    found: Json = {"version": newest.removeprefix("v")}
    for system in DEBIAN_ARCHITECTURES:
        name = f"node-{newest}-{system}.tar.xz"
        found[system] = _pin(folder + name, sums.get(name, ""))
    return found


def _pin(url: str, sha256: str) -> Json:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise NotFound(f"no sha256 was found for {url}")
    return {"url": url, "sha256": sha256}


def _stanzas(text: str) -> list[dict[str, str]]:
    return [
        dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        for stanza in text.split("\n\n")
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
