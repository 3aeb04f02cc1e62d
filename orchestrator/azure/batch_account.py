"""The Batch account: where it is, who may use it, and the SDK's client for it."""

from dataclasses import dataclass, field

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.identity import identity
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.config.settings import Settings
from orchestrator.egress import DIRECT, Egress

# Where a person waits for what several calls tell.
SOMEBODY_WAITS = TimeOuts(connect=3, read=4, total=5)


@dataclass(frozen=True)
class BatchAccount:
    """A Batch account.

    Attributes:
        url: `BatchAccountUrl`.
        credential: its key, or an Entra ID credential.
        egress: the way out.
    """

    url: str
    credential: AzureNamedKeyCredential | TokenCredential = field(repr=False)
    egress: Egress = DIRECT

    @classmethod
    def of(cls, settings: Settings) -> "BatchAccount":
        """Return the one that the settings name, used with its key where that is set, else as the function's identity.

        Args:
            settings: the app settings.
        """
        egress, name, key = settings.egress, settings.batch_account_name, settings.batch_account_key
        if name is not None and key is not None:
            return cls(settings.batch_account_url, AzureNamedKeyCredential(name, key.get_secret_value()), egress)
        credential = identity(settings.azure_web_jobs_storage.client_id, egress)
        return cls(settings.batch_account_url, credential, egress)

    def client(self, time_outs: TimeOuts) -> BatchClient:
        """Return a client whose calls are bounded and made once; see `bounded`."""
        return BatchClient(self.url, self.credential, **bounded(time_outs, self.egress))
