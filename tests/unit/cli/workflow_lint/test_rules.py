"""What becomes of a job by what it asks for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.workflow_lint.expression import UNKNOWN
from orchestrator.cli.workflow_lint.rules import Ask, Home, RunsOnMalformed, ask_of, outcome_of
from orchestrator.config.settings import Settings
from orchestrator.jobs.admission import Ignored, profile_of
from tests.builders import settings

COMMON = {"pool": "p", "image": "r.example/i"}
PROFILES = [
    {"name": "gpu", "labels": ["gpu", "run-*"], "runnerGroup": "GPU", **COMMON},
    {"name": "big", "labels": ["gpu", "big"], **COMMON},
    {"name": "ours", "labels": ["ours"], "repositories": ["acme/*"], **COMMON},
    {"name": "any", "labels": ["macos-any"], "selfHosted": "optional", **COMMON},
]


def configured(**changes: str) -> Settings:
    """Return settings with these profiles."""
    return settings(RunnerProfiles=json.dumps(PROFILES), **changes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UNKNOWN, None),
        ("gpu", Ask(("gpu",))),
        (["a", 3.10], Ask(("a", "3.1"))),
        (["a", UNKNOWN], Ask(("a",), has_more=True)),
        ({"group": "g"}, Ask((), "g")),
        ({"group": "g", "labels": []}, Ask((), "g")),
        ({"Group": "g", "labels": "a"}, Ask(("a",), "g")),
        ({"group": "", "labels": ["a"]}, Ask(("a",))),
        ({"labels": ["a", "b"]}, Ask(("a", "b"))),
        ({"labels": UNKNOWN}, None),
        ({"group": "g", "labels": UNKNOWN}, Ask((), "g", has_more=True)),
        ({"group": UNKNOWN, "labels": "a"}, Ask(("a",), has_more=True)),
        ({"group": UNKNOWN}, Ask((), has_more=True)),
    ],
)
def test_ask(value: Any, expected: Ask | None) -> None:
    """`runs-on` is a label, a list of them, or a group with labels; any of these may be unknown."""
    assert ask_of(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is empty"), (None, "is empty"), ([], "is empty"), (["a", ""], "is empty"), ({}, "is empty"),
        ({"labels": ""}, "is empty"), ([["a"]], "a label of runs-on is no"), ([{}], "a label of runs-on is no"),
        ({"group": ["a"]}, "the group of runs-on is no text"), ({"labels": "a", "x": 1}, "runs-on has no x"),
    ],
)  # fmt: skip
def test_what_github_refuses(value: Any, message: str) -> None:
    """What is no `runs-on` is refused with the reason."""
    with pytest.raises(RunsOnMalformed, match=message):
        ask_of(value)


HOME = Home("acme/app")


@pytest.mark.parametrize(
    ("ask", "profile", "codes"),
    [
        (Ask(("self-hosted", "big")), "big", []),
        (Ask(("Self-Hosted", "BIG", "big", "linux")), "big", []),  # case means nothing, nor does a repetition
        (Ask(("self-hosted", "gpu")), "gpu", ["several"]),
        (Ask(("self-hosted", "run-7")), "gpu", []),
        (Ask(("self-hosted", "ours")), "ours", []),
        (Ask(("macos-any",)), "any", []),
        (Ask(("self-hosted", "tiny")), None, ["unserved"]),
        (Ask(("self-hosted", "tiny"), has_more=True), None, ["unserved"]),
        (Ask(("self-hosted", "big"), has_more=True), None, ["unknown"]),
        (Ask(("tiny",), has_more=True), None, ["unknown"]),
        (Ask(("ubuntu-latest",)), None, []),
        (Ask(("ubuntu-latest", "x64")), None, ["elsewhere"]),
        (Ask(("linux",)), "any", []),
        (Ask(("16-cores",)), None, ["elsewhere"]),
        (Ask((), "GPU"), None, ["group-only"]),
        (Ask(("run-1",), "GPU"), None, ["elsewhere"]),
        (Ask(("self-hosted", "run-1"), "gpu"), "gpu", []),
        (Ask(("self-hosted", "run-1"), "org/GPU"), "gpu", []),
        (Ask(("self-hosted", "run-1"), "other"), "gpu", ["group"]),
        (Ask(("self-hosted", "big"), "Default"), "big", []),
        (Ask(("self-hosted", "big"), "GPU"), "big", ["group"]),
        (Ask(tuple(f"l{number}" for number in range(101))), None, ["elsewhere"]),
    ],
)  # fmt: skip
def test_outcome(ask: Ask, profile: str | None, codes: list[str]) -> None:
    """A job gets the profile that the function would give it, and each reason why that may not be meant."""
    outcome = outcome_of(ask, configured(), HOME)
    assert (outcome.profile.name if outcome.profile else None) == profile
    assert [remark.code for remark in outcome.remarks] == codes


def test_a_profile_of_other_repositories() -> None:
    """Of a repository's own profile another repository's job learns whom it serves."""
    (remark,) = outcome_of(Ask(("self-hosted", "ours")), configured(), Home("other/app")).remarks
    assert remark.message.endswith("serve other repositories only: ours")
    (same,) = outcome_of(Ask(("self-hosted", "ours")), configured(), Home()).remarks
    assert same == remark


@pytest.mark.parametrize(
    ("changes", "home", "reason"),
    [
        ({"AllowedOrganizations": "globex"}, HOME, "the account acme is not among AllowedOrganizations"),
        ({"AllowedRepositories": "acme/other*"}, HOME, "the repository is not among AllowedRepositories"),
        ({}, Home("acme/app", is_public=True), "the repository is public"),
    ],
)
def test_refusals(changes: dict[str, str], home: Home, reason: str) -> None:
    """A rule that refuses the repository refuses its jobs, but not those that mean GitHub's own machines."""
    found = configured(**changes)
    (remark,) = outcome_of(Ask(("self-hosted", "big")), found, home).remarks
    assert (remark.code, reason in remark.message) == ("refused", True)
    assert outcome_of(Ask(("ubuntu-latest",)), found, home).remarks == []
    assert outcome_of(Ask(("self-hosted", "big")), found, Home()).remarks == []  # whose it is, is not known


def test_a_group_of_a_repository() -> None:
    """Runners that register at repositories are in the default group, whatever the profile says."""
    (remark,) = outcome_of(Ask(("self-hosted", "run-1"), "GPU"), configured(RunnerScope="repository"), HOME).remarks
    assert "the runners of profile gpu are in GitHub's default group" in remark.message


@pytest.mark.parametrize("label", ["self-hosted, linux", "self-hosted linux"])
def test_a_list_that_is_none(label: str) -> None:
    """Labels that were written as one are told apart in the hint."""
    (remark,) = outcome_of(Ask((label,)), configured(), HOME).remarks
    assert remark.hint == f"{label!a} is one label; a list of labels is written [self-hosted, linux]"


@given(
    st.lists(
        st.sampled_from(["self-hosted", "gpu", "big", "run-1", "linux", "ubuntu-latest", "x y", "ours"]), min_size=1
    )
)
def test_it_decides_as_the_function(labels: list[str]) -> None:
    """Whatever labels a job has, it gets the profile that the function gives it."""
    found = configured()
    expected = profile_of(tuple(labels), HOME.repository, found)
    assert outcome_of(Ask(tuple(labels)), found, HOME).profile == (None if isinstance(expected, Ignored) else expected)
