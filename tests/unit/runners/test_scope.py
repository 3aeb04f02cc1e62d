"""Where a runner registers."""

import json
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.runners.scope import Scope, runner_scope
from tests.builders import queued_job, settings


@pytest.mark.parametrize(
    ("changes", "payload", "scope"),
    [
        ({}, {}, Scope("organization", "acme")),
        ({}, {"organization": None}, Scope("repository", "acme/app")),
        ({"RunnerScope": "repository"}, {}, Scope("repository", "acme/app")),
        ({"RunnerScope": "enterprise", "GithubEnterprise": "big"}, {}, Scope("enterprise", "big")),
    ],
)
def test_scope(changes: dict[str, str], payload: dict[str, Any], scope: Scope) -> None:
    """A runner registers where `RunnerScope` says, and with the repository where there is no organization."""
    event = workflow_job_event(json.dumps(queued_job(**payload)).encode())
    assert runner_scope(event, settings(**changes)) == scope


@pytest.mark.parametrize(
    ("scope", "path", "url"),
    [
        (Scope("repository", "acme/app"), "/repos/acme/app", "https://github.com/acme/app"),
        (Scope("organization", "acme"), "/orgs/acme", "https://github.com/acme"),
        (Scope("enterprise", "big"), "/enterprises/big", "https://github.com/enterprises/big"),
    ],
)
def test_where_a_scope_is(scope: Scope, path: str, url: str) -> None:
    """Each scope has its REST path and the address that a runner registers with."""
    assert (scope.api_path, scope.url("https://github.com")) == (path, url)
    assert scope.name in str(scope)
