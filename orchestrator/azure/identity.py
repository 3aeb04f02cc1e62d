"""As whom the function signs in to Azure: with an account's key, or with a managed identity."""

from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.config.storage import FunctionStorage
from orchestrator.egress import DIRECT, Egress

# Of a call to what gives tokens.
TIME_OUTS = TimeOuts(connect=2, read=5, total=5)


def identity(client_id: str | None, egress: Egress = DIRECT) -> TokenCredential:
    """Return the credential of the function's identity.

    Args:
        client_id: the user-assigned identity to use; else `AZURE_CLIENT_ID` names it, or it is the system-assigned one.
        egress: the way out.
    """
    # Imported here, as it takes long to load and is not needed where keys are used.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    options = bounded(TIME_OUTS, egress)
    if client_id:
        options["managed_identity_client_id"] = client_id
    return DefaultAzureCredential(**options)


def storage_credential(
    storage: FunctionStorage, url: str, egress: Egress = DIRECT
) -> AzureNamedKeyCredential | TokenCredential:
    """Return the key of the function's storage for an address of that account, else the function's identity.

    Args:
        storage: the function's own, which has a key where a connection string names it.
        url: what is to be read or written.
        egress: the way out.
    """
    text = storage.connection_string.get_secret_value() if storage.connection_string else ""
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    blobs = parts.get("BlobEndpoint", "")
    if blobs and url.startswith(blobs) and {"AccountName", "AccountKey"} <= set(parts):
        return AzureNamedKeyCredential(parts["AccountName"], parts["AccountKey"])
    return identity(storage.client_id, egress)
