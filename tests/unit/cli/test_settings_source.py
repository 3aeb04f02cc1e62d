"""The settings of commands, with and without the secrets."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from orchestrator.cli.settings_source import settings_for_batch, settings_with_secrets, settings_without_secrets
from orchestrator.config.settings import Settings
from tests.builders import environment, private_key

REFERENCE = "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/one)"
CLAIM_KEY = "k" * 32


def holds_a_secret(annotation: Any) -> bool:
    """Whether a field of this type holds a secret, perhaps within a model of its own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(holds_a_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(holds_a_secret, get_args(annotation)))


SECRETS = [field.alias or "" for field in Settings.model_fields.values() if holds_a_secret(field.annotation)]
# Everything that the function may be told, with claims as its containers' registration.
COMPLETE = environment(
    GithubAppId="1",
    GithubAppPrivateKey=private_key().replace("\n", "\\n"),
    GithubWebhookSecretPrevious="before",
    RunnerRegistration="claim",
    ClaimKey=CLAIM_KEY,
    ClaimKeyPrevious=CLAIM_KEY,
    ClaimSources="10.0.0.0/8",
    HTTPS_PROXY="http://proxy.example:3128",
)


def written(folder: Path, values: dict[str, str]) -> Path:
    """Return a file in the form of `local.settings.json` with these values."""
    file = folder / "settings.json"
    file.write_text(json.dumps({"Values": values}), encoding="utf-8")
    return file


def test_every_secret_is_known() -> None:
    """The secrets are those fields that hold one, also the storage's."""
    assert set(SECRETS) <= set(COMPLETE)
    assert {"ClaimKey", "GithubToken", "HTTPS_PROXY", "AzureWebJobsStorage"} <= set(SECRETS)


@pytest.mark.parametrize("secret", [*SECRETS, "https_proxy"])
def test_a_reference_to_a_vault(secret: str, tmp_path: Path) -> None:
    """A file in which a secret is a reference to a vault will do where no secret is used."""
    file = written(tmp_path, COMPLETE | {secret: REFERENCE})
    assert settings_without_secrets(file, {}).runner_registration == "claim"


def test_no_secret_at_all(tmp_path: Path) -> None:
    """A file without secrets will do where none is used, also if containers claim their registration."""
    file = written(tmp_path, {name: value for name, value in COMPLETE.items() if name not in SECRETS})
    found = settings_without_secrets(file, {})
    assert {profile.registration for profile in found.profiles} == {"claim"}
    assert all(secret not in repr(found) for secret in ("ghp_token", CLAIM_KEY))


@pytest.mark.parametrize("read", [settings_with_secrets, settings_for_batch])
def test_what_only_the_function_needs(read: Any, tmp_path: Path) -> None:
    """Whoever calls GitHub or Batch needs neither the key of claims nor the webhook's secret."""
    unused = ("ClaimKey", "ClaimKeyPrevious", "GithubWebhookSecret", "AzureWebJobsStorage")
    file = written(tmp_path, {name: value for name, value in COMPLETE.items() if name not in unused})
    found = read(file, {})
    assert found.batch_account_key.get_secret_value() == "a2V5"
    assert found.https_proxy.get_secret_value() == "http://proxy.example:3128"
