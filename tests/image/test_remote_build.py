"""A job builds an image on a BuildKit elsewhere: its own container has no daemon."""

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.github import GitHub
from tests.image import podman
from tests.image.harness import queue, registration
from tests.waiting import until

pytestmark = podman.needed

# Debian 12 has BuildKit as a part of its Docker alone; newer distributions have its client as a package beside that.
DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
USER 0
RUN apt-get update \\
 && buildx=$(apt-cache show docker-buildx > /dev/null 2>&1 && echo docker-buildx || true) \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends docker.io $buildx
USER 1001
"""
# The file that is copied comes from the job, the program runs at the builder, and the result comes back.
BUILD = (
    "mkdir context; cp /usr/bin/tini-static context/tini; "
    "printf '%s\\n' 'FROM scratch AS made' 'COPY tini /tini' 'RUN [\"/tini\", \"--version\"]' "
    "'FROM scratch' 'COPY --from=made /tini /result' > context/Dockerfile; "
    "docker build --progress plain --network host --output type=local,dest=out context; "
    "cmp out/result context/tini"
)


@pytest.fixture(scope="module")
def docker_image(bare_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the runner image with Debian's Docker: the client for the job, the daemon for the BuildKit in it."""
    context = tmp_path_factory.mktemp("docker")
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    return podman.made(podman.DOCKER, lambda: podman.podman(
        "build", "--format", "docker", "--network", "host", "--build-arg", f"BASE_IMAGE={bare_image}", "--tag",
        podman.DOCKER, str(context), timeout=900,
    ))  # fmt: skip


@pytest.fixture
def buildkit(docker_image: str, tmp_path: Path) -> Iterator[str]:
    """Run a BuildKit; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "podman", "run", "--rm", "--privileged", "--network", "host", "--user", "0", "--volume",
        f"{tmp_path}:/var/lib/docker", "--entrypoint", "dockerd", docker_image, "--host", f"tcp://{address}",
        "--tls=false", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
    ]  # fmt: skip
    with (tmp_path / "log").open("w+") as log:
        daemon = subprocess.Popen(command, env=podman.environment(), stdout=log, stderr=log)  # noqa: S603

        def answers() -> bool:
            assert daemon.poll() is None, Path(log.name).read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"http://{address}/_ping", timeout=5) as answer:
                    return bool(answer.read() == b"OK")
            except OSError:
                return False

        try:
            until(answers)
            yield address
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)


def test_a_build_elsewhere(docker_image: str, buildkit: str, github: GitHub, github_url: str) -> None:
    """A job without any privilege sends its files to a BuildKit, which runs the steps and sends back what was made."""
    queue(github, f"run: {BUILD}")
    variables = {**registration(github, github_url), "DOCKER_HOST": f"tcp://{buildkit}", "DOCKER_BUILDKIT": "1"}
    done = podman.container(docker_image, variables, *podman.WITH_ENTRYPOINT, timeout=300)
    assert (done.returncode, github.jobs[0].conclusion) == (0, "success"), done.stdout + done.stderr
    assert "tini version" in done.stdout + done.stderr


def test_no_build_here(docker_image: str, github: GitHub, github_url: str) -> None:
    """Without that address the same job fails, as no daemon answers."""
    queue(github, f"run: {BUILD}")
    done = podman.container(docker_image, registration(github, github_url), *podman.WITH_ENTRYPOINT)
    assert (done.returncode, github.jobs[0].conclusion) == (0, "failure")
    assert "Cannot connect to the Docker daemon" in done.stdout + done.stderr
