"""Where a runner registers: a repository, an organization or an enterprise."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent


@dataclass(frozen=True)
class Scope:
    """What runners belong to.

    Attributes:
        kind: which of GitHub's three.
        name: `owner/name`, the organization's login, or the enterprise's slug.
    """

    kind: Literal["repository", "organization", "enterprise"]
    name: str

    @property
    def api_path(self) -> str:
        """The REST path of everything about it."""
        prefix = {"repository": "repos", "organization": "orgs", "enterprise": "enterprises"}[self.kind]
        return f"/{prefix}/{self.name}"

    def url(self, web_url: str) -> str:
        """The address that a runner registers with.

        Args:
            web_url: GitHub's address for people, without a trailing slash.
        """
        return f"{web_url}/{'enterprises/' if self.kind == 'enterprise' else ''}{self.name}"

    def group(self, name: str | None) -> str | None:
        """The runner group that a runner joins here: a repository has none but the default one.

        Args:
            name: the group's name where there are groups; None for GitHub's default group.
        """
        return None if self.kind == "repository" else name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class ScopeAccess(NamedTuple):
    """A scope, and how to reach it.

    Attributes:
        scope: the scope.
        installation: the id of the GitHub App's installation there, where it is known.
    """

    scope: Scope
    installation: int | None


def runner_scope(event: WorkflowJobEvent, settings: Settings) -> Scope:
    """Return where the job's runner registers, by `RunnerScope`; a repository where there is no organization."""
    if settings.runner_scope == "enterprise" and settings.github_enterprise is not None:
        return Scope("enterprise", settings.github_enterprise)
    if settings.runner_scope == "organization" and event.organization is not None:
        return Scope("organization", event.organization.login)
    return Scope("repository", event.repository.full_name)
