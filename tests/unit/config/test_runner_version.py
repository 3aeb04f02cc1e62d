"""Which versions of the runner are started."""

import json
import logging

import pytest

from orchestrator.config.runner_version import MINIMUM, PINNED, is_behind, require_accepted
from orchestrator.config.settings import Settings
from orchestrator.errors import SettingsError
from tests.builders import settings
from tests.unit.runners.fakes import Registry, TaskList, provision

GPU = {"name": "gpu", "labels": ["gpu"], "pool": "p", "image": "gpu:1"}


def start(configured: Settings, *labels: str) -> TaskList:
    """Start a job's runner; return the tasks."""
    tasks = TaskList()
    provision(Registry(), tasks, "self-hosted", *labels, configured=configured)
    return tasks


@pytest.mark.parametrize("version", ["2.328.9", "1.999.0", "2.9.0"])
def test_below_the_minimum(version: str) -> None:
    """Versions compare by number, and one below the minimum is refused by the setting's name."""
    with pytest.raises(SettingsError, match=rf"^RunnerVersion: is below {MINIMUM}") as refused:
        require_accepted(version, "RunnerVersion")
    assert version not in str(refused.value)


@pytest.mark.parametrize(("version", "behind"), [(MINIMUM, True), (PINNED, False), ("2.1000.0", False)])
def test_at_least_the_minimum(version: str, behind: bool) -> None:
    """The minimum is enough; what is older than this release's own is known to be behind."""
    require_accepted(version, "RunnerVersion")
    assert is_behind(version) is behind


def test_an_image_that_github_refuses_is_not_started() -> None:
    """A recorded version below the minimum stops the start before anything is registered."""
    with pytest.raises(SettingsError, match=r"^RunnerVersion: "):
        start(settings(RunnerVersion="2.320.0"))


def test_a_profiles_own_version() -> None:
    """A profile's version wins over the setting, in both directions, and its error names the profile."""
    old, new = GPU | {"runnerVersion": "2.320.0"}, GPU | {"runnerVersion": PINNED}
    with pytest.raises(SettingsError, match=r"^RunnerProfiles\[gpu\]\.runnerVersion: "):
        start(settings(RunnerProfiles=json.dumps([old])), "gpu")
    assert start(settings(RunnerProfiles=json.dumps([new]), RunnerVersion="2.320.0"), "gpu").added


def test_a_warning_before(caplog: pytest.LogCaptureFixture) -> None:
    """An image that is behind starts, with a warning in the log; a current one says nothing."""
    with caplog.at_level(logging.WARNING):
        assert start(settings()).added
        assert caplog.text == ""
        assert start(settings(RunnerVersion="2.330.0")).added
    assert "RunnerVersion: 2.330.0 is behind" in caplog.text


@pytest.mark.parametrize("version", ["latest", "2.330", "v2.330.0", "2.330.0-beta"])
def test_not_a_version(version: str) -> None:
    """Anything but three numbers is a wrong setting."""
    with pytest.raises(SettingsError, match="RunnerVersion"):
        settings(RunnerVersion=version)
