"""A GitHub App that the command line made: what it may do is enough for the function, and its webhook reaches it."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from sandbox.deployment import ORGANIZATION, REPOSITORY, Deployment
from tests.browser import Browser
from tests.e2e.helpers import all_done, answers
from tests.waiting import until


def test_an_app_from_its_manifest_to_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered, deployed with its parameters file, connected and installed, the App gets a job its runner."""
    monkeypatch.setattr("webbrowser.open", Browser().open)
    file = tmp_path / "app.json"
    with Deployment(connect_hook=False) as deployment:
        url = deployment.github.url
        options = ["--organization", ORGANIZATION, "--github-url", url, "--output", str(file)]
        assert run(["app", "create", *options]) == 0
        values = json.loads(file.read_text(encoding="utf-8"))["parameters"]
        deployment.stop_host()
        deployment.change_settings(
            {
                "GithubToken": "",
                "GithubAppId": values["githubAppId"]["value"],
                "GithubAppPrivateKey": values["githubAppPrivateKey"]["value"],
                "GithubWebhookSecret": values["githubWebhookSecret"]["value"],
                "AllowedSources": "127.0.0.1",
                **values["appSettings"]["value"],
            }
        )
        deployment.start_host()
        assert run(["app", "connect", deployment.webhook_url, "--parameters", str(file)]) == 0
        (app,) = deployment.github.access.apps.values()
        deployment.github.install(app, ORGANIZATION)
        deployment.github.queue_job(REPOSITORY, ("self-hosted", "ubuntu-latest"))
        until(lambda: all_done(deployment))
        assert [status for status, _ in answers(deployment)] == [201]
