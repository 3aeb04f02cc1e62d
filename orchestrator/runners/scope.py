"""Where a runner registers: a repository, an organization or an enterprise."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from orchestrator.config.settings import Settings
from orchestrator.errors import SettingsError
from orchestrator.jobs.event import WorkflowJobEvent


@dataclass(frozen=True)
class Scope:
    """One place that runners belong to.

    Attributes:
        kind: which of GitHub's three.
        name: `owner/name`, the organization's login, or the enterprise's slug.
    """

    kind: Literal["repository", "organization", "enterprise"]
    name: str

    @property
    def api_path(self) -> str:
        """The REST path below which its runners live."""
        prefix = {"repository": "repos", "organization": "orgs", "enterprise": "enterprises"}[self.kind]
        return f"/{prefix}/{self.name}"

    def url(self, web_url: str) -> str:
        """The address that a runner registers with.

        Args:
            web_url: GitHub's address for people, without a trailing slash.
        """
        return f"{web_url}/{'enterprises/' if self.kind == 'enterprise' else ''}{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class ScopeAccess(NamedTuple):
    """Whose runners: the scope, and the GitHub App's installation where the delivery named it."""

    scope: Scope
    installation: int | None


def runner_scope(event: WorkflowJobEvent, settings: Settings) -> Scope:
    """Return where the job's runner registers, by `RunnerScope`; a repository where there is no organization."""
    if settings.runner_scope == "enterprise":
        if settings.github_enterprise is None:
            raise SettingsError([("GithubEnterprise", "is missing: RunnerScope is enterprise")])
        return Scope("enterprise", settings.github_enterprise)
    if settings.runner_scope == "organization" and event.organization is not None:
        return Scope("organization", event.organization.login)
    return Scope("repository", event.repository.full_name)
