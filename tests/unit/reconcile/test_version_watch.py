"""A runner that GitHub will soon refuse is reported once a day."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.config.runner_version import PINNED
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.reconcile.version_watch import ASKED_EVERY, VersionWatch
from orchestrator.runners.installed import Installed
from orchestrator.runners.notes import Origin
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState
from orchestrator.runners.version_dates import VersionDates
from tests.builders import queued_job, settings, task_state
from tests.logs import lines

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def task(account: str = "acme") -> TaskState:
    """Return a task of an account's job."""
    event = workflow_job_event(json.dumps(queued_job(organization={"login": account})).encode())
    return task_state("runner-1-1", "batchLinux", "finished", NOW, origin=Origin(event=event, profile="ubuntu-latest"))


class World:
    """A watch, and a GitHub that answers it.

    Attributes:
        left: the time until the version's end; None for no end.
        errors: what is raised where a scope is asked.
        asked: the questions.
    """

    def __init__(self, **changes: str) -> None:
        self.left: timedelta | None = None
        self.errors: dict[str, UpstreamError] = {}
        self.asked: list[str] = []
        self.installed: Sequence[Installed] = ()
        self.now = NOW
        self.watch = VersionWatch(settings(**changes), self.dates, lambda: self.installed)

    def run(self, *tasks: TaskState) -> None:
        """Make a pass."""
        self.watch.run(tasks, self.now)

    def dates(self, access: ScopeAccess, version: str) -> VersionDates:
        """Tell the dates of a version."""
        self.asked.append(f"{version} in {access.scope}")
        if access.scope.name in self.errors:
            raise self.errors[access.scope.name]
        return VersionDates(version, runtime_ends=None if self.left is None else self.now + self.left)


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    """Return a watch whose lines are all seen."""
    caplog.set_level("INFO")
    return World()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    """Return the level and the result of each line."""
    assert all(line["pass"] == "runner version" for _, line in lines(caplog))
    return [(level, line["result"]) for level, line in lines(caplog)]


@pytest.mark.parametrize(
    ("days", "expected"), [(14, []), (13, [("WARNING", "expires")]), (2, [("CRITICAL", "expires")])]
)
def test_levels(world: World, caplog: pytest.LogCaptureFixture, days: int, expected: list[tuple[str, str]]) -> None:
    """Two weeks before the end is a warning, three days before it an alarm."""
    world.left = timedelta(days=days)
    world.run(task())
    assert said(caplog) == expected
    assert all(PINNED in line["reason"] for _, line in lines(caplog))


def test_once_a_day(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """GitHub is asked in the first pass and a day later, whatever it said."""
    world.left = timedelta(days=5)
    world.run(task())
    world.run(task())
    assert world.asked == [f"{PINNED} in organization acme"]
    world.now += ASKED_EVERY
    world.run(task())
    assert said(caplog) == [("WARNING", "expires")] * 2


def test_each_version_of_a_profile() -> None:
    """Each version that a profile names is asked after, once."""
    world = World(
        RunnerProfiles=json.dumps(
            [
                {"name": name, "pool": "p", "image": "r.io/i", "runnerVersion": version}
                for name, version in (("a", "2.330.0"), ("b", "2.331.0"), ("c", "2.330.0"))
            ]
        )
    )
    world.run(task())
    assert world.asked == ["2.330.0 in organization acme", "2.331.0 in organization acme"]


def test_a_refusal(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where one scope may not be asked, the next one is; if none may, that is said, and tried again the next day."""
    world.errors["acme"] = GitHubRefused("404", 404)
    world.run(task(), task("umbrella"))
    assert (world.asked[1:], said(caplog)) == ([f"{PINNED} in organization umbrella"], [])
    world.errors["umbrella"] = GitHubRefused("403", 403)
    world.now += ASKED_EVERY
    world.run(task(), task("umbrella"))
    world.run(task(), task("umbrella"))
    assert said(caplog) == [("INFO", "skipped")]


def test_silence(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where GitHub does not answer, the next pass asks again."""
    world.errors["acme"] = TransientError("503")
    world.run(task())
    del world.errors["acme"]
    world.run(task())
    assert (len(world.asked), said(caplog)) == (2, [("WARNING", "skipped")])


def test_no_scope_yet(world: World) -> None:
    """Before the first job the App's installations say where to ask; without any, a later pass asks."""
    world.run()
    assert world.asked == []
    world.installed = [Installed(1, "acme", is_organization=True)]
    world.run()
    assert world.asked == [f"{PINNED} in organization acme"]
