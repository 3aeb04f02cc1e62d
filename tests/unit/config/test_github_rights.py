"""What a credential lacks."""

from orchestrator.config.github_rights import missing_permissions, missing_scopes


def test_permissions() -> None:
    """A higher level holds the lower ones; a level that is not known holds nothing."""
    assert missing_permissions("repository", {"administration": "write", "actions": "write"}) == []
    assert missing_permissions("repository", {"administration": "read"}) == ["administration: write", "actions: read"]
    assert missing_permissions("organization", {"actions": "new"})[1] == "actions: read"


def test_scopes() -> None:
    """One of the scopes that allow the same is enough."""
    assert missing_scopes("organization", frozenset({"repo", "manage_runners:org"})) == []
    assert missing_scopes("enterprise", frozenset({"admin:enterprise"})) == ["repo"]
