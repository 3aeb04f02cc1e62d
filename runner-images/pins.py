#!/usr/bin/env python3
"""Keeps versions.json: what the images are made of.

    pins.py base NAME   the base image with its digest, for `--build-arg BASE_IMAGE`
    pins.py check       warns while GitHub still takes the pinned runner, and fails shortly before it does not
    pins.py update      pins the latest runner and tools and the bases' current digests, everywhere that names them

`check` and `update` ask GitHub; `update` asks the registries too, by docker, and the tools' vendors. GitHub answers 60
requests an hour from an address, which many may share: with a token in GH_TOKEN it counts by that. `check` asks GitHub
for its own dates if RUNNER_SCOPE (`orgs/NAME`, `repos/OWNER/NAME`) says where and RUNNER_TOKEN may read runners there.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import vendors

HERE = Path(__file__).parent
PINS = HERE / "versions.json"
# Both say which runner this release's images have; tests hold them to versions.json.
NAMED_IN = {
    HERE.parent / "orchestrator" / "config" / "runner_version.py": r'(?<=^PINNED = ")[^"]+',
    HERE.parent / "local.settings.json.example": r'(?<="RunnerVersion": ")[^"]+',
}
API = "https://api.github.com"
RELEASES = f"{API}/repos/actions/runner/releases?per_page=50"
# GitHub docs, "Self-hosted runners reference": a new release must be installed within 30 days. The dates that GitHub
# gives since 2026-09-03 (`GET .../actions/runners/deprecations/VERSION`) may be later; a critical release may not wait.
TERM = timedelta(days=30)
# `check` fails when less is left, so that somebody is told by the failed workflow.
LAST_WARNING = timedelta(days=7)

type Json = dict[str, Any]


class Unusable(Exception):
    """A pin is missing, or what was found cannot be pinned."""


def base(pins: Mapping[str, Any], name: str) -> str:
    """Return a base image with its digest.

    Raises:
        Unusable: There is no such base, or its digest is not pinned yet.
    """
    found = pins["bases"].get(name)
    if found is None:
        raise Unusable(f"no base is called {name}; there are {', '.join(pins['bases'])}")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found["digest"] or ""):
        raise Unusable(
            f"the digest of {found['image']} is not pinned in versions.json: run `pins.py update` and commit"
        )
    return f"{found['image']}@{found['digest']}"


def time_left(version: str, releases: Iterable[Json], now: datetime) -> timedelta | None:
    """Return how long GitHub still takes a runner: 30 days from its successor's publication; None for the latest."""
    newer = [release for release in _published(releases) if _parts(_version(release)) > _parts(version)]
    successors = [datetime.fromisoformat(release["published_at"]) for release in newer]
    return min(successors) + TERM - now if successors else None


def time_left_by(dates: Mapping[str, Any], now: datetime) -> timedelta | None:
    """Return how long GitHub still takes a runner by its own dates: until the first of them; None without any."""
    names = ("registration_deprecates_at", "runtime_deprecates_at")
    found = [datetime.fromisoformat(dates[name]) for name in names if dates.get(name)]
    return min(found) - now if found else None


def verdict(version: str, left: timedelta | None) -> tuple[int, str]:
    """Return an exit code, and what a workflow shows."""
    if left is None:
        return 0, f"runner {version} is the latest"
    if left < LAST_WARNING:
        return 1, f"::error::GitHub takes runner {version} for {left.days} more days: update, build and roll out now"
    return 0, f"::warning::runner {version} has a successor; GitHub takes it for {left.days} more days"


def latest(releases: Iterable[Json]) -> Json:
    """Return the release with the highest version."""
    return max(_published(releases), key=lambda release: _parts(_version(release)))


def packages(release: Json, names: Iterable[str]) -> Json:
    """Return URL and sha256 of a release's packages.

    GitHub computes an asset's digest itself; the release's notes name the checksum too, and both must agree.

    Raises:
        Unusable: One is missing, or they disagree.
    """
    found: Json = {}
    version = _version(release)
    for name in names:
        file = f"actions-runner-{name}-{version}.{'zip' if name.startswith('win') else 'tar.gz'}"
        asset = next((asset for asset in release["assets"] if asset["name"] == file), None)
        sha256 = ((asset or {}).get("digest") or "").removeprefix("sha256:")
        noted = re.search(rf"<!-- BEGIN SHA {name} -->([0-9a-f]{{64}})<!-- END SHA {name} -->", release["body"] or "")
        if asset is None or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise Unusable(f"release {version} has no {file} with a sha256")
        if noted is None or noted[1] != sha256:
            raise Unusable(f"the notes of release {version} do not confirm the sha256 of {file}")
        found[name] = {"url": asset["browser_download_url"], "sha256": sha256}
    return found


def updated(pins: Json, release: Json, digest: Callable[[str], str], newest_tools: Json) -> Json:
    """Return the pins with the latest runner and tools and the bases' current digests.

    Args:
        pins: what is pinned now.
        release: of the runner.
        digest: asks a registry for an image's digest.
        newest_tools: what `newest` found.
    """
    runner = {
        "version": _version(release),
        "published": release["published_at"][:10],
        "packages": packages(release, pins["runner"]["packages"]),
    }
    bases = {name: {**found, "digest": digest(found["image"])} for name, found in pins["bases"].items()}
    return {**pins, "runner": runner, "tools": newest_tools, "bases": bases}


def newest(read: vendors.Read) -> Json:
    """Return the newest of each tool, with its files and checksums.

    Args:
        read: takes a URL, returns the text there.
    """
    found = {
        name: vendors.of_release(json.loads(read(f"{API}/repos/{repository}/releases/latest")), patterns)
        for name, (repository, patterns) in vendors.GITHUB.items()
    }
    for name, (url, index, package) in vendors.DEBIAN.items():
        architectures = vendors.DEBIAN_ARCHITECTURES.items()
        indexes = {system: read(url + index.format(architecture)) for system, architecture in architectures}
        found[name] = vendors.of_index(url, indexes, package)
    found["node"] = vendors.of_node(json.loads(read(f"{vendors.NODE}index.json")), read)
    return dict(sorted(found.items()))


def written(pins: Json) -> str:
    """Return the text of versions.json: one line for each base."""
    text = json.dumps(pins, indent=2)
    return re.sub(r'\{\s+("image": [^\n]+)\s+("digest": [^\n]+)\s+\}', r"{\1 \2}", text) + "\n"


def digest_by_docker(image: str) -> str:
    """Ask a registry for the digest that an image's tag has now.

    Raises:
        Unusable: It has no such image, or docker or its plugin buildx does not work.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Unusable(f"docker does not tell the digest of {image}: {done.stderr.strip()}")
    return done.stdout.strip()


def _published(releases: Iterable[Json]) -> list[Json]:
    return [release for release in releases if not release["draft"] and not release["prerelease"]]


def _version(release: Json) -> str:
    return str(release["tag_name"]).removeprefix("v")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _read(url: str, token: str | None = None) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - the URLs are constants
    if url.startswith(f"{API}/") and (token := token or os.environ.get("GH_TOKEN")):
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # no other host gets it
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        return str(answer.read().decode())


def _releases() -> list[Json]:
    found: list[Json] = json.loads(_read(RELEASES))
    return found


def _dates(version: str) -> Json:
    """Return GitHub's own dates for a runner, if somebody who may ask says where; else nothing."""
    scope, token = os.environ.get("RUNNER_SCOPE"), os.environ.get("RUNNER_TOKEN")
    if not (scope and token):
        return {}
    try:
        found: Json = json.loads(_read(f"{API}/{scope}/actions/runners/deprecations/{version}", token))
    except urllib.error.HTTPError as error:
        print(f"::notice::GitHub does not tell its dates for runners of {scope} ({error.code}): 30 days are assumed")
        return {}
    return found


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    pins: Json = json.loads(PINS.read_text(encoding="utf-8"))
    try:
        match list(arguments):
            case ["base", name]:
                print(base(pins, name))
            case ["check"]:
                version, now = pins["runner"]["version"], datetime.now(UTC)
                left = time_left(version, _releases(), now)
                by_dates = time_left_by(_dates(version), now)
                code, text = verdict(version, left if by_dates is None else by_dates)
                print(text)
                return code
            case ["update"]:
                pins = updated(pins, latest(_releases()), digest_by_docker, newest(_read))
                PINS.write_text(written(pins), encoding="utf-8")
                for file, pattern in NAMED_IN.items():
                    text = file.read_text(encoding="utf-8")
                    file.write_text(
                        re.sub(pattern, pins["runner"]["version"], text, flags=re.MULTILINE), encoding="utf-8"
                    )
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (Unusable, vendors.NotFound, OSError, subprocess.TimeoutExpired) as error:
        print(f"pins.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
