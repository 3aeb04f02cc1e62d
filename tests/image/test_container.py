"""The Linux image: how it is built, and how its containers live and end."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.github import GitHub
from tests.claim_door import CLAIM, door, refused
from tests.image import podman
from tests.image.harness import queue, registration
from tests.waiting import until

pytestmark = podman.needed


@contextmanager
def running(image: str, environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """Start a container in the background; return its id, and remove it in the end."""
    variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    container = podman.podman("run", "--detach", "--network", "host", *variables, *options, image).stdout.strip()
    try:
        yield container
    finally:
        podman.podman("rm", "--force", "--time", "0", container)


def ended(container: str) -> tuple[int, str]:
    """Wait for a container; return its exit code and its last line."""
    code = int(podman.podman("wait", container, timeout=60).stdout)
    return code, podman.podman("logs", container).stdout.splitlines()[-1]


def test_what_an_image_says_of_itself(image: str) -> None:
    """It runs as an ordinary user, starts the entrypoint and nothing else, and names its runner's version."""
    config = json.loads(podman.podman("image", "inspect", image).stdout)[0]["Config"]
    assert config["User"] == "1001"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-I", "-S", "/opt/entrypoint"]
    assert not config.get("Cmd")
    assert {name.rpartition(".")[2] for name in config["Labels"] if name.startswith("org.opencontainers.image")} >= {
        "title", "version", "revision",
    }  # fmt: skip


def test_what_is_in_it(image: str) -> None:
    """The runner's program cannot be changed by its job; there is no sudo, and nothing of the build is left."""
    script = (
        "test ! -w /opt/runner/bin && test ! -w /opt/runner/bin/Runner.Listener && test ! -w /opt/entrypoint "
        '&& test -w /opt/runner && test ! -e /tmp/fetch.py && test -z "$(ls /var/lib/apt/lists)" && ! command -v sudo'
    )
    podman.podman("run", "--rm", "--entrypoint", "/bin/sh", image, "-c", script)


def test_a_wrong_checksum_ends_the_build(image: str, tmp_path: Path) -> None:
    """If the download is not what was pinned there is no image, and the build says why."""
    assert image
    wrong = hashlib.sha256(b"another runner").hexdigest()
    done = podman.build(tmp_path, "localhost/githubactions-runner:wrong", sha256=wrong)
    assert done.returncode != 0
    assert f"and not {wrong}, which is pinned" in done.stdout + done.stderr
    assert podman.podman("image", "exists", "localhost/githubactions-runner:wrong", check=False).returncode != 0


def test_a_container_is_stopped(image: str, github: GitHub, github_url: str) -> None:
    """Stopped without a job, the container deregisters its runner and ends by itself, as process 1."""
    with running(image, registration(github, github_url)) as container:
        until(lambda: [runner for runner in github.runners if runner.listening])
        podman.podman("stop", "--time", "30", container)
        assert ended(container) == (
            143, "ghr: exit code 143: stopped before a job came; its registration was removed",
        )  # fmt: skip
    assert github.runners == []


def test_a_container_is_stopped_during_its_job(image: str, github: GitHub, github_url: str) -> None:
    """Stopped during a job, the runner reports the job as failed before the container ends."""
    queue(github, "run: exec sleep 60")
    with running(image, registration(github, github_url)) as container:
        until(lambda: github.jobs[0].status == "in_progress")
        podman.podman("stop", "--time", "30", container)
        assert ended(container)[0] == 71
    assert github.jobs[0].conclusion == "failure"


def test_orphans_are_collected(image: str, github: GitHub, github_url: str) -> None:
    """What a job leaves behind becomes no zombie: process 1 does its duty."""
    orphan = "(sleep 0.1 & exec 3>&-) ; (setsid sh -c 'sleep 0.1' &) ; sleep 1"
    count = "grep -l 'State:.Z' /proc/[0-9]*/status > /dev/null && exit 1 || exit 0"
    queue(github, f"run: {orphan}; {count}")
    done = podman.container(image, registration(github, github_url))
    assert (done.returncode, github.jobs[0].conclusion) == (0, "success")


def test_the_hardened_run_options(image: str, github: GitHub, github_url: str) -> None:
    """The options that docs/security.md proposes leave a container that works."""
    security = (podman.ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    limits = re.findall(r'"runOptions": "([^"]+)"', security)
    capabilities = re.findall(r"`(--cap-drop [^`]+)`", security)
    assert (len(limits), len(capabilities)) == (1, 1)
    queue(github)
    hardened = f"{limits[0]} {capabilities[0]}".split()
    done = podman.container(image, registration(github, github_url), *hardened)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_read_only_entrypoint_without_settings(image: str) -> None:
    """A container that is told nothing says what it misses."""
    done = podman.container(image, {})
    assert (done.returncode, done.stdout) == (78, "ghr: exit code 78: GHR_URL is missing\n")


@pytest.mark.parametrize(
    ("step", "changes", "code", "said"),
    [
        ("true", {}, 0, "a job ran"),
        ("", {"SANDBOX_RUNNER_VERSION": "2.328.0"}, 7, "RUNNER UPDATE REQUIRED"),
        ("", {"SANDBOX_RUNNER_VERSION": "2.328.0", "SANDBOX_RUNNER_REFUSAL": "out_of_date"}, 7,
         "can no longer register with GitHub"),
        ("", {}, 69, "The runner no longer exists on the server"),
        ("", {"GHR_HOME": "/home/runner"}, 70, "the runner's program does not start"),
        ("kill -9 $PPID", {}, 71, "the runner broke off during a job"),
        ("", {"GHR_TOKEN": "wrong"}, 75, "the runner was not registered"),
        ("", {"SANDBOX_BROKER_URL": "http://127.0.0.1:9/acme", "GHR_IDLE_MINUTES": "0.15"}, 75,
         "Retrying until reconnected"),
        ("", {"GHR_GROUP": "Nobody's"}, 78, "Could not find any self-hosted runner group named"),
    ],
)  # fmt: skip
def test_each_exit_code(
    image: str, step: str, changes: Mapping[str, str], code: int, said: str, github: GitHub, github_url: str
) -> None:
    """Each exit code, with what the real runner says where that happens."""
    github.runner_version_floor = "2.329.0"
    if step:
        queue(github, f"run: {step}")
    else:
        github.faults.add(Fault("status", "GET /_runner/message", status=401, body='{"error": "deleted"}'))
    done = podman.container(image, {**registration(github, github_url), **changes})
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"ghr: exit code {code}: ")
    assert said in done.stdout + done.stderr


def test_a_claim_that_somebody_has_used(image: str) -> None:
    """A container whose claim is spent ends with the exit code of its own."""
    with door(refused(409, "a_word")) as asked:
        done = podman.container(image, {"GHR_CLAIM": CLAIM, "GHR_CLAIM_URL": asked.url})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        77, "ghr: exit code 77: the claim was used before, and not by this container (a_word)",
    )  # fmt: skip


def test_the_demo_in_containers(image: str) -> None:
    """The whole deployment runs its three jobs in containers of the image."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "sandbox.demo", "--image", image], cwd=podman.ROOT, env=podman.environment(),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All three jobs got their runner" in done.stdout
