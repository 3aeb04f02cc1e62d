"""Which accounts' jobs may have runners (pure).

An account is an organization or a user. Logins are compared in any case, as GitHub does.
"""

from dataclasses import dataclass
from typing import Literal

from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent


@dataclass(frozen=True)
class AppOwner:
    """Who owns the GitHub App.

    Attributes:
        kind: an organization or user, or an enterprise.
        name: its login, or the enterprise's slug.
    """

    kind: Literal["account", "enterprise"]
    name: str


@dataclass(frozen=True)
class AccountRule:
    """Which accounts' jobs may have runners.

    Attributes:
        accounts: their logins, in lower case; None for all accounts.
        enterprise: the slug of an enterprise, in lower case. Its accounts may have runners, too.
        otherwise: why any other account may have none; follows its login.
    """

    accounts: frozenset[str] | None
    enterprise: str | None = None
    otherwise: str = ""

    @classmethod
    def of_settings(cls, settings: Settings) -> "AccountRule":
        """Return the rule that `AllowedOrganizations` makes; without the setting it admits all accounts."""
        accounts = frozenset(settings.allowed_organizations)
        return cls(accounts or None, otherwise="is not among AllowedOrganizations")

    @classmethod
    def of_owner(cls, owner: AppOwner, members: frozenset[str]) -> "AccountRule":
        """Return the rule of a GitHub App without `AllowedOrganizations`.

        Args:
            owner: who owns the App.
            members: logins, in lower case, of accounts that are known to belong to the enterprise that owns the App.
        """
        if owner.kind == "account":
            reason = f"may have no runners: the GitHub App belongs to {owner.name} (see AllowedOrganizations)"
            return cls(frozenset({owner.name.lower()}), otherwise=reason)
        reason = f"is not known to belong to the enterprise {owner.name}, as the GitHub App does"
        return cls(members, owner.name.lower(), f"may have no runners: it {reason} (see AllowedOrganizations)")

    def admits(self, account: str) -> bool:
        """Whether jobs of the account may have runners, as far as its login tells."""
        return self.accounts is None or account.lower() in self.accounts

    def refusal(self, event: WorkflowJobEvent) -> str | None:
        """Return why a job may have no runner; None if it may.

        A job that names its enterprise is judged by that alone, where the rule is about an enterprise.
        """
        accounts = accounts_of(event)
        if self.enterprise is not None and event.enterprise is not None:
            refused = [] if self.enterprise == event.enterprise.slug.lower() else accounts
        else:
            refused = [account for account in accounts if not self.admits(account)]
        return f"the account {refused[0]} {self.otherwise}" if refused else None


def accounts_of(event: WorkflowJobEvent) -> list[str]:
    """Return every account that a job names: GitHub always names one, but runners are started for what each says."""
    repository = event.repository
    named = [repository.full_name.partition("/")[0], repository.owner.login]
    return [*named, event.organization.login] if event.organization is not None else named
