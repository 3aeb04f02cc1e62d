"""Which credential the function signs in with."""

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.identity import DefaultAzureCredential
from pydantic import SecretStr

from orchestrator.azure.identity import batch_credential, identity


def test_a_key_wins() -> None:
    """With the account's key no identity is needed."""
    credential = batch_credential("acct", SecretStr("a2V5"), None)
    assert isinstance(credential, AzureNamedKeyCredential)
    assert credential.named_key == ("acct", "a2V5")


def test_without_a_key() -> None:
    """Without the key, or without the account's name, the credential is the identity's."""
    assert isinstance(batch_credential("acct", None, None), DefaultAzureCredential)
    assert isinstance(batch_credential(None, SecretStr("a2V5"), None), DefaultAzureCredential)


class Recorder:
    """Stands in for the SDK's credential, and keeps what it was made with."""

    def __init__(self, **options: str) -> None:
        self.options = options


@pytest.mark.parametrize(
    ("client_id", "options"), [("1234", {"managed_identity_client_id": "1234"}), (None, {}), ("", {})]
)
def test_which_identity(monkeypatch: pytest.MonkeyPatch, client_id: str | None, options: dict[str, str]) -> None:
    """A user-assigned identity is named by its client id; without one the SDK's own default holds."""
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Recorder)
    credential = identity(client_id)
    assert isinstance(credential, Recorder)
    assert credential.options == options
