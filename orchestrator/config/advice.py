"""What is allowed, and probably not meant: advice about the settings, logged at start (pure)."""

import fnmatch
from collections.abc import Iterable

from orchestrator.config.settings import Settings

_REPOSITORIES_WITHOUT_GROUP = (
    "AllowedRepositories alone keeps no repository away from the runners: GitHub gives a runner of the organization to "
    "the oldest job that matches. Set RunnerGroup to a group that admits these repositories only, or use "
    "RunnerScope=repository"
)


def advice(settings: Settings) -> list[str]:
    """Return one sentence for each combination of settings that does less than it seems to."""
    without_group = settings.runner_scope == "organization" and any(p.runner_group is None for p in settings.profiles)
    if without_group and any(_name_of(glob) != "*" for glob in settings.allowed_repositories):
        return [_REPOSITORIES_WITHOUT_GROUP]
    return []


def is_named(globs: Iterable[str], repository: str) -> bool:
    """Whether one of the globs on `owner/name`, in lower case, names a repository."""
    return any(fnmatch.fnmatchcase(repository.lower(), glob) for glob in globs)


def covers(globs: Iterable[str], organization: str) -> bool:
    """Whether globs on `owner/name`, in lower case, name every repository of an organization."""
    owners = [glob.partition("/")[0] for glob in globs if _name_of(glob) == "*"]
    return any(fnmatch.fnmatchcase(organization.lower(), owner) for owner in owners)


def _name_of(glob: str) -> str:
    return glob.partition("/")[2]
