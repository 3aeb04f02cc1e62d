"""A runner task that calls Docker itself."""

import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.config.profiles import ProfileSetting
from orchestrator.runners.task import RunnerTask
from sandbox.batch.docker import container_environment

IMAGE = "acme.azurecr.io/githubactions-runner:x"


def task(**changes: Any) -> RunnerTask:
    """Return a Windows runner's task that calls Docker."""
    values: dict[str, Any] = {
        "task_id": "runner-1-1", "account": "acme",
        "pool": "batchWindows", "display_name": "a job", "image": IMAGE, "os": "windows",
        "run_options": "", "slots": 1, "max_hours": 7, "launch": "docker",
        "environment": {"GHR_URL": "https://github.com/acme", "GHR_TOKEN": "s3cret"},
    }  # fmt: skip
    return RunnerTask(**values | changes)


def test_the_command() -> None:
    """Docker is called without a shell, by the task's name, with the run options and the variables' names."""
    assert docker_command(task(run_options=" --memory 4g ")) == (
        f"docker run --rm --name runner-1-1 -e GHR_URL -e GHR_TOKEN --memory 4g {IMAGE}"
    )


def test_secrets_reach_the_container_and_no_command_line() -> None:
    """The container sees the task's variables, whose values stand nowhere in the command; and nothing of Docker's."""
    command, environment = docker_command(task()), docker_environment(task())
    assert "s3cret" not in command
    assert "https" not in command
    assert container_environment(command, environment) == task().environment


def test_the_client_finds_the_registrys_login() -> None:
    """Each system's Docker client is told where the start task left its configuration."""
    assert docker_environment(task())["DOCKER_CONFIG"] == r"C:\ProgramData\docker\client"
    assert docker_environment(task(os="linux"))["DOCKER_CONFIG"] == "/etc/docker/client"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", fullmatch=True).filter(lambda image: len(image) < 255))
def test_an_image_is_one_argument(image: str) -> None:
    """Whatever image a profile may name is one argument of the command, and no option."""
    profile = ProfileSetting(name="p", pool="p", image=image)
    assert shlex.split(docker_command(task(image=profile.image)))[-1] == image


def test_another_command_runs_nothing() -> None:
    """The stand-in's Docker client gives nothing to a command line that is not its own."""
    assert container_environment("cmd /c set", {"GHR_TOKEN": "s3cret"}) == {}
