"""Which credential the function signs in with."""

import asyncio

import pytest
from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.identity import ManagedIdentityCredential

from orchestrator.azure.identity import identity, storage_credential
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.config.storage import FunctionStorage
from orchestrator.egress import DIRECT
from sandbox.server import Server


@pytest.mark.parametrize(
    ("connection", "url", "has_key"),
    [
        ("AccountName=a;AccountKey=a2V5;BlobEndpoint=http://x/blob/a", "http://x/blob/a/logs", True),
        ("AccountName=a;AccountKey=a2V5;BlobEndpoint=http://x/blob/a", "https://b.blob.core.windows.net/logs", False),
        ("AccountName=a;BlobEndpoint=http://x/blob/a;SharedAccessSignature=s=1", "http://x/blob/a/logs", False),
        ("UseDevelopmentStorage=true", "http://x/blob/a/logs", False),
        ("", "https://b.blob.core.windows.net/logs", False),
    ],
)
def test_storage(connection: str, url: str, *, has_key: bool) -> None:
    """The key of a connection string opens its own account only; everywhere else the identity signs in."""
    storage = FunctionStorage.from_environment(
        {"AzureWebJobsStorage": connection, "AzureWebJobsStorage__accountName": "a"}
    )
    assert isinstance(storage_credential(storage, url), AzureNamedKeyCredential) == has_key


class Recorder:
    """Stands in for the SDK's credential, and keeps what it was made with."""

    def __init__(self, **options: object) -> None:
        self.options = options


@pytest.mark.parametrize(
    ("client_id", "options"), [("1234", {"managed_identity_client_id": "1234"}), (None, {}), ("", {})]
)
def test_which_identity(monkeypatch: pytest.MonkeyPatch, client_id: str | None, options: dict[str, str]) -> None:
    """A user-assigned identity is named by its client id; without one the SDK's own default holds."""
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Recorder)
    credential = identity(client_id)
    assert isinstance(credential, Recorder)
    bounds = {"retry_total": 0, "permit_redirects": False}
    assert credential.options == options | bounds | {"transport": credential.options["transport"]}


def test_an_identity_endpoint_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that gives its token byte by byte is given up in time, and asked once."""
    asked: list[str] = []

    async def trickle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    application = web.Application()
    application.router.add_get("/token", trickle)
    with Server(application) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        credential = ManagedIdentityCredential(**bounded(TimeOuts(1, 1, 0.2), DIRECT))
        with pytest.raises(AzureError):
            credential.get_token("https://batch.core.windows.net/.default")
    assert asked == ["/token"]
