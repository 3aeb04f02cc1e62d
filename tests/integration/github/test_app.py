"""Where a GitHub App is installed, and for what."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.app import GitHubApp
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.accounts import AppOwner
from orchestrator.runners.installed import Installed
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.access import Installation

REPOSITORY = "acme/app"
ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)
LABELS = ("self-hosted", "linux")
LISTING = "/orgs/acme/actions/runners"


class TestInstallations:
    """`GitHubApp.installations`."""

    @pytest.fixture
    def client(self, github_url: str) -> GitHubClient:
        """Return a client."""
        return GitHubClient(github_url)

    @pytest.fixture
    def credential(self, github: GitHub, client: GitHubClient, app_keys: tuple[str, str]) -> AppCredential:
        """Return the credential of an App that is installed nowhere yet."""
        self.app = github.add_app(app_keys[1])
        return AppCredential(client, str(self.app.id), app_keys[0])

    @pytest.fixture
    def installed(self, client: GitHubClient, credential: AppCredential) -> GitHubApp:
        """Return the App."""
        return GitHubApp(GitHubSession(client, credential, background=True))

    @pytest.fixture
    def install(self, github: GitHub, installed: GitHubApp) -> Callable[..., Installation]:  # noqa: ARG002
        """Return what installs it on an account with so many repositories."""

        def install(account: str, count: int, **more: Any) -> Installation:
            for number in range(count):
                github.add_repository(f"{account}/r-{number}", owner_type=more.get("account_type", "Organization"))
            return github.install(self.app, account, **more)

        return install

    def test_where(self, installed: GitHubApp, install: Callable[..., Installation]) -> None:
        """The App's installations can be listed: those on organizations and on users."""
        one, two = install("o", 0), install("mona", 0, account_type="User")
        install("big", 0, account_type="Enterprise")
        assert installed.installations() == [Installed(one.id, "o", True), Installed(two.id, "mona", False)]

    def test_suspended(self, github: GitHub, installed: GitHubApp, install: Callable[..., Installation]) -> None:
        """One that is suspended is not asked; the others are."""
        github.suspend(install("o", 1))
        other = install("p", 1)
        assert [each.id for each in installed.installations()] == [other.id]
        assert 403 not in github.recorder.statuses

    def test_enterprise(self, installed: GitHubApp, install: Callable[..., Installation]) -> None:
        """One on an enterprise, whose account has no login and which has no repositories, hides none of the others."""
        install("big", 0, account_type="Enterprise")
        other = install("o", 1)
        assert [each.id for each in installed.installations()] == [other.id]

    def test_many(self, github: GitHub, installed: GitHubApp, install: Callable[..., Installation]) -> None:
        """Installations are read over all pages."""
        for number in range(101):
            github.suspend(install(f"o-{number}", 0))
        last = install("p", 1)
        assert [each.id for each in installed.installations()] == [last.id]

    def test_trouble(self, github: GitHub, installed: GitHubApp, install: Callable[..., Installation]) -> None:
        """Trouble is an error and no shorter list."""
        install("o", 1)
        github.faults.add(Fault("status", "GET /app/installations", status=502))
        with pytest.raises(TransientError, match="502"):
            installed.installations()

    @pytest.mark.parametrize(
        "body", ["{}", "null", '[{"id": 1}]', '[{"id": 1, "account": {"login": null}}]', '[{"account": null}]', ""]
    )
    def test_another_shape(self, github: GitHub, installed: GitHubApp, body: str) -> None:
        """An answer of another shape is transient trouble and no empty list."""
        github.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(TransientError, match="holds no installations"):
            installed.installations()

    def test_without_end(self, github: GitHub, client: GitHubClient, credential: AppCredential) -> None:
        """A server that always links a next page is not asked without end."""
        installed = GitHubApp(GitHubSession(client, credential, most_pages=3))
        link = f'<{github.url}/app/installations?page=2>; rel="next"'
        github.faults.add(Fault("status", times=None, status=200, headers={"Link": link}, body="[]"))
        with pytest.raises(TransientError, match="no end"):
            installed.installations()
        assert github.faults.hits == 3

    def test_wrong_key(self, client: GitHubClient, app_keys: tuple[str, str]) -> None:
        """An App that GitHub does not know is an error that shows nothing of the key."""
        with pytest.raises(GitHubRefused) as caught:
            GitHubApp(GitHubSession(client, AppCredential(client, "4711", app_keys[0]))).installations()
        assert "eyJ" not in str(caught.value)


class TestOwner:
    """`GitHubApp.owner`."""

    @pytest.mark.parametrize(
        ("kind", "owner"),
        [
            ("Organization", AppOwner("account", "acme")),
            ("User", AppOwner("account", "acme")),
            ("Enterprise", AppOwner("enterprise", "acme")),
        ],
    )
    def test_who(self, github: GitHub, github_url: str, app_keys: tuple[str, str], kind: Any, owner: AppOwner) -> None:
        """An App belongs to an organization or a user, which have a login, or to an enterprise, which has a slug."""
        app = github.add_app(app_keys[1], owner="acme", owner_type=kind)
        client = GitHubClient(github_url)
        assert GitHubApp(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0]))).owner() == owner

    @pytest.mark.parametrize(
        "body",
        [
            "{}", "null", "[]", '{"owner": null}', '{"owner": {"id": 1}}', '{"owner": 7}', '{"owner": {"login": null}}',
            '{"owner": {"slug": 7}}',
        ],
    )  # fmt: skip
    def test_another_shape(self, github: GitHub, github_url: str, app_keys: tuple[str, str], body: str) -> None:
        """An answer that names no owner is transient trouble, and nobody is taken for the owner."""
        app = github.add_app(app_keys[1])
        client = GitHubClient(github_url)
        github.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(TransientError, match="names no owner"):
            GitHubApp(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0]))).owner()
