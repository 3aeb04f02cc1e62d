"""Where runners register, without a delivery."""

import json

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.runners.installed import Installed
from orchestrator.runners.known_scopes import known_scopes
from tests.builders import queued_job, settings

EVENT = workflow_job_event(json.dumps(queued_job(installation={"id": 7})).encode())
INSTALLED = [Installed(1, "Acme", is_organization=True), Installed(2, "mona", is_organization=False)]


def names(*arguments: object, **changes: str) -> list[str]:
    """Return the scopes, each with the installation that reaches it."""
    events, installed = arguments or ((), ())
    found = known_scopes(settings(**changes), events, installed)  # type: ignore[arg-type]
    return [f"{access.scope} by {access.installation}" for access in found]


def test_organizations() -> None:
    """Recent jobs come first, then installations, then the settings; each organization is named once, in any case."""
    assert names((EVENT, EVENT), INSTALLED, AllowedOrganizations="acme,umbrella") == [
        "organization acme by 7",
        "organization umbrella by None",
    ]
    assert names((), INSTALLED) == ["organization Acme by 1"]
    assert names() == []


def test_repositories() -> None:
    """Where runners register at repositories, recent jobs and the settings name them."""
    changes = {"RunnerScope": "repository", "ReconcileRepositories": "acme/lib"}
    assert names((EVENT,), INSTALLED, **changes) == ["repository acme/app by 7", "repository acme/lib by None"]


def test_an_enterprise() -> None:
    """An enterprise is the only scope there is."""
    assert names((EVENT,), INSTALLED, RunnerScope="enterprise", GithubEnterprise="corp") == ["enterprise corp by None"]
