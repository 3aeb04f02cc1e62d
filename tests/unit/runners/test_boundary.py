"""Which jobs may have no runner, as far as GitHub must be asked."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.jobs.accounts import AppOwner
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.boundary import GROUPS_KEPT_FOR, OWNER_KEPT_FOR, REFUSED_BY_ANSWERS_OF, Boundary
from orchestrator.runners.runner_group import RunnerGroup
from orchestrator.runners.scope import Scope, ScopeAccess
from tests.builders import private_key, queued_job, settings
from tests.fakes import ManualClock
from tests.logs import line, lines

APP = {
    "GithubToken": "",
    "GithubAppId": "1",
    "GithubAppPrivateKey": private_key(),
}
DEFAULT = RunnerGroup("Default", True, "all", False, False)
BATCH = RunnerGroup("Batch", False, "selected", True, False)


def event(account: str = "acme", **changes: Any) -> WorkflowJobEvent:
    """Return a queued job of an account."""
    repository = queued_job()["repository"] | {"full_name": f"{account}/app", "owner": {"login": account}}
    return workflow_job_event(
        json.dumps(queued_job(**{"repository": repository, "organization": {"login": account}} | changes)).encode()
    )


class World:
    """A boundary, and a GitHub that answers it.

    Attributes:
        owner: of the App; None where GitHub is called with a token.
        groups: those that are visible to any repository.
        trouble: what GitHub answers instead.
        asked: what it was asked.
    """

    def __init__(self, owner: AppOwner | None = None, **changes: str) -> None:
        self.settings: Settings = settings(**changes)
        self.clock = ManualClock()
        self.owner = owner
        self.groups: Sequence[RunnerGroup] = [DEFAULT, BATCH]
        self.trouble: UpstreamError | None = None
        self.asked: list[str] = []
        self.boundary = Boundary(
            self.settings,
            ask_owner=self.ask_owner if owner else None,
            ask_groups=self.ask_groups,
            clock=self.clock,
        )

    def ask_owner(self) -> AppOwner:
        """Tell whose the App is."""
        self._answer("owner")
        assert self.owner is not None
        return self.owner

    def ask_groups(self, access: ScopeAccess, repository: str | None) -> Sequence[RunnerGroup]:
        """Tell the groups."""
        self._answer(f"groups of {access.scope} for {repository}")
        return self.groups

    def refusal(self, job: WorkflowJobEvent) -> str | None:
        """Ask why a job may have no runner."""
        return self.boundary.refusal(job, self.settings.profiles[0])

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.trouble is not None:
            raise self.trouble


class TestAccounts:
    """Whose jobs may have runners."""

    def test_a_token(self) -> None:
        """With a token and no setting there is no rule, and nothing is asked."""
        world = World()
        assert world.boundary.account_refusal(event("anybody")) is None
        assert world.asked == []

    def test_the_owner_of_the_app(self) -> None:
        """With an App only its owner's jobs are served; GitHub is asked once a day."""
        world = World(AppOwner("account", "acme"), **APP)
        for _ in range(3):
            assert world.boundary.account_refusal(event()) is None
            assert "evil-corp" in str(world.boundary.account_refusal(event("evil-corp")))
        assert world.asked == ["owner"]
        world.clock.advance(OWNER_KEPT_FOR)
        world.boundary.account_refusal(event())
        assert world.asked == ["owner"] * 2

    def test_the_setting_wins(self) -> None:
        """With `AllowedOrganizations` the owner is of no interest and is not asked for."""
        world = World(AppOwner("account", "acme"), **APP, AllowedOrganizations="mona")
        assert world.boundary.account_refusal(event("mona")) is None
        assert "AllowedOrganizations" in str(world.boundary.account_refusal(event("acme")))
        assert world.asked == []

    def test_another_name(self) -> None:
        """An owner with a new name is not refused for a day: nobody is refused by an answer of some age."""
        world = World(AppOwner("account", "acme"), **APP)
        world.boundary.account_refusal(event())
        world.owner = AppOwner("account", "acme-inc")
        world.clock.advance(REFUSED_BY_ANSWERS_OF)
        assert world.boundary.account_refusal(event("acme-inc")) is None
        for _ in range(3):
            assert world.boundary.account_refusal(event()) is not None
        assert world.asked == ["owner"] * 2

    def test_unknown(self) -> None:
        """While nobody knows the owner, a job is neither served nor refused."""
        world = World(AppOwner("account", "acme"), **APP)
        world.trouble = TransientError("GitHub is not reachable")
        for account in ("acme", "evil-corp"):
            with pytest.raises(TransientError):
                world.refusal(event(account))

    def test_an_enterprise(self) -> None:
        """An account is known as the enterprise's once a delivery said so, and until one says otherwise."""
        world = World(AppOwner("enterprise", "Big"), **APP)
        boundary = world.boundary
        listed, named, moved = event(), event(enterprise={"slug": "big"}), event(enterprise={"slug": "other"})
        assert "AllowedOrganizations" in str(boundary.account_refusal(listed))
        assert boundary.account_refusal(named) is None
        assert boundary.account_refusal(listed) is None
        assert boundary.account_refusal(moved) is not None
        assert boundary.account_refusal(listed) is not None

    def test_an_enterprise_after_a_restart(self) -> None:
        """The tasks' jobs tell a new process which accounts are the enterprise's."""
        boundary = World(AppOwner("enterprise", "big"), **APP).boundary
        assert boundary.account_rule([event(enterprise={"slug": "big"}), event("mona")]).admits("acme")
        assert not boundary.account_rule().admits("mona")


class TestGroups:
    """Whether the runners' group admits a job's repository."""

    def test_admitted(self) -> None:
        """A repository that sees the group gets runners; GitHub is asked once an hour for each repository."""
        world = World(RunnerGroup="batch")
        for _ in range(3):
            assert world.refusal(event()) is None
        world.clock.advance(timedelta(minutes=59))
        assert world.refusal(event()) is None
        assert world.asked == ["groups of organization acme for app"]
        world.clock.advance(GROUPS_KEPT_FOR)
        assert world.refusal(event()) is None
        assert len(world.asked) == 2

    @pytest.mark.parametrize(
        ("group", "named"), [("Batch", "the runner group Batch"), ("", "the default runner group")]
    )
    def test_not_admitted(self, group: str, named: str) -> None:
        """A repository that does not see the group gets none, and the reason names the group."""
        world = World(RunnerGroup=group)
        world.groups = []
        refusal = str(world.refusal(event()))
        assert refusal.startswith(f"{named} of organization acme does not ")
        assert refusal.endswith("acme/app")

    def test_admitted_meanwhile(self) -> None:
        """Who adds the repository to the group need not wait for an hour."""
        world = World(RunnerGroup="Batch")
        world.groups = []
        assert world.refusal(event()) is not None
        world.groups = [BATCH]
        world.clock.advance(REFUSED_BY_ANSWERS_OF)
        assert world.refusal(event()) is None

    @pytest.mark.parametrize(("group", "admitted"), [("Batch", True), ("", False)])
    def test_public_repositories(self, group: str, admitted: bool) -> None:
        """A public repository gets a runner only of a group that admits public ones, even if it sees the group."""
        world = World(RunnerGroup=group, AllowPublicRepositories="true")
        public = event(repository=queued_job()["repository"] | {"private": False, "visibility": "public"})
        refusal = world.refusal(public)
        assert (refusal is None) == admitted
        assert admitted or "public" in str(refusal)

    @pytest.mark.parametrize("status", [403, 404])
    def test_it_may_not_be_asked(self, status: int, caplog: pytest.LogCaptureFixture) -> None:
        """Where the credentials may not ask, the runner starts; that is said once, and asked again after an hour."""
        world = World()
        world.trouble = GitHubRefused("Resource not accessible", status)
        for _ in range(3):
            assert world.refusal(event()) is None
        assert len(world.asked) == 1
        world.clock.advance(GROUPS_KEPT_FOR)
        assert world.refusal(event()) is None
        level, fields = line(caplog)
        assert (level, fields["reason"]) == ("WARNING", "Resource not accessible")
        assert "organization acme" in fields["message"]

    @pytest.mark.parametrize("trouble", [TransientError("502"), GitHubRefused("Bad credentials", 401)])
    def test_no_answer(self, trouble: UpstreamError) -> None:
        """Any other trouble is no permission."""
        world = World()
        world.trouble = trouble
        with pytest.raises(type(trouble)):
            world.refusal(event())

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"RunnerScope": "repository"}, "repository"),
            ({"RunnerScope": "enterprise", "GithubEnterprise": "big"}, "enterprise"),
        ],
    )
    def test_other_scopes(self, changes: dict[str, str], kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """Runners of a repository or an enterprise have no such group to ask: that is said once."""
        caplog.set_level("INFO")
        world = World(None, **changes)
        for _ in range(2):
            assert world.refusal(event()) is None
        assert world.asked == []
        assert [fields["message"].endswith(kind) for _, fields in lines(caplog)] == [True]

    def test_a_stranger_first(self) -> None:
        """No group is asked for an account that may have no runners: its installation is not used."""
        world = World(AppOwner("account", "acme"), **APP)
        assert world.refusal(event("evil-corp")) is not None
        assert world.asked == ["owner"]

    def test_all_groups(self) -> None:
        """All groups of an organization can be asked for, too."""
        world = World()
        assert world.boundary.groups(ScopeAccess(Scope("organization", "acme"), None)) == [DEFAULT, BATCH]
        assert world.asked == ["groups of organization acme for None"]
