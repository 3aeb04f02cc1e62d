"""The App's secrets as a parameters file of the template: made for its owner's eyes, and never in half."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cli.github_app.manifest import PUBLIC_GITHUB, api_url
from orchestrator.config import private_key
from orchestrator.config.github_rights import AppScope
from orchestrator.config.settings import PUBLIC_API
from orchestrator.errors import SettingsError

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
# The template's names for the parameters, by the attribute of `AppParameters`.
NAMES = {
    "app_id": "githubAppId",
    "private_key": "githubAppPrivateKey",
    "webhook_secret": "githubWebhookSecret",
}
# The template's name for an object of further settings.
APP_SETTINGS = "appSettings"


@dataclass(frozen=True)
class AppParameters:
    """What a deployment must know of the App.

    Attributes:
        app_id: its id.
        private_key: in PEM form.
        webhook_secret: signs its deliveries.
        settings: app settings that go with it.
    """

    app_id: str
    private_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """Where the REST API is."""
        return self.settings.get("GithubApiUrl", PUBLIC_API)

    def text(self) -> str:
        """Return the content of the file."""
        values: dict[str, object] = {name: getattr(self, attribute) for attribute, name in NAMES.items()}
        if self.settings:
            values[APP_SETTINGS] = dict(self.settings)
        parameters = {name: {"value": value} for name, value in values.items()}
        return json.dumps({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": parameters}, indent=2) + "\n"


def settings_for(github_url: str, scope: AppScope) -> dict[str, str]:
    """Return the app settings without which the function would not use an App as it was asked for."""
    settings = {} if github_url == PUBLIC_GITHUB else {"GithubApiUrl": api_url(github_url)}
    return settings if scope == "organization" else {**settings, "RunnerScope": scope}


def read(path: Path) -> AppParameters:
    """Read the App from a parameters file, whoever wrote it.

    Raises:
        SettingsError: There is no such file, or it holds no App.
    """
    try:
        parameters: Any = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        found = {attribute: _text(parameters[name]["value"]) for attribute, name in NAMES.items()}
        further = {name: _text(value) for name, value in parameters.get(APP_SETTINGS, {"value": {}})["value"].items()}
    except OSError as error:
        raise SettingsError.of(str(path), f"cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise SettingsError.of(str(path), f"is not a parameters file with {', '.join(NAMES.values())}") from None
    try:
        found["private_key"] = private_key.normalized(found["private_key"])
    except ValueError as error:
        raise SettingsError.of(f"{path}: {NAMES['private_key']}", str(error)) from None
    return AppParameters(**found, settings=further)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Callable[[str], None]]:
    """Make sure that a file can be written; yield what writes it. Before that nothing is seen of it.

    Nobody but its owner may read it.

    Args:
        path: the file.
        force: whether it may replace one that exists.

    Raises:
        SettingsError: It exists already, or cannot be written there.
    """
    if not force and os.path.lexists(path):
        raise SettingsError.of(str(path), "exists already (--force replaces it)")
    try:
        # Readable and writable for its owner alone, whatever the umask.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise SettingsError.of(str(path), f"cannot be written ({error.strerror})") from None

    draft = Path(name)

    def write(content: str) -> None:
        with draft.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            draft.replace(path)
        else:
            path.hardlink_to(draft)  # unlike a renaming it fails if there is a file by now

    try:
        yield write
    finally:
        draft.unlink(missing_ok=True)
