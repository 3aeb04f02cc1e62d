"""Which repositories GitHub lists of an account."""

import functools
import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.repositories import Repositories
from orchestrator.github.session import GitHubSession
from orchestrator.runners.installed import ListedRepository
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub

ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)


@pytest.fixture
def repositories(github_url: str) -> Repositories:
    """Return the lists as a token sees them."""
    return Repositories(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_sandbox")))


def names(listed: list[ListedRepository]) -> list[str]:
    """Return their names."""
    return [each.full_name for each in listed]


def test_of_an_installation(github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
    """An App sees those that it was given, over all pages, and is not told of the others."""
    app = github.add_app(app_keys[1])
    for number in range(150):
        github.add_repository(f"acme/r-{number}", private=number != 1)
    installation = github.install(app, "acme", repositories=[f"acme/r-{number}" for number in range(120)])
    client = GitHubClient(github_url)
    lists = Repositories(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
    listed = lists.all(ScopeAccess(Scope("organization", "acme"), installation.id))
    assert names(listed) == [f"acme/r-{number}" for number in range(120)]
    assert [each.full_name for each in listed if each.is_public] == ["acme/r-1"]


def test_of_an_organization(github: GitHub, repositories: Repositories) -> None:
    """A token sees an organization's, the one with the last push first."""
    now = github.clock()
    for name in ("acme/quiet", "acme/old", "acme/new", "other/app"):
        github.add_repository(name)
    for name, ago in (("acme/old", 7200), ("acme/new", 60)):
        github.clock = functools.partial(float.__sub__, now, float(ago))
        github.queue_job(name, ("linux",))
    github.clock = lambda: now
    assert names(repositories.all(ORGANIZATION)) == ["acme/new", "acme/old", "acme/quiet"]
    since = datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    assert names(repositories.pushed_since(ORGANIZATION, since)) == ["acme/new"]


def test_pages(github: GitHub, repositories: Repositories) -> None:
    """Only as many pages are read as there were pushes; an unchanged one costs nothing."""
    for number in range(150):
        github.add_repository(f"acme/r-{number}")
    assert len(repositories.all(ORGANIZATION)) == 150
    github.recorder.clear()
    assert repositories.pushed_since(ORGANIZATION, datetime.now(UTC)) == []
    assert github.recorder.statuses == [304]


def test_what_runs_nothing(github: GitHub, repositories: Repositories) -> None:
    """Archived and disabled repositories are left out; one that nobody has pushed to is not."""
    entries = [
        {"full_name": "acme/archived", "archived": True},
        {"full_name": "acme/disabled", "disabled": True},
        {"full_name": "acme/empty", "private": True, "pushed_at": None},
    ]
    github.faults.add(Fault("status", status=200, body=json.dumps(entries)))
    found = repositories.pushed_since(ORGANIZATION, datetime.now(UTC))
    assert found == [ListedRepository("acme/empty", is_public=False, pushed_at=None)]


def test_no_organization(github: GitHub, repositories: Repositories) -> None:
    """A user has no such list: GitHub refuses it."""
    github.add_repository("mona/app", owner_type="User")
    with pytest.raises(GitHubRefused, match="404"):
        repositories.all(ScopeAccess(Scope("organization", "mona"), None))


@pytest.mark.parametrize("body", ["{}", "null", "[1]", '[{"id": 1}]', '[{"full_name": "a/b", "pushed_at": "x"}]'])
def test_another_shape(github: GitHub, repositories: Repositories, body: str) -> None:
    """An answer of another shape is transient trouble and no empty list."""
    github.faults.add(Fault("status", status=200, body=body))
    with pytest.raises(TransientError, match="answer"):
        repositories.all(ORGANIZATION)
