"""Runner groups of an organization."""

import json
from dataclasses import replace

import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import PersonalToken
from orchestrator.github.runner_groups import RunnerGroups
from orchestrator.github.session import GitHubSession
from orchestrator.runners.runner_group import RunnerGroup
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Scope as StandInScope

ACME = ScopeAccess(Scope("organization", "acme"), None)
DEFAULT = RunnerGroup(
    "Default", is_default=True, visibility="all", admits_public=False, restricted_to_workflows=False, id=1
)


@pytest.fixture
def groups(github: GitHub, session: GitHubSession) -> RunnerGroups:
    """Return the groups of organizations; `acme` has one for `acme/app`, which is public and for some workflows."""
    github.add_runner_group(StandInScope("organization", "acme"), "Batch", repositories=["acme/app"], restricted=True)
    return RunnerGroups(session)


def test_all(groups: RunnerGroups) -> None:
    """Every group of the organization, with what it admits."""
    batch = RunnerGroup("Batch", False, "selected", admits_public=True, restricted_to_workflows=True)
    default, found = groups.listed(ACME)
    assert (default, replace(found, id=0)) == (DEFAULT, batch)
    assert found.id > default.id


@pytest.mark.parametrize(("repository", "names"), [("app", ["Default", "Batch"]), ("other", ["Default"])])
def test_visible_to_a_repository(groups: RunnerGroups, repository: str, names: list[str]) -> None:
    """Only those that admit the repository."""
    assert [group.name for group in groups.listed(ACME, repository)] == names


def test_repositories(github: GitHub, groups: RunnerGroups) -> None:
    """The repositories that were chosen for a group, by their full names."""
    for number in range(101):
        github.add_repository(f"acme/r-{number}")
    github.add_repository("acme/app")
    names = ["acme/app", *(f"acme/r-{number}" for number in range(1, 101))]
    github.add_runner_group(StandInScope("organization", "acme"), "Many", repositories=names)
    _, batch, many = groups.listed(ACME)
    assert groups.repositories(ACME, batch) == ["acme/app"]
    assert sorted(groups.repositories(ACME, many)) == sorted(names)


@pytest.mark.parametrize("body", ["{}", '{"repositories": [{}]}', '{"repositories": [{"full_name": null}]}'])
def test_repositories_of_another_shape(github: GitHub, groups: RunnerGroups, body: str) -> None:
    """An answer of another shape is transient trouble and no empty list."""
    github.faults.add(Fault("status", status=200, body=body))
    with pytest.raises(TransientError, match="repositories"):
        groups.repositories(ACME, DEFAULT)


def test_without_the_right(github: GitHub, github_url: str) -> None:
    """Credentials that may not ask are told so."""
    github.add_token("ghp_repo_only", scopes=["repo"])
    groups = RunnerGroups(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_repo_only")))
    with pytest.raises(GitHubRefused) as caught:
        groups.listed(ACME)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("entry", "group"),
    [
        ({"id": 1, "name": "Default"}, RunnerGroup("Default", True, "", True, False, 1)),
        ({"id": 2, "name": "b", "visibility": None}, RunnerGroup("b", False, "None", True, False, 2)),
        (
            {"id": 2, "name": "b", "allows_public_repositories": False, "inherited_allows_public_repositories": True},
            RunnerGroup("b", False, "", True, False, 2),
        ),
    ],
)
def test_an_old_server(github: GitHub, groups: RunnerGroups, entry: object, group: RunnerGroup) -> None:
    """What a server does not say refuses nothing; what an enterprise's group admits is admitted."""
    github.faults.add(Fault("status", status=200, body=json.dumps({"total_count": 1, "runner_groups": [entry]})))
    assert groups.listed(ACME) == [group]


@pytest.mark.parametrize(
    "body", ["{}", '{"runner_groups": [{}]}', '{"runner_groups": [7]}', '{"runner_groups": [{"id": 2, "name": null}]}']
)
def test_another_shape(github: GitHub, groups: RunnerGroups, body: str) -> None:
    """An answer of another shape is transient trouble and no empty list."""
    github.faults.add(Fault("status", status=200, body=body))
    with pytest.raises(TransientError, match="runner_groups"):
        groups.listed(ACME)
