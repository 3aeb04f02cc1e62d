"""Runs the entrypoint with a hostile job, as a process or in a container, and tells what the job got to see."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sandbox.github import GitHub
from sandbox.github.model import JobPlan, Label, Registration, Scope
from tests.claim_door import CLAIM, door, granted
from tests.image import podman

ENTRYPOINT = podman.SOURCES / "entrypoint"
PROBE = Path(__file__).with_name("probe.py")

# Root becomes `nobody` here, who must be able to read Python's own files.
NOBODY = 65534
PYTHON = sys.executable if os.geteuid() != 0 else shutil.which("python3", path="/usr/bin")

type Kind = Literal["token", "jit", "claim"]
type Place = Literal["process", "container", "larger"]

IMAGES: Mapping[Place, str] = {"container": podman.IMAGE, "larger": podman.FULL}


@dataclass(frozen=True)
class Mutation:
    """One rule taken out of the entrypoint.

    Attributes:
        file: of the entrypoint.
        old: what the rule is in it.
        new: what stands there instead.
    """

    file: str
    old: str
    new: str

    def apply(self, folder: Path) -> None:
        """Change a copy of the entrypoint; the rule must be there exactly once."""
        file = folder / self.file
        text = file.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.old!r} is not in {self.file} once"
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Attack:
    """What became of a run.

    Attributes:
        code: the exit code.
        output: what the operator reads.
        seen: what the job saw; see probe.py.
        secrets: the token, JIT configuration or claim that it was after, and what else a claim is redeemed with.
    """

    code: int
    output: str
    seen: Mapping[str, Any]
    secrets: tuple[str, ...]

    @property
    def leaks(self) -> set[str]:
        """Where the job found a secret."""
        places = {
            "own environment": self.seen["own"],
            "environment of a process": self.seen["environ"],
            "arguments of a process": self.seen["cmdline"],
            "memory of the entrypoint": self.seen["entrypoint"]["memory"],
            "files of the runner": self.seen["files"],
        }
        return {
            place for place, content in places.items() if any(secret in json.dumps(content) for secret in self.secrets)
        }


def registration(github: GitHub, url: str, *, jit: bool = False, name: str = "runner-1-1") -> dict[str, str]:
    """Return what the orchestrator gives a container to register with, in the organization `acme`."""
    scope = Scope("organization", "acme")
    common = {"GHR_URL": f"{url}/acme", "GHR_NAME": name, "GHR_LABELS": "self-hosted,linux,x64"}
    if not jit:
        token, _ = github.access.runner_token(scope, github.clock())
        return {**common, "GHR_TOKEN": token}
    labels = tuple(Label(label) for label in ("self-hosted", "linux", "x64"))
    with github.changing() as now:
        runner = github.state.register(scope, Registration(name, labels, jit=True), now)
        return {**common, "GHR_JITCONFIG": github.state.jit_config(runner)}


def queue(github: GitHub, *steps: str, duration_s: float = 0.0) -> int:
    """Queue a job with these steps; return its id."""
    plan = JobPlan(("self-hosted",), duration_s=duration_s, steps=steps)
    return github.queue_run("acme/app", [plan]).jobs[0].id


@contextmanager
def open_folder() -> Iterator[Path]:
    """Return a folder that any user may enter and write to; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="runner-images-", dir="/tmp"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def attack(
    place: Place, github: GitHub, url: str, *, kind: Kind = "token", mutation: Mutation | None = None,
    environment: Mapping[str, str] | None = None, options: tuple[str, ...] = (),
) -> Attack:  # fmt: skip
    """Let one runner run one hostile job.

    Args:
        place: where the entrypoint runs: as a process, or in a container of either image.
        github: what it registers at.
        url: its address.
        kind: what it gets to register with.
        mutation: a rule that the entrypoint does without.
        environment: more for the container.
        options: more for `podman run`.
    """
    given = registration(github, url, jit=kind != "token")
    secrets: tuple[str, ...] = (given.get("GHR_JITCONFIG") or given["GHR_TOKEN"],)
    with open_folder() as folder, ExitStack() as stack:
        if kind == "claim":
            asked = stack.enter_context(door(granted(given)))
            given = {"GHR_NAME": given["GHR_NAME"], "GHR_CLAIM": CLAIM, "GHR_CLAIM_URL": asked.url}
        given |= {"SANDBOX_GITHUB_URL": f"{url}/acme", "GHR_IDLE_MINUTES": "0.5", **(environment or {})}
        rules = folder / "entrypoint"
        shutil.copytree(ENTRYPOINT, rules, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            mutation.apply(rules)
        seen = folder / "seen"
        seen.mkdir()
        seen.chmod(0o777)
        shutil.copy(PROBE, folder / "probe.py")
        if place != "process":
            queue(github, "run: python3 /attack/probe.py /attack/seen/seen.json")
            mounts = ("--volume", f"{folder}:/attack", "--volume", f"{rules}:/opt/entrypoint:ro")
            done = podman.container(IMAGES[place], given, *mounts, *options)
        else:
            queue(github, f"run: {PYTHON} {folder}/probe.py {seen}/seen.json")
            done = process(folder, given, rules)
        text = (seen / "seen.json").read_text(encoding="utf-8") if (seen / "seen.json").exists() else "{}"
        if kind == "claim":
            secrets += (CLAIM, asked.url, *asked.nonces)
        return Attack(done.returncode, done.stdout + done.stderr, json.loads(text), secrets)


def process(folder: Path, environment: Mapping[str, str], rules: Path = ENTRYPOINT) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint as a process until it ends, as `nobody` if these tests are root."""
    with subprocess.Popen(
        **start(folder, environment, rules), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        output, _ = started.communicate(timeout=60)
    return subprocess.CompletedProcess([], started.returncode, output, "")


def start(folder: Path, environment: Mapping[str, str], rules: Path = ENTRYPOINT) -> dict[str, Any]:
    """Return what starts the entrypoint over a fake distribution in a folder: arguments of `subprocess.Popen`."""
    home = folder / "runner"
    (home / "bin").mkdir(parents=True)
    home.chmod(0o777)
    shutil.copy(podman.ROOT / "sandbox" / "runner.py", home / "bin" / "Runner.Listener")
    shutil.copy(podman.ROOT / "sandbox" / "runner_texts.json", home / "bin")
    own = {"PATH": f"{Path(str(PYTHON)).parent}:/usr/bin:/bin", "HOME": str(home), "GHR_HOME": str(home), **environment}
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"args": [PYTHON, "-I", "-S", str(rules)], "env": own, "cwd": "/", **user}
