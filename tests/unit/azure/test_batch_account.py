"""Who opens the Batch account."""

from azure.core.credentials import AzureNamedKeyCredential
from azure.identity import DefaultAzureCredential

from orchestrator.azure.batch_account import BatchAccount
from tests.builders import settings


def test_a_key_wins() -> None:
    """With the account's key no identity is needed; the key is in no text of it."""
    account = BatchAccount.of(settings(BatchAccountName="acct", BatchAccountKey="a2V5"))
    assert isinstance(account.credential, AzureNamedKeyCredential)
    assert account.credential.named_key == ("acct", "a2V5")
    assert "a2V5" not in repr(account)


def test_without_a_key() -> None:
    """Without the key the credential is the identity's, whether the account has a name or not."""
    for name in ("acct", ""):
        account = BatchAccount.of(settings(BatchAccountName=name, BatchAccountKey=""))
        assert isinstance(account.credential, DefaultAzureCredential)
