"""Which hosts are tried, by the settings."""

from orchestrator.health.targets import EGRESS, targets
from tests.builders import settings

KEYS = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "BatchAccountKey": "a2V5"}
IDENTITY = {"BatchAccountKey": "", "AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "acct"}


def urls(**changes: str) -> list[str]:
    """Return what is tried."""
    return [target.url for target in targets(settings(**changes), EGRESS)]


def test_the_public_github() -> None:
    """All hosts of the list that have a name are tried, each once; what a node or a deployment needs is not."""
    found = urls(**IDENTITY)
    assert found[:2] == ["https://api.github.com", "https://github.com"]
    assert {"https://codeload.github.com", "https://ghcr.io", "https://login.microsoftonline.com"} <= set(found)
    assert len(found) == len(set(found))
    assert not [url for url in found if "*" in url or "docker" in url or "azkms" in url or "cdn" in url]


def test_another_github() -> None:
    """With an Enterprise Server its own host is tried, and none of the public GitHub's."""
    found = urls(GithubApiUrl="https://ghe.example/api/v3", AllowedSources="10.0.0.0/8", **IDENTITY)
    assert found == ["https://ghe.example", "https://login.microsoftonline.com"]


def test_keys() -> None:
    """With keys nobody signs in at Entra ID."""
    assert "https://login.microsoftonline.com" not in urls(**KEYS)


def test_other_ports() -> None:
    """A host that does not speak HTTPS gets a connection and no more; what a job may use is not needed."""
    entries = [{"who": "runners", "hosts": ["a.example"], "port": 1688, "why": "w", "when": "a job uses them"}]
    found = targets(settings(), entries)[-1]
    assert (found.url, found.needed, found.who) == ("tcp://a.example:1688", False, "runners")
    assert [target.needed for target in targets(settings(), EGRESS)][:2] == [True, True]
