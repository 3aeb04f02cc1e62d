"""The function's own identity: what it calls Batch and storage as where no key is configured."""

from azure.core.credentials import TokenCredential


def identity(client_id: str | None) -> TokenCredential:
    """Return the credential of the function's managed identity, or of whoever is logged in on a developer's machine.

    Args:
        client_id: of a user-assigned identity; None for `AZURE_CLIENT_ID`, or the system-assigned one.
    """
    # Its import takes a while, and with keys nobody needs it.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential(**({"managed_identity_client_id": client_id} if client_id else {}))
