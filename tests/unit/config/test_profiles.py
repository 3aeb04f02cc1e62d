"""Which runner serves which labels."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.config.profiles import (
    Profile,
    ProfileSetting,
    asks_for_self_hosted,
    default_profiles,
    groups_of_others,
    profile_for,
    unacceptable_label,
)
from tests.builders import settings

REGISTRY = "registry.azurecr.io"
DEFAULTS = settings(UbuntuPool="linux-pool", WindowsPool="windows-pool").profiles


def written(*labels: str, **changes: Any) -> ProfileSetting:
    """Return a profile with these labels, as it stands in `RunnerProfiles`."""
    return ProfileSetting(**{"name": "p", "pool": "pool", "image": "image:tag", "labels": labels, **changes})


def profile(*labels: str, **changes: Any) -> Profile:
    """Return the same, settled."""
    text = written(*labels, **changes).model_dump_json(by_alias=True, exclude_none=True)
    return settings(RunnerProfiles=f"[{text}]").profiles[0]


@pytest.mark.parametrize(
    ("labels", "pool", "tag"),
    [
        (("self-hosted",), "linux-pool", "ubuntu-24.04"),
        (("self-hosted", "linux"), "linux-pool", "ubuntu-24.04"),
        (("self-hosted", "ubuntu-latest"), "linux-pool", "ubuntu-24.04"),
        (("Self-Hosted", "Ubuntu-Latest", "X64", "Linux"), "linux-pool", "ubuntu-24.04"),
        (("self-hosted", "ubuntu-24.04"), "linux-pool", "ubuntu-24.04"),
        (("self-hosted", "ubuntu-22.04"), "linux-pool", "ubuntu-22.04"),
        (("self-hosted", "ubuntu-20.04"), "linux-pool", "ubuntu-20.04"),
        (("self-hosted", "ubuntu-18.04"), "linux-pool", "ubuntu-18.04"),
        (("self-hosted", "windows"), "windows-pool", "windows-core-ltsc2022"),
        (("self-hosted", "windows-latest"), "windows-pool", "windows-core-ltsc2022"),
        (("windows-2022", "self-hosted"), "windows-pool", "windows-core-ltsc2022"),
    ],
)
def test_default_profiles(labels: tuple[str, ...], pool: str, tag: str) -> None:
    """Without `RunnerProfiles` the labels of GitHub's runners, and versions beside them, find their pool and image."""
    found = profile_for(DEFAULTS, labels, "acme/app")
    assert found is not None
    assert (found.pool, found.image) == (pool, f"{REGISTRY}/githubactions-runner:{tag}-actionsrunner")


@pytest.mark.parametrize(
    "labels", [("self-hosted", "gpu"), ("self-hosted", "ubuntu-latest", "windows-latest"), ("self-hosted", "arm64")]
)
def test_labels_that_nobody_offers(labels: tuple[str, ...]) -> None:
    """One label that a profile does not offer is enough not to be served."""
    assert profile_for(DEFAULTS, labels, "acme/app") is None


def test_priority() -> None:
    """A profile ranks as it says, and normally if it does not say; another word is refused."""
    assert [profile().priority, profile(priority="low").priority] == ["normal", "low"]
    assert {one.priority for one in DEFAULTS} == {"normal"}
    with pytest.raises(ValidationError):
        written(priority="urgent")


def test_only_configured_pools_have_profiles() -> None:
    """Without a Windows pool there is no Windows profile, and the other way round."""
    assert {p.os for p in default_profiles("linux-pool", None)} == {"linux"}
    assert {p.os for p in default_profiles(None, "windows-pool")} == {"windows"}
    assert default_profiles(None, None) == ()


def test_first_match_wins() -> None:
    """Of two profiles that serve a job, the first one does."""
    first, second = profile("gpu", name="first"), profile("gpu", "large", name="second")
    assert profile_for([first, second], ["self-hosted", "gpu"], "acme/app") is first
    assert profile_for([first, second], ["self-hosted", "gpu", "large"], "acme/app") is second


def test_repositories() -> None:
    """A profile with repositories serves only these, by globs without case; the next profile serves the others."""
    own = profile("gpu", name="own", repositories=["Acme/app", "acme/lib-*"])
    anybodys = profile("gpu", name="anybodys")
    gpu = ["self-hosted", "gpu"]
    for name in ("acme/app", "ACME/App", "acme/lib-1"):
        assert profile_for([own, anybodys], gpu, name) is own
    for name in ("acme/app2", "other/app", "acme/lib"):
        assert profile_for([own, anybodys], gpu, name) is anybodys
    assert profile_for([own], gpu, "other/app") is None


def test_groups_of_other_repositories() -> None:
    """A runner group is closed to a repository if every profile of the group is for others."""
    profiles = [
        profile("a", repositories=["acme/app"], runnerGroup="App"),
        profile("b", repositories=["acme/lib"], runnerGroup="Lib"),
        profile("c", repositories=["acme/lib"], runnerGroup="Both"),
        profile("d", repositories=["acme/app"], runnerGroup="both"),
        profile("e", runnerGroup="All"),
        profile("f", repositories=["acme/lib"]),
    ]
    assert groups_of_others(profiles, "Acme/App") == {"lib"}
    assert groups_of_others(profiles, "acme/other") == {"app", "lib", "both"}


def test_glob_labels() -> None:
    """A glob lets a workflow ask for a label of its own, and the runner registers with it."""
    glob = profile("gpu", "run-*")
    assert glob.serves(["self-hosted", "RUN-123"])
    assert not glob.serves(["self-hosted", "walk-123"])
    assert glob.runner_labels(["self-hosted", "gpu", "Run-123"]) == ("self-hosted", "linux", "x64", "gpu", "Run-123")


@given(st.lists(st.sampled_from(["self-hosted", "linux", "x64", "gpu", "run-1", "run-2", "other"]), max_size=6))
def test_a_runner_can_take_the_job_it_was_started_for(labels: list[str]) -> None:
    """If a profile serves a job, the labels its runner registers with hold all of the job's."""
    glob = profile("gpu", "run-*")
    offered = {label.lower() for label in glob.runner_labels(labels)}
    if glob.serves(labels):
        assert {label.lower() for label in labels} <= offered
    assert not any(set("*?") & set(label) for label in offered)


def test_runners_of_a_profile_are_alike() -> None:
    """A runner registers with all that its profile spells out, so that it serves any job of the profile."""
    assert DEFAULTS[0].runner_labels(["self-hosted"]) == DEFAULTS[0].runner_labels(["ubuntu-24.04", "self-hosted"])


@pytest.mark.parametrize("label", ["a b", "a,b", "a;b", "$(id)", "a'b", 'a"b', "a\nb", "", "-x", "ä", "x" * 101, "a*"])
def test_unacceptable_labels(label: str) -> None:
    """A label with characters that mean something to a shell or a list is none of ours."""
    assert unacceptable_label(["self-hosted", label]) == label


@given(st.text(max_size=20))
def test_only_harmless_characters_pass(label: str) -> None:
    """Whatever passes is free of white space, quotes, separators and shell syntax."""
    if unacceptable_label([label]) is None:
        assert not set(label) & set(" \t\r\n,;'\"`$&|<>(){}[]\\*?!#~^%")
        assert label.isascii()


def test_self_hosted() -> None:
    """Only a job that says self-hosted, in whatever case, asks for one."""
    assert asks_for_self_hosted(["x", "SELF-hosted"])
    assert not asks_for_self_hosted(["ubuntu-latest"])


@pytest.mark.parametrize(
    ("offered", "labels", "taken"),
    [
        (("dependabot",), ("dependabot",), True),
        (("gpu",), ("GPU",), True),
        (("gpu",), ("linux", "gpu"), True),
        (("gpu", "ubuntu-latest"), ("ubuntu-latest", "gpu"), True),
        (("gpu",), ("gpu", "windows"), False),
        (("ubuntu-latest",), ("ubuntu-latest",), False),
        (("Ubuntu-Large",), ("ubuntu-large",), False),
        (("windows-gpu", "macos-x"), ("WINDOWS-gpu", "macos-x"), False),
        (("run-*", "gpu"), ("run-1",), False),
        (("gpu",), ("linux", "x64"), False),
        (("linux",), ("linux",), True),
    ],
)
def test_a_job_without_self_hosted(offered: tuple[str, ...], labels: tuple[str, ...], taken: bool) -> None:
    """A job without self-hosted is taken for a label that its profile spells out and no machine of GitHub's has."""
    found = profile(*offered)
    assert found.takes(labels) is taken
    assert (profile_for([found], labels, "acme/app") is found) is taken
    assert found.takes(["self-hosted", *labels]) is found.serves(labels)


def test_a_profile_that_needs_no_self_hosted() -> None:
    """A profile may say that `self-hosted` is optional; then its globs and GitHub's own names count as well."""
    found = profile("run-*", "ubuntu-latest", selfHosted="optional")
    assert all(found.takes([label]) for label in ("run-1", "ubuntu-latest", "linux", "X64"))
    assert not found.takes(["other"])


LABELS = st.lists(
    st.sampled_from(["self-hosted", "linux", "x64", "gpu", "run-1", "ubuntu-latest", "macos-14", "other"]), max_size=5
)


@given(LABELS, st.sampled_from(["required", "optional"]))
def test_which_jobs_are_taken(labels: list[str], self_hosted: str) -> None:
    """A profile takes only what it serves, no job without labels, and none that names only machines of GitHub's."""
    found = profile("gpu", "run-*", "ubuntu-latest", selfHosted=self_hosted)
    taken = found.takes(labels)
    assert not taken or (labels and found.serves(labels))
    if "self-hosted" in labels or (labels and self_hosted == "optional"):
        assert taken == found.serves(labels)
    elif all(label.startswith(("ubuntu-", "macos-")) for label in labels):
        assert not taken


def test_a_later_profile_may_take_what_an_earlier_one_only_serves() -> None:
    """The first profile that takes a job wins, whoever else offers its labels."""
    first, second = profile("run-*"), profile("run-1", name="second")
    assert profile_for([first, second], ["run-1"], "acme/app") is second
    assert profile_for([first, second], ["self-hosted", "run-1"], "acme/app") is first


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ("*",)},
        {"labels": ("gpu", "?*")},
        {"labels": ("a,b",)},
        {"pool": "a/b"},
        {"image": "i mage"},
        {"os": "macos"},
        {"launch": "podman"},
        {"slots": 0},
        {"max_hours": 0},
        {"idle_minutes": 0},
        {"name": ""},
        {"runner_group": "a\nb"},
        {"self_hosted": "never"},
        {"registration": "password"},
        {"pol": "typo"},
    ],
)
def test_wrong_profiles(changes: dict[str, Any]) -> None:
    """A profile that would serve everything, or that Batch would refuse, is refused here."""
    with pytest.raises(ValidationError):
        written(**changes)
