"""Which workflow jobs get a runner."""

import json
from typing import Any

import pytest

from orchestrator.admission import Admitted, Ignored, admit
from orchestrator.errors import RepositoryNotAllowed
from orchestrator.webhook import WorkflowJobEvent, workflow_job_event
from tests.builders import queued_job, settings


def event(*labels: str, full_name: str = "acme/app", **repository: Any) -> WorkflowJobEvent:
    """Return the event of a queued job."""
    owner, _, name = full_name.partition("/")
    base = {"name": name, "full_name": full_name, "owner": {"login": owner}, "private": True}
    payload = queued_job(*labels, repository={**base, **repository})
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
        (("ubuntu-latest",), "does not ask for a self-hosted runner"),
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


@pytest.mark.parametrize("repository", [{"private": False}, {"private": True, "visibility": "public"}])
def test_public_repositories_are_refused(repository: dict[str, Any]) -> None:
    """A public repository gets no runner unless that is allowed."""
    with pytest.raises(RepositoryNotAllowed, match="AllowPublicRepositories"):
        admit(event("self-hosted", **repository), settings())
    assert isinstance(admit(event("self-hosted", **repository), settings(AllowPublicRepositories="true")), Admitted)


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
    if allowed:
        assert isinstance(admit(event("self-hosted"), configured), Admitted)
    else:
        with pytest.raises(RepositoryNotAllowed, match="AllowedRepositories"):
            admit(event("self-hosted"), configured)


def test_an_allowed_public_repository_is_still_public() -> None:
    """Naming a repository does not allow it to be public."""
    with pytest.raises(RepositoryNotAllowed, match="AllowPublicRepositories"):
        admit(event("self-hosted", private=False), settings(AllowedRepositories="acme/*"))
