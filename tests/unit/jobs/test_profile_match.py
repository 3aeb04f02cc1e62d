"""Every profile held against a job."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.config.settings import Settings
from orchestrator.jobs.admission import Ignored, profile_of
from orchestrator.jobs.profile_match import Candidate, candidates
from tests.builders import settings

PROFILES = [
    {"name": "gpu", "labels": ["gpu"], "pool": "p", "image": "i", "selfHosted": "optional"},
    {"name": "ours", "labels": ["ubuntu-latest", "x*"], "pool": "p", "image": "i", "repositories": ["acme/a*"]},
    {"name": "plain", "labels": ["ubuntu-latest"], "pool": "p", "image": "i"},
]
SETTINGS: Settings = settings(RunnerProfiles=json.dumps(PROFILES))


def found(*labels: str, repository: str = "acme/app") -> dict[str, Candidate]:
    """Return what comes of a job's labels, by the profile's name."""
    return {one.profile.name: one for one in candidates(SETTINGS.profiles, labels, repository)}


def test_missing_labels() -> None:
    """Labels that a profile does not offer are named as the job spells them; wildcards offer theirs."""
    table = found("Self-Hosted", "X64", "xl", "GPU")
    assert {name: one.missing_labels for name, one in table.items()} == {
        "gpu": ("xl",), "ours": ("GPU",), "plain": ("xl", "GPU"),
    }  # fmt: skip
    assert not any(one.takes or one.wants_self_hosted for one in table.values())


def test_self_hosted_is_wanted() -> None:
    """A profile that offers all of the labels but wants `self-hosted` among them is told from one that lacks some."""
    table = found("ubuntu-latest")
    assert [name for name, one in table.items() if one.wants_self_hosted] == ["ours", "plain"]


def test_repositories() -> None:
    """A profile of other repositories does not take the job, though it has the labels; without a repository none is."""
    assert [name for name, one in found("self-hosted", "ubuntu-latest").items() if one.takes] == ["ours", "plain"]
    for repository in ("acme/other", ""):
        table = found("self-hosted", "ubuntu-latest", repository=repository)
        assert [name for name, one in table.items() if one.takes] == ["plain"]
        assert [name for name, one in table.items() if one.wrong_repository] == ["ours"]


def test_no_labels() -> None:
    """A job without labels lacks nothing and is taken by nobody."""
    assert not any(one.takes or one.wants_self_hosted or one.missing_labels for one in found().values())


LABELS = ["self-hosted", "linux", "windows", "x64", "gpu", "ubuntu-latest", "xl", "x;y"]


@given(st.lists(st.sampled_from(LABELS), max_size=4), st.sampled_from(["acme/app", "acme/b", ""]))
@example(["linux", "self-hosted"] * 51, "acme/app")
def test_it_agrees_with_what_happens(labels: list[str], repository: str) -> None:
    """The first profile that is said to take a job is the one that the job gets; if none is, it gets none."""
    first = next((one.profile for one in candidates(SETTINGS.profiles, labels, repository) if one.takes), None)
    chosen = profile_of(tuple(labels), repository, SETTINGS)
    assert (None if isinstance(chosen, Ignored) else chosen) == first
