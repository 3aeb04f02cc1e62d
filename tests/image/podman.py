"""Podman, the base image and the runner image that the container tests run on.

Base images come from `GHR_TEST_BASE_IMAGE`, or are made by debootstrap once and kept in /var/tmp.
"""

import fcntl
import gzip
import hashlib
import http.server
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "runner-images"
CACHE = Path("/var/tmp/runner-image-tests")  # noqa: S108 - a cache that outlives a checkout; its folder is the user's
SUITE = "bookworm"
BASE = f"localhost/runner-image-tests/base:{SUITE}"
# A virtual machine may lack what crun and systemd's cgroups ask for; these ask for less.
CONFIGURATION = f"""
[engine]
runtime = "{"runc" if shutil.which("runc") else "crun"}"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
"""

type Ended = subprocess.CompletedProcess[str]


def _image(kind: str, *folders: str) -> str:
    """Name an image after what it is made of, so that it is built only when that has changed."""
    files = [file for folder in folders for file in (SOURCES / folder).rglob("*") if file.suffix != ".pyc"]
    digest = hashlib.sha256(os.environ.get("GHR_TEST_BASE_IMAGE", BASE).encode())
    for file in sorted([*files, SOURCES / "fetch.py", *(ROOT / "sandbox").glob("runner*")]):
        if file.is_file():
            digest.update(file.read_bytes())
    return f"localhost/githubactions-runner:{kind}-{digest.hexdigest()[:12]}"


IMAGE = _image("sandbox", "entrypoint", "linux")
# What takes minutes to build is derived from an image without the entrypoint: no change of that builds it again.
BARE = _image("bare", "linux")
FULL = _image("full", "linux", "full")
JAVA = _image("java", "linux", "examples/linux-java")
CORPORATE = _image("corporate", "linux", "examples/linux-corporate")
DOCKER = _image("docker", "linux")
WITH_ENTRYPOINT = ("--volume", f"{SOURCES / 'entrypoint'}:/opt/entrypoint:ro")


def available() -> str:
    """Return why containers cannot be run here, empty if they can."""
    if shutil.which("podman") is None:
        return "podman is not installed: make image-test installs it"
    if os.geteuid() != 0:
        return "podman is used as root here: sudo make image-test"
    if "GHR_TEST_BASE_IMAGE" not in os.environ and shutil.which("debootstrap") is None:
        return "debootstrap is not installed, and GHR_TEST_BASE_IMAGE names no base image: make image-test"
    return ""


needed = pytest.mark.skipif(bool(available()), reason=available() or "podman")


def podman(*arguments: str, check: bool = True, timeout: float = 300) -> Ended:
    """Run podman; return how it ended, with what it said."""
    return (_must if check else _run)("podman", *arguments, timeout=timeout)


def environment() -> dict[str, str]:
    """Return the environment that podman runs in."""
    CACHE.mkdir(parents=True, exist_ok=True)
    configuration = CACHE / "containers.conf"
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != CONFIGURATION:
        configuration.write_text(CONFIGURATION, encoding="utf-8")
    return {**os.environ, "CONTAINERS_CONF": str(configuration)}


def _run(*command: str, timeout: float = 900) -> Ended:
    return subprocess.run(  # noqa: S603 - fixed commands
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def _must(*command: str, timeout: float = 900) -> Ended:
    done = _run(*command, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Let one process at a time do something: the tests run side by side."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made(tag: str, build: Callable[[], Ended]) -> str:
    """Return an image's name; build it if it is not there."""
    with alone("build-" + tag.rpartition(":")[2].partition("-")[0]):
        if podman("image", "exists", tag, check=False).returncode != 0:
            done = build()
            assert done.returncode == 0, done.stdout + done.stderr
    return tag


def base_image() -> str:
    """Return a base image, made on the first call."""
    if given := os.environ.get("GHR_TEST_BASE_IMAGE"):
        return given
    with alone("base"):
        if podman("image", "exists", BASE, check=False).returncode != 0:
            archive = CACHE / f"{SUITE}.tar"
            if not archive.exists():
                with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                    _must("debootstrap", "--variant=minbase", SUITE, f"{folder}/root")
                    _must("tar", "-C", f"{folder}/root", "-cf", f"{folder}/part", ".")
                    Path(folder, "part").rename(archive)
            podman("import", str(archive), BASE)
    return BASE


def distribution() -> bytes:
    """Return an archive like that of actions/runner, with the program that plays it."""
    files = {
        "bin/Runner.Listener": (ROOT / "sandbox" / "runner.py").read_bytes(),
        "bin/runner_texts.json": (ROOT / "sandbox" / "runner_texts.json").read_bytes(),
        "bin/installdependencies.sh": b"#!/bin/sh\nexit 0\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def build(folder: Path, tag: str, *, sha256: str | None = None, bare: bool = False) -> subprocess.CompletedProcess[str]:
    """Build the Linux image, whose pins say that the runner is the fake one.

    Args:
        folder: an empty folder for the build's context.
        tag: what to call the image.
        sha256: the pinned checksum; the right one without.
        bare: whether the entrypoint is left out, which its containers get by `WITH_ENTRYPOINT`.
    """
    with _serving(folder / "served", {"runner.tar.gz": distribution()}) as pinned:
        package = pinned["runner.tar.gz"] | ({"sha256": sha256} if sha256 else {})
        pins = {"runner": {"packages": {"linux-x64": package, "linux-arm64": package}}}
        return _build(folder / "context", "linux", tag, base_image(), pins, bare=bare)


def build_full(
    folder: Path, tag: str, base: str, *, without: str = "", arguments: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Build the larger image; what only vendors package are scripts here that say their name.

    Args:
        folder: an empty folder for the build's context.
        tag: what to call the image.
        base: the image that it is derived from.
        without: a tool that is not pinned.
        arguments: more for the build.
    """
    folder.mkdir(exist_ok=True)
    files = vendors(folder)
    with _serving(folder / "served", files) as pinned:
        packages: dict[str, object] = {name.partition("_")[0]: package for name, package in pinned.items()}
        if without:
            packages[without] = {"url": None, "sha256": None}
        pins = {"tools": {name: {"linux-x64": found, "linux-arm64": found} for name, found in packages.items()}}
        return _build(folder / "context", "full", tag, base, pins, arguments=arguments)


def vendors(folder: Path) -> dict[str, bytes]:
    """Return files like those that the vendors of the tools offer, by name; each begins with the tool's.

    Their archives name an owner whose number is that of the job's user here, as the one of Node.js may.
    """
    say = "#!/bin/sh\necho {}\n".format
    plugin = '#!/bin/sh\n[ "$1" = buildx ] && exec /usr/local/lib/docker/cli-plugins/docker-buildx\necho docker\n'
    return {
        "az_1.deb": _package(folder / "az", "usr/bin/az", say("az")),
        "buildx_1.linux": say("buildx").encode(),
        "docker_1.deb": _package(folder / "docker", "usr/bin/docker", plugin),
        "gh_1.tar.gz": gzip.compress(_archive({"gh_1_linux/bin/gh": say("gh"), "gh_1_linux/LICENSE": ""})),
        "node_1.tar.xz": lzma.compress(_archive({"node-v1/bin/node": say("node"), "node-v1/bin/npm": say("npm")})),
        "pwsh_1.tar.gz": gzip.compress(_archive({"pwsh": say("pwsh"), "pwsh.dll": ""})),
    }


def build_example(name: str, tag: str, base: str) -> subprocess.CompletedProcess[str]:
    """Build one of the examples of `runner-images/examples`."""
    folder = SOURCES / "examples" / name
    return podman(
        "build", "--format", "docker", "--network", "host", "--build-arg", f"BASE_IMAGE={base}", "--tag", tag,
        str(folder), check=False, timeout=900,
    )  # fmt: skip


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(text), 0o755, 1001, 1001
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _package(folder: Path, program: str, text: str) -> bytes:
    """Return a Debian package with one program."""
    file = folder / program
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
    (folder / "DEBIAN").mkdir()
    control = f"Package: {file.name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: stands in\n"
    (folder / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    _must("dpkg-deb", "--root-owner-group", "--build", str(folder), f"{folder}.deb")
    return Path(f"{folder}.deb").read_bytes()


@contextmanager
def _serving(folder: Path, files: Mapping[str, bytes]) -> Iterator[dict[str, dict[str, str]]]:
    """Serve files; yield each one's pin by its name."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield {
            name: {"url": f"{url}/{name}", "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
        server.shutdown()


def _build(
    context: Path, which: str, tag: str, base: str, pins: Mapping[str, object], *, arguments: Sequence[str] = (),
    bare: bool = False,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    shutil.copytree(SOURCES, context, ignore=shutil.ignore_patterns("entrypoint") if bare else None)
    if bare:
        (context / "entrypoint").mkdir()
        (context / "entrypoint" / "__main__.py").touch()
    (context / "versions.json").write_text(json.dumps(pins), encoding="utf-8")
    return podman(
        "build", "--format", "docker", "--network", "host", "--build-arg", f"BASE_IMAGE={base}", "--tag", tag,
        "--file", str(context / which / "Dockerfile"), *arguments, str(context), check=False, timeout=900,
    )  # fmt: skip


def container(
    image: str, environment: Mapping[str, str], *options: str, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a container until it ends; return its exit code and what it said."""
    variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    return podman("run", "--rm", "--network", "host", *variables, *options, image, check=False, timeout=timeout)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
