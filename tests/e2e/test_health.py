"""The set-up of the deployed shape, as a monitor and as an operator ask for it."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from orchestrator.cli.main import run
from orchestrator.config.runner_version import PINNED
from sandbox.deployment import REPOSITORY, Deployment
from tests.e2e.helpers import all_done
from tests.waiting import until

# Without claims: their address is http:// here, which is a warning.
SETTINGS = {"AllowedOrganizations": "acme", "SiteHookRanges": "192.0.2.0/24,2001:db8::/32", "ClaimKey": ""}


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Return a deployment with its webhook in place."""
    with Deployment(settings=SETTINGS) as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        yield deployment


def health(deployment: Deployment, **query: str) -> tuple[int, dict[str, Any]]:
    """Ask as a monitor does."""
    headers = {"x-functions-key": deployment.key, "Accept": "application/json"}
    answer = requests.get(f"{deployment.host.url}/api/health", params=query, headers=headers, timeout=30)
    return answer.status_code, answer.json()


def test_the_deployed_shape(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is as it must be, a monitor sees it in the status, and the command prints each line."""
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    status, short = health(deployment)
    assert (status, [line for line in short["checks"] if line["state"] in ("warn", "fail")]) == (200, [])
    assert short["answered"]
    monkeypatch.setenv("OPERATOR_KEY", deployment.key)
    assert run(["check", "--url", deployment.host.url]) == 0
    printed = capsys.readouterr().out
    for item in ("webhook of organization acme", "pool batchLinux", "pool batchWindows", "queue", f"runner {PINNED}"):
        assert f"ok         {item} " in printed


def test_a_key_is_needed(deployment: Deployment) -> None:
    """Nobody looks at the set-up without a key."""
    assert requests.get(f"{deployment.host.url}/api/health", timeout=30).status_code == 401


def test_a_missing_pool() -> None:
    """A pool that does not exist is named, with the cure, and the status says that something fails."""
    with Deployment(settings={**SETTINGS, "WindowsPool": "nowhere"}) as deployment:
        status, found = health(deployment, full="1")
        lines = [line for line in found["checks"] if line["state"] == "fail"]
        assert (status, [line["item"] for line in lines]) == (503, ["pool nowhere"])
        assert lines[0]["cure"] == "create it, or correct the profile's pool"
