"""What an App may do, and what its manifest asks for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.github_app.manifest import EVENTS, Wish, api_url, wish
from orchestrator.cli.github_app.parameters import APP_SETTINGS, NAMES, settings_for
from orchestrator.config.github_rights import PERMISSIONS
from orchestrator.config.settings import Settings
from orchestrator.errors import SettingsError
from tests.builders import environment, private_key

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEMPLATE = json.loads((ROOT / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))
# How GitHub's pages call the permissions (GitHub docs, "Permissions required for GitHub Apps").
WORDS = {
    "organization_self_hosted_runners": "*Self-hosted runners*",
    "administration": "*Administration*",
    "actions": "*Actions*",
    "read": "read",
    "write": "read and write",
}


def asked(**changes: Any) -> Wish:
    """Return an App as the options ask for it."""
    options: dict[str, Any] = {
        "github_url": "https://github.com", "organization": "acme", "scope": None, "name": None, "webhook_url": None,
        "public": False,
    }  # fmt: skip
    return wish(**(options | changes))


def test_the_readme_names_the_same_rights() -> None:
    """The README's row about the App names each permission of the manifest at its level, and no other."""
    (row,) = [line for line in README.splitlines() if line.startswith("| GitHub App |")]
    found = set(re.findall(r"(\*[A-Z][^*]+\*) (read and write|read)", row))
    assert found == {(WORDS[name], WORDS[level]) for needs in PERMISSIONS.values() for name, level in needs.items()}
    organization, repository = row.partition("Repository runners:")[::2]
    assert WORDS["organization_self_hosted_runners"] in organization
    assert WORDS["administration"] in repository


def test_the_events_are_those_of_the_docs() -> None:
    """The App is subscribed to the one event that those are told who make it by hand."""
    assert EVENTS == ("workflow_job",)
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert "subscribe it to *Workflow jobs*" in " ".join(page.partition("### By hand")[2].split())


def test_the_template_has_the_parameters() -> None:
    """Each parameter of the file is one of the template's, and the secrets are secure there."""
    found = {name: TEMPLATE["parameters"][name]["type"].lower() for name in NAMES.values()}
    assert found == {
        "githubAppId": "string", "githubAppPrivateKey": "securestring", "githubWebhookSecret": "securestring",
    }  # fmt: skip
    assert TEMPLATE["parameters"][APP_SETTINGS]["type"].lower() in ("object", "secureobject")


@pytest.mark.parametrize("scope", ["organization", "repository"])
@pytest.mark.parametrize("github_url", ["https://github.com", "https://acme.ghe.com", "https://github.acme.com"])
def test_the_function_understands_the_settings(github_url: str, scope: Any) -> None:
    """The settings that go with an App lead the function to the same GitHub, and to the same kind of runners."""
    written = settings_for(github_url, scope)
    found = Settings.from_environment(
        environment(GithubAppId="1", GithubAppPrivateKey=private_key(), GithubToken="", **written)
    )
    assert (found.github_web_url, found.github_api_url, found.runner_scope) == (github_url, api_url(github_url), scope)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("organization", "runners-acme", "https://github.com/organizations/acme/settings/apps/new")),
        ({"organization": None}, ("repository", None, "https://github.com/settings/apps/new")),
        ({"scope": "repository"}, ("repository", "runners-acme", "https://github.com/organizations/acme/settings/apps/new")),
        (
            {"organization": "a-very-long-name-of-a-company", "github_url": "https://github.acme.com/"},
            ("organization", "runners-a-very-long-name-of-a-comp",
             "https://github.acme.com/organizations/a-very-long-name-of-a-company/settings/apps/new"),
        ),
    ],
)  # fmt: skip
def test_what_is_left_open(changes: dict[str, Any], expected: tuple[str, str | None, str]) -> None:
    """The scope follows from the owner, the name from it too, and the address of the form from GitHub and owner."""
    found = asked(**changes)
    assert (found.scope, found.name, found.form_url) == expected


def test_the_manifest() -> None:
    """The App is private, its webhook is on and leads where it was asked, and GitHub sends the browser back."""
    manifest = asked(webhook_url="https://f.example/api?code=k").manifest("http://127.0.0.1:1/x")
    assert manifest["hook_attributes"] == {"url": "https://f.example/api?code=k", "active": True}
    assert (manifest["public"], manifest["redirect_url"]) == (False, "http://127.0.0.1:1/x")
    assert (manifest["url"], manifest["name"]) == ("https://github.com/acme", "runners-acme")
    personal = asked(public=True, organization=None).manifest("")
    assert (personal["public"], "name" in personal) == (True, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"organization": "a/b"}, "--organization: is not the login"),
        ({"organization": ""}, "--organization: is not the login"),
        ({"organization": None, "scope": "organization"}, "--runner-scope: organization needs --organization"),
        ({"name": "x" * 35}, "--name: must have 1 to 34 characters"),
        ({"name": ""}, "--name: must have 1 to 34 characters"),
        ({"github_url": "http://github.acme.com"}, "--github-url: is not an https:// address"),
        ({"github_url": "https://github.com/?x"}, "--github-url: is not an https:// address"),
        ({"webhook_url": "ftp://x"}, "--webhook-url: is not an https:// address"),
    ],
)
def test_wrong_options(changes: dict[str, Any], message: str) -> None:
    """An option that cannot be meant so is refused by its name."""
    with pytest.raises(SettingsError, match=message):
        asked(**changes)
