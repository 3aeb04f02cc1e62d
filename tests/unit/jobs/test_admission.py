"""Which workflow jobs get a runner."""

import json
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit
from orchestrator.jobs.event import WorkflowJobEvent
from tests.builders import queued_job, settings

GPU = '[{"name": "gpu", "labels": ["gpu", "dependabot"], "pool": "p", "image": "i"}]'


def event(*labels: str, full_name: str = "acme/app", **repository: Any) -> WorkflowJobEvent:
    """Return the event of a queued job."""
    owner, _, name = full_name.partition("/")
    base = {"name": name, "full_name": full_name, "owner": {"login": owner}, "private": True}
    job = queued_job()["workflow_job"] | {"labels": labels}
    payload = queued_job(workflow_job=job, repository={**base, **repository})
    return workflow_job_event(json.dumps(payload).encode())


def test_admitted() -> None:
    """A private repository's job whose labels a profile offers gets that profile's runner."""
    admission = admit(event("self-hosted", "windows-latest"), settings())
    assert isinstance(admission, Admitted)
    assert admission.profile.name == "windows-latest"
    assert admission.profile.image == "registry.azurecr.io/githubactions-runner:windows-core-ltsc2022-actionsrunner"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("macos-14",), "does not ask for a self-hosted runner, and no profile offers all of the labels macos-14"),
        (("ubuntu-latest",), "does not ask for a self-hosted runner, as profile ubuntu-latest requires (selfHosted)"),
        ((), "names no label"),
        (("self-hosted", "gpu"), "no profile offers all of the labels self-hosted, gpu"),
        (("self-hosted", "a;b"), "label 2 of the job has characters"),
    ],
)
def test_ignored(labels: tuple[str, ...], reason: str) -> None:
    """A job that is none of ours is ignored, with the reason, and labels that are not plain are not repeated."""
    admission = admit(event(*labels), settings())
    assert isinstance(admission, Ignored)
    assert reason in admission.reason
    assert ";" not in admission.reason


@pytest.mark.parametrize("labels", [("dependabot",), ("gpu",), ("linux", "gpu")])
def test_admitted_without_self_hosted(labels: tuple[str, ...]) -> None:
    """A job need not say self-hosted where a profile spells out a label of its own, as GitHub's own match has it."""
    admission = admit(event(*labels), settings(RunnerProfiles=GPU))
    assert isinstance(admission, Admitted)
    assert admission.profile.name == "gpu"


@pytest.mark.parametrize("asks", [("self-hosted",), ()])
def test_too_many_labels(asks: tuple[str, ...]) -> None:
    """A job with more labels than any runner has is ignored, whatever a glob covers."""
    profile = GPU.replace("dependabot", "run-*")
    labels = (*asks, "gpu", *(f"run-{number}" for number in range(150)))
    admission = admit(event(*labels), settings(RunnerProfiles=profile))
    assert isinstance(admission, Ignored)
    assert "more than 100 labels" in admission.reason


@pytest.mark.parametrize("repository", [{"private": False}, {"private": True, "visibility": "public"}])
def test_public_repositories_are_refused(repository: dict[str, Any]) -> None:
    """A public repository gets no runner unless that is allowed."""
    refused = admit(event("self-hosted", **repository), settings())
    assert isinstance(refused, Refused)
    assert "AllowPublicRepositories" in refused.reason
    assert isinstance(admit(event("self-hosted", **repository), settings(AllowPublicRepositories="true")), Admitted)


def ended(conclusion: str = "cancelled", **changes: Any) -> WorkflowJobEvent:
    """Return the event of a job that is over."""
    job = queued_job()["workflow_job"] | {"conclusion": conclusion} | changes
    return workflow_job_event(json.dumps(queued_job(action="completed", workflow_job=job)).encode())


def test_a_job_that_ended_without_a_runner() -> None:
    """A job that was cancelled before pick-up concerns the profile that would have served it."""
    assert isinstance(admit(ended(), settings()), Admitted)
    assert isinstance(admit(ended(runner_id=0, runner_name=""), settings()), Admitted)


@pytest.mark.parametrize(
    ("event_of_job", "reason"),
    [
        (ended("success", runner_id=7, runner_name="r"), "had its runner"),
        (ended("cancelled", runner_name="r"), "had its runner"),
        (ended("skipped"), "never waited"),
    ],
)
def test_a_job_that_ended_otherwise(event_of_job: WorkflowJobEvent, reason: str) -> None:
    """A job that had a runner, or never waited for one, takes nobody's task away."""
    admission = admit(event_of_job, settings())
    assert isinstance(admission, Ignored)
    assert reason in admission.reason


PROFILE = {"name": "gpu", "labels": ["gpu"], "pool": "gpuPool", "image": "gpu:1"}


def test_a_profile_for_some_repositories() -> None:
    """A job whose labels only a profile of other repositories offers is ignored, with the profile's name."""
    configured = settings(RunnerProfiles=json.dumps([PROFILE | {"repositories": ["acme/app"]}]))
    assert isinstance(admit(event("self-hosted", "gpu", full_name="Acme/App"), configured), Admitted)
    other = admit(event("self-hosted", "gpu", full_name="acme/other"), configured)
    assert isinstance(other, Ignored)
    assert other.reason == "the profiles with all of the labels self-hosted, gpu serve other repositories only: gpu"


def test_a_job_that_ended_under_a_quota() -> None:
    """The end of a job that had a runner lets another start, if the runners of its profile are limited."""
    done = ended("success", runner_name="runner-1-1")
    assert isinstance(admit(done, settings(MaxRunnersPerRepository="2")), Admitted)
    two = json.dumps([PROFILE | {"maxRunners": 2}, PROFILE | {"name": "cpu", "labels": ["ubuntu-latest"]}])
    unlimited = admit(done, settings(RunnerProfiles=two))
    assert isinstance(unlimited, Ignored)
    assert "had its runner" in unlimited.reason
    of_another_hook = ended("success", runner_name="r", labels=["ubuntu-latest"])
    assert isinstance(admit(of_another_hook, settings(MaxRunnersPerRepository="2")), Ignored)


def test_a_job_of_a_repository_without_runners_ended() -> None:
    """The end of a job that was refused its runner is no error."""
    assert isinstance(admit(ended(), settings(AllowedRepositories="other/*")), Ignored)


def test_a_public_repository_may_use_other_runners() -> None:
    """A public repository's job for somebody else's runners is no business of ours, and no error."""
    assert isinstance(admit(event("ubuntu-latest", private=False), settings()), Ignored)


@pytest.mark.parametrize(
    ("globs", "allowed"),
    [
        ("acme/*", True),
        ("ACME/App", True),
        ("other/*,acme/a??", True),
        ("acme/app-*", False),
        ("other/*", False),
        ("*/other", False),
    ],
)
def test_allowed_repositories(globs: str, allowed: bool) -> None:
    """`AllowedRepositories` are globs on owner/name, compared without case."""
    configured = settings(AllowedRepositories=globs)
    admission = admit(event("self-hosted"), configured)
    assert isinstance(admission, Admitted if allowed else Refused)
    assert allowed or "AllowedRepositories" in getattr(admission, "reason", "")


@pytest.mark.parametrize(
    ("logins", "allowed"), [("acme", True), ("other, ACME", True), ("acme-2", False), ("other", False)]
)
def test_allowed_organizations(logins: str, allowed: bool) -> None:
    """`AllowedOrganizations` names accounts, compared without case; others are refused before anything is asked."""
    admission = admit(event("self-hosted"), settings(AllowedOrganizations=logins))
    assert isinstance(admission, Admitted if allowed else Refused)
    assert allowed or "the account acme is not among AllowedOrganizations" in getattr(admission, "reason", "")


def test_the_end_of_a_strangers_job() -> None:
    """The end of a job whose account is not allowed takes nobody's task away, and is no error."""
    assert isinstance(admit(ended(), settings(AllowedOrganizations="other")), Ignored)


def test_an_allowed_public_repository_is_still_public() -> None:
    """Naming a repository does not allow it to be public."""
    refused = admit(event("self-hosted", private=False), settings(AllowedRepositories="acme/*"))
    assert isinstance(refused, Refused)
    assert "AllowPublicRepositories" in refused.reason
