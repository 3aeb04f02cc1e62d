"""Which workflow jobs get a runner, and what kind (pure)."""

import fnmatch
from dataclasses import dataclass

from orchestrator.config.profiles import RunnerProfile, asks_for_self_hosted, profile_for, unacceptable_label
from orchestrator.config.settings import Settings
from orchestrator.errors import RepositoryNotAllowed
from orchestrator.jobs.event import Repository, WorkflowJobEvent


@dataclass(frozen=True)
class Ignored:
    """Nothing to do, and why."""

    reason: str


@dataclass(frozen=True)
class Admitted:
    """The job is one of ours: this profile serves it."""

    profile: RunnerProfile


def admit(event: WorkflowJobEvent, settings: Settings) -> Admitted | Ignored:
    """Decide about a job that is queued, or completed without ever having had a runner.

    Labels first: a hook sees every job of its organization, and only those that ask for one of our runners are held
    against the rules about repositories.

    Raises:
        RepositoryNotAllowed: The job asks for one of our runners from a repository that may have none.
    """
    job = event.workflow_job
    if event.action == "completed" and (job.had_runner or job.conclusion == "skipped"):
        return Ignored("the job had its runner" if job.had_runner else "a skipped job never waited for a runner")
    labels = job.labels
    if not asks_for_self_hosted(labels):
        return Ignored("the job does not ask for a self-hosted runner")
    if (label := unacceptable_label(labels)) is not None:
        return Ignored(f"label {labels.index(label) + 1} of the job has characters that no profile may serve")
    profile = profile_for(settings.profiles, labels)
    if profile is None:
        return Ignored(f"no profile offers all of the labels {', '.join(labels)}")
    try:
        _check_repository(event.repository, settings)
    except RepositoryNotAllowed:
        if event.action == "queued":
            raise
        return Ignored("no runner was started for a job of this repository")
    return Admitted(profile)


def _check_repository(repository: Repository, settings: Settings) -> None:
    if repository.is_public and not settings.allow_public_repositories:
        raise RepositoryNotAllowed(
            "the repository is public: anyone could run code in your network (AllowPublicRepositories)"
        )
    name = repository.full_name.lower()
    if settings.allowed_repositories and not any(
        fnmatch.fnmatchcase(name, glob) for glob in settings.allowed_repositories
    ):
        raise RepositoryNotAllowed("the repository is not among AllowedRepositories")
