"""What a runner's container gets beside its image."""

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.azure.task_model import task_options
from orchestrator.config.profiles import Profile, ProfileSetting
from orchestrator.errors import SettingsError
from orchestrator.runners.task import RunnerTask
from sandbox.batch.docker import container_environment
from tests.builders import settings

VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: not name.upper().startswith(("GHR_", "ACTIONS", "AZ_BATCH_", "DOCKER_")) and name.upper() != "PATH"
)


def profiles(*written: dict[str, Any], **changes: str) -> tuple[Profile, ...]:
    """Return the settled profiles of `RunnerProfiles`."""
    common = {"pool": "pool", "image": "image:x"}
    given = [{"name": f"p{place}"} | common | profile for place, profile in enumerate(written)]
    return settings(RunnerProfiles=json.dumps(given), **changes).profiles


def task(profile: Profile) -> RunnerTask:
    """Return a task of the profile."""
    return RunnerTask(
        task_id="runner-1-1",
        pool=profile.pool,
        account="acme",
        display_name="a job",
        image=profile.image,
        os=profile.os,
        run_options=profile.run_options,
        slots=1,
        max_hours=7,
        environment={**profile.environment, "GHR_TOKEN": "s3cret"},
        launch=profile.launch,
    )


def test_the_profile_stands_above_the_default() -> None:
    """`RunnerEnvironment` holds for all profiles, and a profile's own variables are laid over it."""
    default = json.dumps({"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": ".corp"})
    plain, own = profiles({}, {"environment": {"NO_PROXY": "*", "TEAM": "gpu"}}, RunnerEnvironment=default)
    assert plain.environment == {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": ".corp"}
    assert own.environment == {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": "*", "TEAM": "gpu"}
    assert {profile.environment["NO_PROXY"] for profile in settings(RunnerEnvironment=default).profiles} == {".corp"}


def test_the_functions_own_proxy_is_not_the_runners() -> None:
    """`HTTPS_PROXY` is for the function: runners get what `RunnerEnvironment` says."""
    assert profiles({}, HTTPS_PROXY="http://proxy.corp:3128")[0].environment == {}


@pytest.mark.parametrize(
    "name",
    [
        "GHR_TOKEN", "ghr_url", "ActionsRunner_TOKEN", "ACTIONSRUNNER_URL", "AZ_BATCH_NODE_ID", "az_batch_",
        "ACTIONS_RUNNER_INPUT_TOKEN", "Actions_Runner_Input_Url", "", "1A", "A-B", "A B", "A=B", "A\n",
    ],
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    """The runner's own variables, and what is no name of a variable, are refused in a profile and as a default."""
    with pytest.raises(ValidationError):
        ProfileSetting(name="p", pool="p", image="i", environment={name: "x"})
    with pytest.raises(SettingsError) as caught:
        settings(RunnerEnvironment=json.dumps({name: "x"}))
    assert caught.value.problems[0][0].startswith("RunnerEnvironment")


@pytest.mark.parametrize("value", ["two\nlines", "bell\a", "nul\0", "x" * 2001])
def test_values_that_are_refused(value: str) -> None:
    """A value is one line of a reasonable length; the error does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        profiles({"environment": {"A": value}})
    assert value not in str(caught.value)


@pytest.mark.parametrize("default", ['"text"', "[]", "{", '{"A": 1}', '{"A": null}'])
def test_what_is_no_object_of_texts(default: str) -> None:
    """`RunnerEnvironment` is a JSON object of texts."""
    with pytest.raises(SettingsError) as caught:
        settings(RunnerEnvironment=default)
    assert caught.value.problems[0][0].startswith("RunnerEnvironment")


@pytest.mark.parametrize("name", ["DOCKER_HOST", "docker_config", "PATH", "Path"])
def test_what_would_mislead_docker(name: str) -> None:
    """A task that calls Docker itself does so with its own variables, so none of them may be Docker's."""
    by_docker = {"launch": "docker", "environment": {name: "x"}}
    for read, setting in (
        (lambda: profiles(by_docker), "RunnerProfiles"),
        (lambda: profiles({"launch": "docker"}, RunnerEnvironment=json.dumps({name: "x"})), "RunnerEnvironment"),
        (lambda: settings(WindowsLaunch="docker", RunnerEnvironment=json.dumps({name: "x"})), "RunnerEnvironment"),
    ):
        with pytest.raises(SettingsError, match="PATH or DOCKER_") as caught:
            read()
        assert [problem[0] for problem in caught.value.problems] == [setting]
    assert profiles(by_docker | {"launch": "batch"})[0].environment == {name: "x"}


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_both_launches_hand_over_every_value_as_it_is(variables: dict[str, str]) -> None:
    """Blanks, quotes and dollars reach the container, and stand in no command line."""
    by_batch, by_docker = profiles({"environment": variables}, {"environment": variables, "launch": "docker"})
    expected = {**variables, "GHR_TOKEN": "s3cret"}
    options = task_options(task(by_batch), "j")
    assert {one["name"]: one["value"] for one in options["environmentSettings"]} == expected
    command = docker_command(task(by_docker))
    assert container_environment(command, docker_environment(task(by_docker))) == expected
    assert shlex.split(command) == command.split(" ")


def test_the_nodes_authorities() -> None:
    """With `MountCaCertificates` each container gets the node's folder, to read, and programs are told of it."""
    own = {"runOptions": "--cpus 2", "environment": {"SSL_CERT_FILE": "/mine"}}
    linux, windows, changed = profiles({}, {"os": "windows"}, own, MountCaCertificates="true")
    assert linux.run_options == "--volume /etc/runner-ca:/etc/runner-ca:ro"
    assert set(linux.environment.values()) == {"/etc/runner-ca/ca-bundle.pem"}
    assert {"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "GIT_SSL_CAINFO"} <= set(linux.environment)
    assert windows.run_options == r"--volume C:\runner-ca:C:\runner-ca:ro"
    assert windows.environment == {"NODE_EXTRA_CA_CERTS": r"C:\runner-ca\ca-bundle.pem"}
    assert changed.run_options == "--volume /etc/runner-ca:/etc/runner-ca:ro --cpus 2"
    assert changed.environment["SSL_CERT_FILE"] == "/mine"
    container = task_options(task(linux), "j")["containerSettings"]
    assert container["containerRunOptions"] == "--rm --volume /etc/runner-ca:/etc/runner-ca:ro"
    assert profiles({})[0].run_options == ""
