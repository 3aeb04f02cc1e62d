"""What the function's GitHub credential must be allowed to do (pure). The README's table says the same to people.

Source: GitHub docs, "Permissions required for GitHub Apps" and "Scopes for OAuth apps".
"""

from collections.abc import Mapping
from typing import Literal

type AppScope = Literal["organization", "repository"]

# A GitHub App's permissions, by where its runners register.
PERMISSIONS: Mapping[AppScope, Mapping[str, str]] = {
    "organization": {"organization_self_hosted_runners": "write", "actions": "read"},
    "repository": {"administration": "write", "actions": "read"},
}
# The scopes of a classic or OAuth token: of each line one, which holds the others of the line that are needed.
SCOPES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "organization": (("repo",), ("admin:org", "manage_runners:org")),
    "repository": (("repo",),),
    "enterprise": (("repo",), ("manage_runners:enterprise", "admin:enterprise")),
}
_LEVELS = ("", "read", "write", "admin")


def missing_permissions(scope: AppScope, granted: Mapping[str, str]) -> list[str]:
    """Return which permissions an App lacks, each with its level.

    Args:
        scope: where its runners register.
        granted: those that it has.
    """
    return [
        f"{name}: {level}"
        for name, level in PERMISSIONS[scope].items()
        if _LEVELS.index(level) > _level(granted.get(name, ""))
    ]


def missing_scopes(scope: str, granted: frozenset[str]) -> list[str]:
    """Return which scopes a token lacks.

    Args:
        scope: where its runners register.
        granted: those that it has.
    """
    return [choices[0] for choices in SCOPES[scope] if not granted & set(choices)]


def _level(word: str) -> int:
    return _LEVELS.index(word) if word in _LEVELS else 0
