"""Where a GitHub App is installed (pure)."""

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
