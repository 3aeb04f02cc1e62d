"""The App's parameters file, read and written."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.github_app.parameters import AppParameters, new_file, read
from orchestrator.errors import SettingsError
from tests.builders import private_key


def written(path: Path, **changes: object) -> Path:
    """Write a parameters file; None takes a parameter away."""
    values = {"githubAppId": "7", "githubAppPrivateKey": private_key(), "githubWebhookSecret": "s" * 16} | changes
    parameters = {name: {"value": value} for name, value in values.items() if value is not None}
    path.write_text(json.dumps({"parameters": parameters}), encoding="utf-8")
    return path


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    """A file that was written is read as the same App, with its settings."""
    app = AppParameters("7", private_key(), "secret", {"GithubApiUrl": "https://api.acme.ghe.com"})
    with new_file(tmp_path / "app.json", force=False) as write:
        write(app.text())
    assert read(tmp_path / "app.json") == app
    assert app.api_url == "https://api.acme.ghe.com"


def test_a_file_of_the_operators_own(tmp_path: Path) -> None:
    """A file with other parameters beside the App's is read too; without settings GitHub is the public one."""
    app = read(written(tmp_path / "own.json", appName="runners"))
    assert (app.app_id, app.webhook_secret, app.api_url) == ("7", "s" * 16, "https://api.github.com")


def test_no_settings(tmp_path: Path) -> None:
    """Where no app setting goes with the App, the file leaves the template's own default alone."""
    with new_file(tmp_path / "app.json", force=False) as write:
        write(AppParameters("7", private_key(), "secret").text())
    assert "appSettings" not in (tmp_path / "app.json").read_text(encoding="utf-8")


def test_secrets_are_not_shown() -> None:
    """Neither the key nor the webhook secret is in the representation."""
    assert repr(AppParameters("7", "the-key", "the-secret")) == "AppParameters(app_id='7', settings={})"


@pytest.mark.parametrize(
    "changes",
    [
        {"githubAppId": None}, {"githubAppPrivateKey": None}, {"githubWebhookSecret": ""}, {"githubAppId": 7},
        {"appSettings": []}, {"appSettings": {"GithubApiUrl": 1}},
    ],
)  # fmt: skip
def test_a_file_without_an_app(tmp_path: Path, changes: dict[str, object]) -> None:
    """A file that lacks one of the App's parameters, or has something else in its place, is refused."""
    with pytest.raises(SettingsError, match="is not a parameters file with githubAppId, githubAppPrivateKey"):
        read(written(tmp_path / "app.json", **changes))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"parameters": []}', "\udcff"])
def test_a_file_of_another_kind(tmp_path: Path, content: str) -> None:
    """What is no parameters file is refused."""
    (tmp_path / "app.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match="is not a parameters file"):
        read(tmp_path / "app.json")


def test_no_file(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(SettingsError, match=r"app\.json: cannot be read \(No such file or directory\)"):
        read(tmp_path / "app.json")


def test_a_key_that_is_none(tmp_path: Path) -> None:
    """A private key that is none is refused by the parameter's name."""
    with pytest.raises(SettingsError, match="githubAppPrivateKey: is not a private key"):
        read(written(tmp_path / "app.json", githubAppPrivateKey="GET-SECRET"))


@pytest.mark.parametrize("force", [True, False])
def test_nothing_is_seen_of_a_file_that_is_not_finished(tmp_path: Path, force: bool) -> None:
    """Until all is written the file is not there, or what it was; what stops the writing leaves no trace."""
    path = tmp_path / "app.json"
    if force:
        path.write_text("old", encoding="utf-8")
    before = list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), new_file(path, force=force):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == before
