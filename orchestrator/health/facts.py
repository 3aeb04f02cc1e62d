"""What GitHub, Azure and the network say of the set-up (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orchestrator.jobs.accounts import AppOwner
from orchestrator.runners.installed import Installed


@dataclass(frozen=True)
class TokenFacts:
    """What GitHub says of `GithubToken`.

    Attributes:
        scopes: those of a classic token; None for a fine-grained one, whose permissions GitHub does not list.
        expires_at: when it ends; None if it does not, or GitHub does not say.
    """

    scopes: frozenset[str] | None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class AppFacts:
    """What GitHub says of the App.

    Attributes:
        slug: its name in addresses.
        owner: whose it is.
        permissions: what it asks for, each with its level.
        events: what its webhook sends.
    """

    slug: str
    owner: AppOwner
    permissions: Mapping[str, str]
    events: frozenset[str]


@dataclass(frozen=True)
class InstallationFacts:
    """What GitHub says of an installation of the App.

    Attributes:
        installed: where it is; the account is empty for an installation on an enterprise.
        permissions: what the account's owner has granted.
        suspended: whether somebody has suspended it.
    """

    installed: Installed
    permissions: Mapping[str, str]
    suspended: bool


@dataclass(frozen=True)
class HookFacts:
    """What GitHub says of a webhook. Its address may hold a key, so only parts of it are kept.

    Attributes:
        path: its REST path, or `APP_HOOK`.
        host: where it leads.
        route: the path of the address there.
        has_key: whether the address has a function key.
        is_https: whether it is an https:// address.
        events: what it sends; None where the App says that, not its webhook.
        active: whether it is switched on.
        content_type: `json` or `form`.
        verifies_tls: whether GitHub checks the receiver's certificate.
    """

    path: str
    host: str
    route: str
    has_key: bool
    is_https: bool
    events: frozenset[str] | None = None
    active: bool = True
    content_type: str = "json"
    verifies_tls: bool = True


class QueueFacts(NamedTuple):
    """What the queues hold.

    Attributes:
        waiting: messages of requests that are tried again.
        given_up: messages that wait for somebody.
    """

    waiting: int = 0
    given_up: int = 0


@dataclass(frozen=True)
class Target:
    """Something that must be reachable.

    Attributes:
        url: with https:// the certificate is checked; with tcp:// there is only a connection.
        who: who calls it.
        why: what for.
        needed: whether nothing works without it.
    """

    url: str
    who: str
    why: str
    needed: bool = field(default=True)
