"""Where a GitHub App is installed, and what GitHub lists of an account (pure)."""

from datetime import datetime
from typing import NamedTuple


class Installed(NamedTuple):
    """An installation of the GitHub App.

    Attributes:
        id: the installation's id.
        account: the login of the organization or user.
        is_organization: whether the account is an organization.
    """

    id: int
    account: str
    is_organization: bool


class ListedRepository(NamedTuple):
    """A repository that may run workflows.

    Attributes:
        full_name: `owner/name`.
        is_public: whether anybody can see it.
        pushed_at: when somebody last pushed to it, if GitHub says so.
    """

    full_name: str
    is_public: bool
    pushed_at: datetime | None
