"""Advice about settings that do less than they seem to."""

import json

import pytest

from orchestrator.config.advice import advice, covers, is_named
from tests.builders import settings

PROFILE = {"name": "gpu", "labels": ["gpu"], "pool": "gpuPool", "image": "my/gpu:1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"AllowedRepositories": "acme/app"},
        {"AllowedRepositories": "acme/*,other/a*"},
        {
            "AllowedRepositories": "acme/app",
            "RunnerProfiles": json.dumps([PROFILE, PROFILE | {"name": "b", "runnerGroup": "B"}]),
        },
    ],
)
def test_a_repository_rule_without_a_group(changes: dict[str, str]) -> None:
    """`AllowedRepositories` with runners of the whole organization keeps nobody away, and that is said."""
    (sentence,) = advice(settings(**changes))
    assert "AllowedRepositories" in sentence
    assert "RunnerGroup" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"AllowedRepositories": "acme/*, other/*"},
        {"AllowedRepositories": "acme/app", "RunnerGroup": "Batch"},
        {"AllowedRepositories": "acme/app", "RunnerScope": "repository"},
    ],
)
def test_nothing_to_say(changes: dict[str, str]) -> None:
    """Nothing is said where there is no rule about repositories, or where GitHub keeps to one."""
    assert advice(settings(**changes)) == []


@pytest.mark.parametrize(
    ("globs", "all_of"),
    [("acme/*", True), ("a*/*", True), ("acme/app", False), ("acme/a*", False), ("other/*", False)],
)
def test_all_of_an_organization(globs: str, all_of: bool) -> None:
    """An organization is admitted as a whole if a glob names all of its repositories."""
    assert covers(settings(AllowedRepositories=globs).allowed_repositories, "Acme") == all_of


@pytest.mark.parametrize(("repository", "named"), [("Acme/App", True), ("acme/lib-7", True), ("acme/other", False)])
def test_a_repository(repository: str, named: bool) -> None:
    """A repository is named by a glob in any case."""
    assert is_named(settings(AllowedRepositories="acme/app, Acme/Lib-*").allowed_repositories, repository) == named
