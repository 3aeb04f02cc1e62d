"""Who may do what at the GitHub stand-in: tokens, Apps, installations, and the tokens runners register with. Pure."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import jwt

from sandbox.github.model import Refusal, Repository, Scope

# Seconds an installation or registration token lives (documented: one hour).
TOKEN_LIFE = 3600.0

# Seconds into the future that an App's token may expire (documented: ten minutes).
JWT_LIFE = 600

ALL_PERMISSIONS: Mapping[str, str] = {
    "actions": "write",
    "administration": "write",
    "contents": "read",
    "metadata": "read",
    "organization_self_hosted_runners": "write",
    "organization_hooks": "write",
    "repository_hooks": "write",
    "enterprise_runners": "write",
}

APP_PERMISSIONS: Mapping[str, str] = {
    "actions": "read",
    "administration": "write",
    "metadata": "read",
    "organization_self_hosted_runners": "write",
}

# What the scopes of a classic personal access token allow.
SCOPE_PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "repo": ("actions", "administration", "contents", "metadata", "repository_hooks"),
    "admin:org": ("organization_self_hosted_runners",),
    "manage_runners:org": ("organization_self_hosted_runners",),
    "manage_runners:enterprise": ("enterprise_runners",),
    "admin:enterprise": ("enterprise_runners",),
    "admin:repo_hook": ("repository_hooks",),
    "admin:org_hook": ("organization_hooks",),
}

_LEVELS = {"read": 1, "write": 2, "admin": 3}


@dataclass(frozen=True)
class Principal:
    """Whoever sent a request.

    Attributes:
        accounts: owners it can see (lower case); None for every one.
        repositories: repositories it can see (lower case full names); None for all of its accounts.
        scopes: those of a classic token; None for all other credentials.
    """

    kind: Literal["token", "installation", "app"]
    name: str
    permissions: Mapping[str, str]
    accounts: frozenset[str] | None = None
    repositories: frozenset[str] | None = None
    expires_at: float | None = None
    app_id: int | None = None
    installation_id: int | None = None
    scopes: frozenset[str] | None = None

    def sees(self, scope: Scope) -> bool:
        """Whether the scope exists as far as this principal can tell."""
        if self.kind == "app":
            return False
        if scope.kind == "enterprise":
            return self.accounts is None
        if self.accounts is not None and scope.name.split("/")[0] not in self.accounts:
            return False
        return scope.kind != "repository" or self.repositories is None or scope.name in self.repositories

    def may(self, permission: str, level: str) -> bool:
        """Whether it holds a permission at a level or above."""
        return _LEVELS.get(self.permissions.get(permission, ""), 0) >= _LEVELS[level]


@dataclass(frozen=True)
class App:
    """A GitHub App, known by its id or its client id."""

    id: int
    client_id: str
    slug: str
    public_key: str
    owner: str = "acme"
    owner_type: Literal["Organization", "User", "Enterprise"] = "Organization"
    permissions: Mapping[str, str] = field(default_factory=lambda: dict(APP_PERMISSIONS))
    events: tuple[str, ...] = ("workflow_job",)


@dataclass(frozen=True)
class Installation:
    """An App installed on an account.

    Attributes:
        repositories: full names it was given; None for all of the account.
        suspended_at: when an owner suspended it, in epoch seconds, if so.
    """

    id: int
    app: App
    account: str
    account_type: Literal["Organization", "User", "Enterprise"] = "Organization"
    repositories: tuple[str, ...] | None = None
    permissions: Mapping[str, str] = field(default_factory=lambda: dict(APP_PERMISSIONS))
    suspended_at: float | None = None

    def covers(self, repository: Repository) -> bool:
        """Whether it was given the repository."""
        if self.account_type == "Enterprise" or self.account.lower() != repository.owner.lower():
            return False
        return self.repositories is None or repository.full_name.lower() in map(str.lower, self.repositories)


class Access:
    """Every credential the stand-in knows. Not safe under threads: its owner holds the lock."""

    def __init__(self) -> None:
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self._tokens: dict[str, Principal] = {}
        self._runner_tokens: dict[str, tuple[Scope, float]] = {}

    def add_token(
        self,
        token: str,
        *,
        permissions: Mapping[str, str] | None = None,
        scopes: Iterable[str] | None = None,
        accounts: Iterable[str] | None = None,
        expires_at: float | None = None,
    ) -> None:
        """Make a personal access token (or OAuth token) known.

        Args:
            token: the token.
            permissions: those of a fine-grained token; without them and `scopes` it may do everything.
            scopes: those of a classic token, for example `repo` or `admin:org`.
            accounts: the owners it can see; None for all.
            expires_at: epoch seconds after which GitHub answers 401.
        """
        allowed = dict(permissions if permissions is not None else {} if scopes is not None else ALL_PERMISSIONS)
        scopes = None if scopes is None else tuple(scopes)
        for scope in scopes or ():
            allowed |= dict.fromkeys(SCOPE_PERMISSIONS[scope], "write")
        owners = None if accounts is None else frozenset(owner.lower() for owner in accounts)
        words = None if scopes is None else frozenset(scopes)
        name = f"token-{len(self._tokens)}"
        self._tokens[token] = Principal("token", name, allowed, owners, None, expires_at, scopes=words)

    def revoke(self, token: str) -> None:
        """Make a token unknown; nothing happens when it already is."""
        self._tokens.pop(token, None)

    def revoke_installation_tokens(self) -> None:
        """Make every installation token unknown, as when an App's permissions change."""
        self._tokens = {token: who for token, who in self._tokens.items() if who.kind != "installation"}

    def principal(self, authorization: str | None, now: float) -> Principal | None:
        """Return who an `Authorization` header names, None without one.

        Raises:
            Refusal: 401, the credentials are unknown, expired, revoked or malformed.
        """
        if not authorization:
            return None
        kind, _, token = authorization.partition(" ")
        if token.count(".") == 2 and token not in self._tokens:  # noqa: PLR2004 - the parts of a JWT
            if kind != "Bearer":  # documented: a JWT goes with "Bearer" only
                raise Refusal(401, "Bad credentials")
            return self._app(token, now)
        found = self._tokens.get(token) if kind.lower() in ("bearer", "token") else None
        if found is None or (found.expires_at is not None and now >= found.expires_at):
            raise Refusal(401, "Bad credentials")
        return found

    def _app(self, token: str, now: float) -> Principal:
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
            app = next(a for a in self.apps.values() if issuer in (str(a.id), a.client_id))
            claims = jwt.decode(
                token, app.public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
            )
            issued, expires = int(claims["iat"]), int(claims["exp"])
        except StopIteration:
            raise Refusal(404, "Integration not found") from None
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise Refusal(401, "A JSON web token could not be decoded") from None
        if expires <= now:
            raise Refusal(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time")
        if expires > now + JWT_LIFE:
            raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")
        if issued > now:
            raise Refusal(401, "'Issued at' claim ('iat') must be an Integer representing the time in the past")
        return Principal("app", app.slug, {}, app_id=app.id)

    def installation_token(self, installation: Installation, now: float) -> tuple[str, Principal]:
        """Issue a token for an installation.

        Raises:
            Refusal: 403, the installation is suspended.
        """
        if installation.suspended_at is not None:
            raise Refusal(403, "This installation has been suspended")
        own = None if installation.repositories is None else frozenset(map(str.lower, installation.repositories))
        token = f"ghs_{installation.app.id}_{secrets.token_urlsafe(48)}"
        principal = Principal(
            "installation",
            f"installation-{installation.id}",
            installation.permissions,
            frozenset({installation.account.lower()}),
            own,
            now + TOKEN_LIFE,
            installation.app.id,
            installation.id,
        )
        self._tokens[token] = principal
        return token, principal

    def runner_token(self, scope: Scope, now: float) -> tuple[str, float]:
        """Issue a token that runners of a scope register and remove themselves with; return it and its end."""
        token = f"A{secrets.token_hex(14).upper()}"
        self._runner_tokens[token] = (scope, now + TOKEN_LIFE)
        return token, now + TOKEN_LIFE

    def redeem(self, token: str, scope: Scope, now: float) -> None:
        """Accept a runner token; it may be used any number of times until it expires.

        Raises:
            Refusal: 404, it is unknown, expired or made for another scope.
        """
        found, expires_at = self._runner_tokens.get(token, (None, 0.0))
        if found != scope or now >= expires_at:
            raise Refusal(404, "Not Found")
