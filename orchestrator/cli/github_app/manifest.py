"""What the App may do, and the manifest that asks GitHub for it (pure).

Source: GitHub docs, "Registering a GitHub App from a manifest" and "Permissions required for GitHub Apps".
"""

import re
from dataclasses import dataclass

from orchestrator.cli.address import plain_url
from orchestrator.config.github_rights import PERMISSIONS, AppScope
from orchestrator.config.settings import PUBLIC_API
from orchestrator.errors import SettingsError

EVENTS = ("workflow_job",)

PUBLIC_GITHUB = "https://github.com"
# GitHub takes no longer name.
LONGEST_NAME = 34
# Where the webhook leads until the function exists. GitHub has no call that switches a webhook on, so it is on from the
# beginning, and a webhook that is on must have an address. RFC 2606 reserves this one: it is nobody's service.
NOT_YET_CONNECTED = "https://example.com/not-connected-yet"

_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Wish:
    """The App that somebody wants.

    Attributes:
        github_url: where people find GitHub, without a trailing slash.
        organization: the login of its owner; None for the account of whoever registers it.
        scope: where its runners register.
        name: its name, which nobody else's App may have; None to choose it at GitHub.
        webhook_url: where its deliveries go; None if that is not known yet.
        public: whether others may install it.
    """

    github_url: str
    organization: str | None
    scope: AppScope
    name: str | None
    webhook_url: str | None = None
    public: bool = False

    @property
    def apps_url(self) -> str:
        """Where the owner's Apps are listed."""
        owner = "" if self.organization is None else f"/organizations/{self.organization}"
        return f"{self.github_url}{owner}/settings/apps"

    @property
    def form_url(self) -> str:
        """Where the manifest is posted to."""
        return f"{self.apps_url}/new"

    @property
    def api_url(self) -> str:
        """Where GitHub's REST API is."""
        return api_url(self.github_url)

    def manifest(self, redirect_url: str) -> dict[str, object]:
        """Return the manifest.

        Args:
            redirect_url: where GitHub sends the browser when the App is registered.
        """
        return ({} if self.name is None else {"name": self.name}) | {
            "url": self.github_url if self.organization is None else f"{self.github_url}/{self.organization}",
            "description": "Starts self-hosted runners for waiting jobs.",
            "hook_attributes": {"url": self.webhook_url or NOT_YET_CONNECTED, "active": True},
            "redirect_url": redirect_url,
            "public": self.public,
            "default_permissions": dict(PERMISSIONS[self.scope]),
            "default_events": list(EVENTS),
        }


def wish(
    *,
    github_url: str,
    organization: str | None,
    scope: AppScope | None,
    name: str | None,
    webhook_url: str | None,
    public: bool,
) -> Wish:
    """Return the App that the options ask for, what they leave open filled in.

    Raises:
        SettingsError: An option is wrong.
    """
    if organization is not None and not _LOGIN.fullmatch(organization):
        raise SettingsError.of("--organization", "is not the login of an organization")
    if organization is None and scope == "organization":
        raise SettingsError.of("--runner-scope", "organization needs --organization")
    if name is None and organization is not None:
        name = f"runners-{organization}"[:LONGEST_NAME].rstrip("-")
    if name is not None and not 0 < len(name) <= LONGEST_NAME:
        raise SettingsError.of("--name", f"must have 1 to {LONGEST_NAME} characters")
    return Wish(
        github_url=plain_url("--github-url", github_url).rstrip("/"),
        organization=organization,
        scope=scope or ("repository" if organization is None else "organization"),
        name=name,
        webhook_url=None if webhook_url is None else plain_url("--webhook-url", webhook_url, query=True),
        public=public,
    )


def api_url(github_url: str) -> str:
    """Return where the REST API of a GitHub is.

    Source: GitHub docs, REST API base URLs: `HOST/api/v3` on an Enterprise Server, `api.TENANT.ghe.com` with data
    residency.
    """
    if github_url == PUBLIC_GITHUB:
        return PUBLIC_API
    if github_url.endswith(".ghe.com"):
        return github_url.replace("://", "://api.", 1)
    return f"{github_url}/api/v3"
