"""What is reported once a day: strange installations, and groups that admit more than the settings."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.jobs.accounts import AccountRule, AppOwner
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.boundary_watch import REPORTED_EVERY, BoundaryWatch
from orchestrator.runners.installed import Installed
from orchestrator.runners.notes import Origin
from orchestrator.runners.runner_group import RunnerGroup
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings, task_state

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CLOSED = RunnerGroup(
    "Default", is_default=True, visibility="selected", admits_public=False, restricted_to_workflows=False
)
OPEN = RunnerGroup("Default", is_default=True, visibility="all", admits_public=True, restricted_to_workflows=True)
ACME = AccountRule.of_owner(AppOwner("account", "acme"), frozenset())

type Lines = list[tuple[str, dict[str, Any]]]


def task(account: str = "acme", **changes: Any) -> TaskState:
    """Return a task of an account's job."""
    repository = queued_job()["repository"] | {"full_name": f"{account}/app", "owner": {"login": account}}
    about = {"repository": repository, "organization": {"login": account}} | changes
    event = workflow_job_event(json.dumps(queued_job(**about)).encode())
    return task_state("runner-1-1", "batchLinux", "finished", NOW, origin=Origin(event=event, profile="ubuntu-latest"))


class World:
    """A watch, and a GitHub that answers it.

    Attributes:
        rule: which accounts are admitted, or what is raised.
        installations: where the App is installed, or what is raised.
        groups: those of every organization, None where they may not be asked.
        asked: the organizations that were asked for their groups.
        chosen: the repositories of a group that admits chosen ones, or what is raised.
    """

    def __init__(self, **changes: str) -> None:
        self.rule: AccountRule | TransientError = ACME
        self.installations: Sequence[Installed] | TransientError = []
        self.found: Sequence[RunnerGroup] | None = [CLOSED]
        self.asked: list[str] = []
        self.now = NOW
        self.chosen: Sequence[str] | UpstreamError = []
        self.watch = BoundaryWatch(settings(**changes), self, self.installed, self.repositories)

    def run(self, *tasks: TaskState) -> None:
        """Make a pass."""
        self.watch.run(tasks, self.now)

    def account_rule(self, events: Iterable[WorkflowJobEvent] = ()) -> AccountRule:
        """Return which accounts are admitted."""
        assert all(event.workflow_job.id for event in events)
        if isinstance(self.rule, TransientError):
            raise self.rule
        return self.rule

    def groups(self, access: ScopeAccess) -> Sequence[RunnerGroup] | None:
        """Return the groups of an organization."""
        self.asked.append(f"{access.scope} by {access.installation}")
        return self.found

    def repositories(self, access: ScopeAccess, group: RunnerGroup) -> Sequence[str]:
        """Return the repositories that were chosen for a group."""
        assert (access.scope.name, group.visibility) == ("acme", "selected")
        if isinstance(self.chosen, UpstreamError):
            raise self.chosen
        return self.chosen

    def installed(self) -> Sequence[Installed]:
        """Return where the App is installed."""
        if isinstance(self.installations, TransientError):
            raise self.installations
        return self.installations


@pytest.fixture
def world() -> World:
    """Return an App of acme's, installed nowhere else, without any tasks."""
    return World()


class TestInstallations:
    """Where the App is installed."""

    def test_a_stranger(self, world: World, log_lines: Lines) -> None:
        """An installation on an account that is not admitted is critical: at once, and then once a day."""
        world.installations = [Installed(7, "acme", True), Installed(8, "evil-corp", True)]
        for _ in range(3):
            world.run()
        ((level, fields),) = log_lines
        assert (level, fields["installation"], fields["account"]) == ("CRITICAL", 8, "evil-corp")
        assert "AllowedOrganizations" in fields["reason"]
        assert fields["pass"] == "boundary"
        world.now += REPORTED_EVERY
        world.run()
        assert [level for level, _ in log_lines] == ["CRITICAL"] * 2
        assert "organization evil-corp by 8" not in world.asked

    def test_an_enterprise(self, world: World, log_lines: Lines) -> None:
        """Where an enterprise owns the App, an account that no delivery has told of yet is no alarm."""
        world.rule = AccountRule.of_owner(AppOwner("enterprise", "big"), frozenset({"acme"}))
        world.installations = [Installed(7, "acme", True), Installed(8, "other", True)]
        world.run()
        assert [(level, line["account"]) for level, line in log_lines] == [("INFO", "other")]

    def test_trouble(self, world: World, log_lines: Lines) -> None:
        """What cannot be asked is left for the next pass, and said."""
        world.installations = TransientError("502")
        world.run()
        world.installations = [Installed(8, "evil-corp", True)]
        world.run()
        assert [level for level, _ in log_lines] == ["WARNING", "CRITICAL"]
        assert log_lines[0][1] == {"pass": "boundary", "result": "skipped", "what": "installations", "reason": "502"}

    def test_the_owner_is_unknown(self, world: World, log_lines: Lines) -> None:
        """While nobody knows who is a stranger, nobody is called one and nothing else is asked."""
        world.rule = TransientError("502")
        world.installations = [Installed(8, "evil-corp", True)]
        world.run(task())
        assert log_lines == [("WARNING", {"pass": "boundary", "result": "skipped", "reason": "502"})]
        assert world.asked == []


class TestGroups:
    """What the groups of the profiles admit."""

    def test_which_are_asked(self, world: World) -> None:
        """Organizations with an installation or tasks are asked once a day; users, strangers and old tasks are not."""
        world.installations = [Installed(7, "acme", True), Installed(9, "mona", False), Installed(8, "evil-corp", True)]
        world.rule = AccountRule(frozenset({"acme", "mona", "other"}))
        without_origin = task_state("runner-2-1", "batchLinux", "finished", NOW)
        tasks = [task("other"), task("acme"), task("evil-corp"), task("mona", organization=None), without_origin]
        for _ in range(2):
            world.run(*tasks)
        assert world.asked == ["organization acme by 7", "organization other by None"]
        world.now += timedelta(days=1)
        world.run()
        assert world.asked[2:] == ["organization acme by 7"]

    def test_repository_scope(self) -> None:
        """Where runners belong to their repository, no group is asked."""
        world = World(RunnerScope="repository")
        world.installations = [Installed(7, "acme", True)]
        world.run(task())
        assert world.asked == []

    def test_as_the_settings_say(self, world: World, log_lines: Lines) -> None:
        """Nothing is said of a group that admits no more than the settings."""
        world.run(task())
        assert log_lines == []

    def test_more_than_the_settings(self, log_lines: Lines) -> None:
        """A group that admits more than the settings is a warning, and so is one that admits chosen workflows only."""
        world = World(AllowedRepositories="acme/app")
        world.found = [OPEN]
        world.run(task())
        assert [level for level, _ in log_lines] == ["WARNING"] * 3
        messages = [line["message"] for _, line in log_lines]
        assert all(message.startswith("the default runner group of organization acme admits ") for message in messages)
        for message, setting in zip(
            messages, ("AllowPublicRepositories", "AllowedRepositories", "chosen"), strict=True
        ):
            assert setting in message

    def test_no_more_than_the_settings(self, log_lines: Lines) -> None:
        """A group for all repositories is right where the settings admit all of the organization's."""
        world = World(AllowedRepositories="acme/*", AllowPublicRepositories="true")
        world.found = [RunnerGroup("Default", True, "all", True, False)]
        world.run(task())
        assert log_lines == []

    @pytest.mark.parametrize(
        ("glob", "visibility", "is_said"),
        [("acme/app", "all", True), ("acme/app", "selected", False), ("acme/*", "all", False)],
    )
    def test_more_than_a_profile(self, log_lines: Lines, glob: str, visibility: str, *, is_said: bool) -> None:
        """A group that admits more repositories than its profile serves is a warning."""
        profile = {"name": "own", "labels": ["own"], "pool": "p", "image": "i", "runnerGroup": "Own"}
        world = World(RunnerProfiles=json.dumps([profile | {"repositories": [glob]}]))
        world.found = [RunnerGroup("Own", False, visibility, False, False)]
        world.run(task())
        assert [(level, "(repositories)" in line["message"]) for level, line in log_lines] == [
            ("WARNING", True)
        ] * is_said

    @pytest.mark.parametrize("by_profile", [False, True])
    @pytest.mark.parametrize(
        ("chosen", "said"),
        [
            (["acme/app", "Acme/Lib-1"], None),
            ([], None),
            (["acme/app", "acme/Untrusted"], "such as acme/Untrusted"),
            (GitHubRefused("403", 403), "perhaps (GitHub does not say which it admits: 403)"),
        ],
    )
    def test_chosen_repositories(
        self, log_lines: Lines, chosen: list[str] | UpstreamError, said: str | None, *, by_profile: bool
    ) -> None:
        """Of a group that admits chosen repositories GitHub tells which these are: they are held against the rules."""
        own = {"name": "own", "labels": ["own"], "pool": "p", "image": "i", "repositories": ["acme/app", "acme/lib-*"]}
        rule = {"RunnerProfiles": json.dumps([own])} if by_profile else {"AllowedRepositories": "acme/app, acme/lib-*"}
        world = World(**rule)
        world.chosen = chosen
        for _ in range(2):
            world.run(task())
        setting = "its profile does not serve (repositories)" if by_profile else "AllowedRepositories does not name"
        expected = f"admits repositories that {setting}, {said}: their jobs may take any runner of it"
        assert [(level, line["message"]) for level, line in log_lines] == (
            [] if said is None else [("WARNING", f"the default runner group of organization acme {expected}")]
        )

    def test_chosen_repositories_that_cannot_be_asked_now(self, log_lines: Lines) -> None:
        """While GitHub does not tell them, nothing is said of the groups, and the next pass asks again."""
        world = World(AllowedRepositories="acme/app")
        world.found = [replace(CLOSED, admits_public=True)]
        world.chosen = TransientError("502")
        world.run(task())
        world.chosen = []
        world.run(task())
        assert [line.get("reason", "public" in line.get("message", "")) for _, line in log_lines] == ["502", True]

    def test_no_such_group(self, log_lines: Lines) -> None:
        """A group that does not exist is said, for each group of a profile once."""
        world = World(RunnerGroup="Batch")
        world.run(task())
        ((level, line),) = log_lines
        assert (level, line["message"].partition(":")[0]) == (
            "WARNING",
            "the runner group Batch of organization acme does not exist",
        )

    def test_not_to_be_asked(self, world: World, log_lines: Lines) -> None:
        """Where the credentials may not ask, nothing more is said: the boundary has said so."""
        world.found = None
        world.run(task())
        assert log_lines == []
