"""What GitHub says of the set-up, as the real client asks the stand-in; none of it holds a key."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.errors import CredentialRejected, GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.runner_versions import RunnerVersions
from orchestrator.github.session import GitHubSession
from orchestrator.github.setup import GitHubSetup
from orchestrator.jobs.accounts import AppOwner
from orchestrator.reconcile.hook_delivery import APP_HOOK
from orchestrator.runners.installed import Installed
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.version_dates import VersionDates
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Scope as Place
from tests.contracts import CHECKER, assert_kept
from tests.waiting import until

ACME = ScopeAccess(Scope("organization", "acme"), None)
APP = ScopeAccess(Scope("repository", "acme/app"), None)
URL = "http://127.0.0.1:9/api/ProvideActionsRunner?code=s3cret"
END = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

type With = Callable[[str], GitHubSetup]


@pytest.fixture
def setup(session: GitHubSession) -> GitHubSetup:
    """Return what asks with a token that may do everything."""
    return GitHubSetup(session)


@pytest.fixture
def with_token(github_url: str) -> With:
    """Return what asks with another token."""
    return lambda token: GitHubSetup(GitHubSession(GitHubClient(github_url), PersonalToken(token)))


def test_tokens(github: GitHub, with_token: With) -> None:
    """The scopes and the end of a token stand in the headers of any answer."""
    github.access.add_token("classic", scopes=["repo", "admin:org"], expires_at=END.timestamp())
    github.access.add_token("bare", scopes=[])
    classic, bare, fine = (with_token(name).token() for name in ("classic", "bare", "ghp_sandbox"))
    assert (classic.scopes, classic.expires_at) == (frozenset({"repo", "admin:org"}), END)
    assert (bare.scopes, bare.expires_at) == (frozenset(), None)
    assert (fine.scopes, fine.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("header", "end"),
    [("2030-01-01 19:04:05 -0800", END), ("2030-01-02 03:04:05 UTC", END), ("soon", None), ("a b c", None)],
)
def test_how_an_end_is_written(github: GitHub, setup: GitHubSetup, header: str, end: datetime | None) -> None:
    """An end is read with whatever offset GitHub writes it; what is no time is left out."""
    headers = {"GitHub-Authentication-Token-Expiration": header, "Content-Type": "application/json"}
    github.faults.add(Fault("status", status=200, body="{}", headers=headers))
    assert setup.token().expires_at == end


def test_a_token_that_is_not_believed(with_token: With) -> None:
    """A token that GitHub does not know is told as a credential that was rejected."""
    with pytest.raises(CredentialRejected, match="GithubToken"):
        with_token("unknown").token()


def test_an_app(github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
    """An App's owner, permissions and events are read, and each of its installations."""
    private, public = app_keys
    app = github.add_app(public)
    github.install(app, "acme")
    github.add_hook(URL, "s", app=app)
    setup = GitHubSetup(GitHubSession(*_as_app(github_url, str(app.id), private)))
    found = setup.app()
    assert (found.owner, found.events) == (AppOwner("account", "acme"), frozenset({"workflow_job"}))
    assert found.permissions["organization_self_hosted_runners"] == "write"
    (installation,) = setup.installations()
    assert installation.installed == Installed(installation.installed.id, "acme", is_organization=True)
    assert (installation.permissions["actions"], installation.suspended) == ("read", False)
    (hook,) = setup.hooks(None)
    assert (hook.path, hook.host, hook.route) == (APP_HOOK, "127.0.0.1", "/api/ProvideActionsRunner")
    assert (hook.has_key, hook.is_https, hook.events, hook.verifies_tls) == (True, False, None, True)


def test_a_wrong_key(github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
    """An App whose key GitHub does not believe is told as a credential that was rejected."""
    app = github.add_app("no key")
    setup = GitHubSetup(GitHubSession(*_as_app(github_url, str(app.id), app_keys[0])))
    with pytest.raises(CredentialRejected, match="belong together"):
        setup.app()


def _as_app(url: str, app_id: str, key: str) -> tuple[GitHubClient, AppCredential]:
    client = GitHubClient(url)
    return client, AppCredential(client, app_id, key)


def test_suspended_and_enterprise_installations(github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
    """A suspended installation is told as such, and one on an enterprise has no account."""
    private, public = app_keys
    app = github.add_app(public)
    suspended = github.install(app, "acme")
    github.access.installations[suspended.id] = replace(suspended, suspended_at=0.0)
    enterprise = github.install(app, "corp")
    github.access.installations[enterprise.id] = replace(enterprise, account_type="Enterprise")
    found = GitHubSetup(GitHubSession(*_as_app(github_url, str(app.id), private))).installations()
    assert [(one.installed.account, one.suspended) for one in found] == [("acme", True), ("", False)]


def test_webhooks(github: GitHub, setup: GitHubSetup) -> None:
    """An organization's webhooks are read without the query of their address, which holds a key."""
    github.add_hook(URL, "s", scope=Place("organization", "acme"), events=frozenset({"push"}))
    (hook,) = setup.hooks(ACME)
    assert (hook.host, hook.route, hook.has_key) == ("127.0.0.1", "/api/ProvideActionsRunner", True)
    assert (hook.events, hook.active, hook.content_type) == (frozenset({"push"}), True, "json")
    assert "s3cret" not in repr(hook)
    assert setup.hooks(APP) == []


def test_an_address_that_is_none(github: GitHub, setup: GitHubSetup) -> None:
    """What is no address leads nowhere."""
    github.add_hook("http://[", "s", scope=Place("organization", "acme"))
    (hook,) = setup.hooks(ACME)
    assert (hook.host, hook.route) == ("", "")


def test_deliveries(github: GitHub, setup: GitHubSetup) -> None:
    """The latest deliveries of a webhook are read, back to a moment."""
    hook = github.add_hook(URL, "s", scope=Place("organization", "acme"))
    until(lambda: github.deliveries and github.deliveries[0].answer)
    path = f"/orgs/acme/hooks/{hook.id}"
    (ping,) = setup.deliveries(path, timedelta(days=1))
    assert (ping.event, ping.succeeded) == ("ping", False)
    assert setup.deliveries(path, timedelta(0)) == []


def test_runners(github: GitHub, setup: GitHubSetup, with_token: With) -> None:
    """Whoever may read a scope's runners has reached it; others are refused."""
    assert setup.runners(ACME) == 0
    github.access.add_token("none", permissions={})
    with pytest.raises(GitHubRefused, match="may the credentials do that for organization acme"):
        with_token("none").runners(ACME)


def test_version_dates(github: GitHub, session: GitHubSession) -> None:
    """GitHub's dates for a runner are read; both may be missing, or null."""
    versions = RunnerVersions(session)
    assert versions.dates(ACME, "2.338.0") == VersionDates("2.338.0")
    github.version_dates["2.330.0"] = {"runtime_deprecates_at": "2030-01-02T03:04:05Z"}
    github.version_dates["2.331.0"] = {"registration_deprecates_at": "2030-01-02T03:04:05"}
    assert versions.dates(APP, "2.330.0") == VersionDates("2.330.0", None, END)
    assert versions.dates(ACME, "2.331.0") == VersionDates("2.331.0", END, None)


@pytest.mark.parametrize("body", ["{}", '{"runner_version": "1.2.3", "runtime_deprecates_at": "soon"}', "[]", "7"])
def test_strange_dates(github: GitHub, session: GitHubSession, body: str) -> None:
    """An answer of another shape is no answer."""
    github.faults.add(Fault("status", status=200, body=body, headers={"Content-Type": "application/json"}))
    with pytest.raises(TransientError, match="no dates"):
        RunnerVersions(session).dates(ACME, "1.2.3")


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
def test_contract(github: GitHub, setup: GitHubSetup, tmp_path: Path) -> None:
    """What is sent, and what the stand-in answers, is as GitHub's schema has it, as far as it has it."""
    setup.token()
    setup.runners(ACME)
    assert_kept(github.recorder.exchanges, tmp_path)
