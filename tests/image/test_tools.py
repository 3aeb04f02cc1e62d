"""The images hold what workflows call: the commands of named actions run in them, and so do the examples."""

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.github import GitHub
from tests.image import podman
from tests.image.harness import queue, registration
from tests.tls import server_context

pytestmark = podman.needed
ACTIONS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("actions.json").read_text(encoding="utf-8"))


def shell(image: str, command: str, *options: str) -> None:
    """Run a command in an image as a job would; it must succeed."""
    podman.podman("run", "--rm", "--entrypoint", "/bin/bash", *options, image, "-ec", f"cd /tmp; {command}")


@pytest.mark.parametrize("action", [action["action"] for action in ACTIONS if action["image"] == "base"])
def test_what_actions_call(action: str, image: str) -> None:
    """Each command that a named action calls is there and does something, as the job's own user."""
    (found,) = [entry for entry in ACTIONS if entry["action"] == action]
    shell(image, "; ".join(f"({need}) > /dev/null" for need in found["needs"]))


@pytest.mark.parametrize("action", [action["action"] for action in ACTIONS if action["image"] == "full"])
def test_what_actions_call_of_the_larger_image(action: str, full_image: str) -> None:
    """The same for the larger image; az, buildx, docker, gh, node, npm and pwsh are scripts, all else is Debian's."""
    (found,) = [entry for entry in ACTIONS if entry["action"] == action]
    shell(full_image, "; ".join(f"({need}) > /dev/null" for need in found["needs"]))


def test_whose_the_tools_are(full_image: str) -> None:
    """A job cannot change what the vendors' archives have brought."""
    shell(full_image, 'test -x /opt/node/bin/node; test -z "$(find /opt/gh /opt/node /opt/pwsh -writable)"')


def test_the_environment_of_a_job(image: str, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A job finds its user, the tool cache, and its own programs as on GitHub's machines."""
    tmp_path.chmod(0o777)
    queue(github, "run: env > /seen/env; mkdir -p ~/.local/bin; cp /bin/true ~/.local/bin/mine; mine")
    done = podman.container(image, registration(github, github_url), "--volume", f"{tmp_path}:/seen")
    assert (done.returncode, github.jobs[0].conclusion) == (0, "success"), done.stdout
    seen = dict(
        line.split("=", 1) for line in (tmp_path / "env").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    assert (seen["USER"], seen["HOME"]) == ("runner", "/home/runner")
    assert seen["RUNNER_TOOL_CACHE"] == "/opt/hostedtoolcache"
    assert seen["PATH"].startswith("/home/runner/.local/bin:")


def test_the_contents_are_printed(image: str) -> None:
    """The command of docs/images.md prints an image's size, and the version of what is in it."""
    command = [sys.executable, str(podman.SOURCES / "contents.py"), image, "podman"]
    done = subprocess.run(command, env=podman.environment(), capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    assert re.match(rf"{image}: \d+ MB\n", done.stdout)
    assert re.search(r"^  python +Python 3\.\d+", done.stdout, re.MULTILINE)
    assert re.search(r"^  git lfs version +git-lfs/", done.stdout, re.MULTILINE)
    assert re.search(r"^  az version +-$", done.stdout, re.MULTILINE)


def test_a_tool_that_is_not_pinned(image: str, tmp_path: Path) -> None:
    """A tool without a checksum ends the build, and the build says which one and what to do."""
    done = podman.build_full(
        tmp_path / "build", "localhost/githubactions-runner:unpinned", image, without="gh",
        arguments=["--target", "download"],
    )  # fmt: skip
    assert done.returncode != 0
    assert "fetch: gh: it is not pinned in versions.json" in done.stdout + done.stderr


def test_a_jdk_in_the_tool_cache(bare_image: str, github: GitHub, github_url: str) -> None:
    """The example's JDK is where setup-java looks, others fit beside it, and its hook runs before the job."""
    tag = podman.made(podman.JAVA, lambda: podman.build_example("linux-java", podman.JAVA, bare_image))
    cache = "$RUNNER_TOOL_CACHE/Java_jdkfile_jdk"
    queue(
        github,
        f"run: version=$(ls {cache}); test -f {cache}/$version/*.complete; {cache}/$version/*[0-9]/bin/javac --version",
        f"run: mkdir {cache}/99; $JAVA_HOME/bin/java --version",
    )
    done = podman.container(tag, registration(github, github_url), *podman.WITH_ENTRYPOINT)
    assert (done.returncode, github.jobs[0].conclusion) == (0, "success"), done.stdout + done.stderr
    assert "openjdk" in done.stdout


def test_a_corporate_authority(bare_image: str, tmp_path: Path) -> None:
    """In the example's image curl and Python trust a server whose certificate the company's authority has signed."""
    tag, context = podman.CORPORATE, tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_bytes((podman.SOURCES / "examples/linux-corporate/Dockerfile").read_bytes())
    with https_server(tmp_path, context / "corp.crt") as url:
        done = podman.podman(
            "build", "--format", "docker", "--network", "host", "--build-arg", f"BASE_IMAGE={bare_image}",
            "--build-arg", "PROXY=http://proxy.example:3128", "--build-arg", "NO_PROXY_FOR=127.0.0.1,localhost",
            "--tag", tag, str(context), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        shell(tag, f"curl --fail --silent {url} && python3 -c 'import urllib.request as u; u.urlopen(\"{url}\")'",
              "--network", "host")  # fmt: skip
        shell(bare_image, f"! curl --fail --silent {url}", "--network", "host")
        shell(tag, 'test "$https_proxy" = http://proxy.example:3128 && test -r "$NODE_EXTRA_CA_CERTS"')


@contextmanager
def https_server(folder: Path, authority: Path) -> Iterator[str]:
    """Serve nothing over TLS at 127.0.0.1, with a certificate that its own key has signed; write it to a file."""
    context = server_context(folder, authority)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()
