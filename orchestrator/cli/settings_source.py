"""The function's settings, for commands that ask what it would do; with its secrets only where they are used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Json, TypeAdapter, ValidationError

from orchestrator.config.profiles import PoolId
from orchestrator.config.settings import OWN_HOST, Settings
from orchestrator.config.storage import STORAGE
from orchestrator.errors import SettingsError

# What stands in the place of every credential, so that a file without secrets will do, and one whose secrets are
# references to a vault. Nothing is called with these.
_PLACEHOLDERS: Mapping[str, str] = {
    "BatchAccountName": "none",
    "BatchAccountKey": "AAAA",
    "GithubAppId": "",
    "GithubAppPrivateKey": "",
    "GithubToken": "none",
    "GithubWebhookSecret": "none",
    "GithubWebhookSecretPrevious": "",
    "ClaimKey": "none" * 8,
    "ClaimKeyPrevious": "",
    "HTTPS_PROXY": "",
    "https_proxy": "",
    STORAGE: "UseDevelopmentStorage=true",
}
# The address where containers claim is made of this, and App Service tells it to nobody but the site.
_ELSEWHERE: Mapping[str, str] = {OWN_HOST: "none"}

# No field of the function's settings, so that a wrong price stops no delivery.
_PRICES = TypeAdapter[Mapping[str, float]](
    Json[Mapping[PoolId, Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]]]
)


def settings_without_secrets(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings with placeholders for all credentials.

    Args:
        file: a file in the form of `local.settings.json`, or what `az functionapp config appsettings list` prints; None
            for the environment.
        environment: where the settings are without a file.

    Raises:
        SettingsError: The file is of another form, or a setting is missing or wrong.
    """
    return Settings.from_environment({**_ELSEWHERE, **_given(file, environment), **_PLACEHOLDERS})


def settings_with_secrets(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings with what GitHub and Batch are called with.

    What only the function itself needs may be missing: the webhook's secret, the keys of claims, the storage account.

    Args:
        file: as for `settings_without_secrets`.
        environment: where the settings are without a file.

    Raises:
        SettingsError: The file is of another form, or a setting is missing or wrong.
    """
    return _settings(file, environment, ("GithubWebhookSecret", "ClaimKey"))


def settings_for_batch(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings with what Batch is called with, and placeholders for all that GitHub is called with.

    Args:
        file: as for `settings_without_secrets`.
        environment: where the settings are without a file.

    Raises:
        SettingsError: The file is of another form, or a setting is missing or wrong.
    """
    return _settings(file, environment, ("Github", "ClaimKey"))


def pool_prices(file: Path | None, environment: Mapping[str, str]) -> Mapping[str, float]:
    """Return what a node of each pool costs in an hour; no other setting is looked at.

    Args:
        file: as for `settings_without_secrets`.
        environment: where the setting is without a file.

    Raises:
        SettingsError: The file is of another form, or the setting is missing or wrong.
    """
    value = _given(file, environment).get("PoolPrices", "").strip()
    if not value:
        raise SettingsError.of("PoolPrices", 'is missing: what a node costs in an hour, like {"batchLinux": 0.192}')
    try:
        return _PRICES.validate_python(value)
    except ValidationError:
        raise SettingsError.of("PoolPrices", "is no JSON object of pools and prices") from None


def complete_settings(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings as the function itself would read them.

    Args:
        file: as for `settings_without_secrets`.
        environment: where the settings are without a file.

    Raises:
        SettingsError: The file is of another form, or a setting is missing or wrong.
    """
    return Settings.from_environment(_given(file, environment))


def _settings(file: Path | None, environment: Mapping[str, str], unused: tuple[str, ...]) -> Settings:
    """Return the settings with placeholders for those credentials whose names begin so, and for a missing storage."""
    values = _given(file, environment)
    without = {name: value for name, value in _PLACEHOLDERS.items() if name.startswith(unused)}
    if not any(value and name.startswith(STORAGE) for name, value in values.items()):
        without[STORAGE] = _PLACEHOLDERS[STORAGE]
    return Settings.from_environment({**_ELSEWHERE, **values, **without})


def _given(file: Path | None, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return what is in the file, or else in the environment."""
    if file is None:
        return environment
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8-sig"))
        if isinstance(content, list):
            content = {"Values": {entry["name"]: entry["value"] for entry in content}}
        return {str(name): _text(value) for name, value in content["Values"].items()}
    except OSError as error:
        raise SettingsError.of(str(file), f"cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise SettingsError.of(str(file), "has not the form of local.settings.json") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
