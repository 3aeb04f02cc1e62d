"""Which workflow jobs get a runner, and what kind (pure)."""

import fnmatch
from dataclasses import dataclass

from orchestrator.config.profiles import Profile, asks_for_self_hosted, profile_for, unacceptable_label
from orchestrator.config.settings import Settings
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent

# GitHub takes no more labels for a runner (REST API, "Create configuration for a just-in-time runner").
MOST_LABELS = 100


@dataclass(frozen=True)
class Admitted:
    """The job gets a runner of this profile, or had one started for it that is now to be cancelled."""

    profile: Profile


@dataclass(frozen=True)
class Ignored:
    """There is nothing to do, and why."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """The job asks for one of our runners from a repository that may have none, and why."""

    reason: str


type Admission = Admitted | Ignored | Refused


def admit(event: WorkflowJobEvent, settings: Settings) -> Admission:
    """Decide about a job that is queued, or completed without ever having had a runner.

    The end of a job that had one is of interest only under a quota, because it lets another job start.

    The labels come first: a hook sees every job of its organization, and only jobs that ask for one of our runners are
    held against the rules about accounts and repositories.
    """
    job = event.workflow_job
    had_runner = event.action == "completed" and job.had_runner
    if had_runner and not settings.has_quotas:
        return Ignored("the job had its runner")
    if event.action == "completed" and job.conclusion == "skipped":
        return Ignored("a skipped job never waited for a runner")
    profile = profile_of(job.labels, event.repository.full_name, settings)
    if isinstance(profile, Ignored):
        return profile
    if had_runner and not settings.has_quota(profile):
        return Ignored("the job had its runner")
    refusal = _refusal(event, settings)
    if refusal is None:
        return Admitted(profile)
    return refusal if event.action == "queued" else Ignored("no runner was started for a job of this repository")


def profile_of(labels: tuple[str, ...], repository: str, settings: Settings) -> Profile | Ignored:
    """Return the profile of a job with these labels, or why it has none.

    Args:
        labels: the job's.
        repository: `owner/name`.
        settings: they hold the profiles.
    """
    if not labels:
        return Ignored("the job names no label, and a runner group alone does not tell which runners it means")
    if len(labels) > MOST_LABELS:
        return Ignored(f"the job has more than {MOST_LABELS} labels")
    if (label := unacceptable_label(labels)) is not None:
        return Ignored(f"label {labels.index(label) + 1} of the job has characters that no profile may serve")
    profile = profile_for(settings.profiles, labels, repository)
    return profile or Ignored(_why_nobody_takes(labels, settings))


def _why_nobody_takes(labels: tuple[str, ...], settings: Settings) -> str:
    named = ", ".join(labels)
    others = [profile.name for profile in settings.profiles if profile.repositories and profile.takes(labels)]
    if others:
        return f"the profiles with all of the labels {named} serve other repositories only: {', '.join(others)}"
    nobody = f"no profile offers all of the labels {named}"
    if asks_for_self_hosted(labels):
        return nobody
    serving = next((profile.name for profile in settings.profiles if profile.serves(labels)), None)
    reason = f"and {nobody}" if serving is None else f"as profile {serving} requires (selfHosted)"
    return f"the job does not ask for a self-hosted runner, {reason}"


def _refusal(event: WorkflowJobEvent, settings: Settings) -> Refused | None:
    strange_account = AccountRule.of_settings(settings).refusal(event)
    if strange_account is not None:
        return Refused(strange_account)
    repository = event.repository
    if repository.is_public and not settings.allow_public_repositories:
        return Refused("the repository is public: anyone could run code in your network (AllowPublicRepositories)")
    if not is_allowed(repository.full_name, settings):
        return Refused("the repository is not among AllowedRepositories")
    return None


def is_allowed(repository: str, settings: Settings) -> bool:
    """Whether `AllowedRepositories` admits a repository, by its full name; without the setting it admits all."""
    allowed, name = settings.allowed_repositories, repository.lower()
    return not allowed or any(fnmatch.fnmatchcase(name, glob) for glob in allowed)
