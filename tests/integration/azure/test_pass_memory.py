"""The record of what passes remember, written by the real SDK to the stand-in of the storage account."""

from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobClient, ContainerClient

from orchestrator.azure import pass_memory
from orchestrator.azure.pass_memory import BLOB, CONTAINER, MemoryBlob
from orchestrator.config.storage import FunctionStorage
from orchestrator.errors import SettingsError, TransientError
from sandbox.faults import Fault
from sandbox.server import Server
from sandbox.storage_queue import QueueService

NAME = f"{CONTAINER}/{BLOB}"


@pytest.fixture
def service() -> QueueService:
    """Return a storage account of its own."""
    return QueueService()


@pytest.fixture
def connection(service: QueueService) -> Iterator[str]:
    """Serve it; return its connection string."""
    with Server(service.application) as server:
        yield service.connection_string(server.url)


def blob(connection: str) -> MemoryBlob:
    """Return the blob as a process of its own sees it."""
    return MemoryBlob(FunctionStorage.from_environment({"AzureWebJobsStorage": connection}))


def test_written_and_read(connection: str) -> None:
    """What one process writes, another reads; the second look at the same is free of content."""
    one, other = blob(connection), blob(connection)
    assert one.read() is None
    assert one.write(b"first")
    assert one.read() is None
    assert other.read() == b"first"
    assert other.read() is None
    assert other.write(b"second")
    assert one.read() == b"second"


def test_two_processes_write(connection: str) -> None:
    """Of two processes that write at once one does it; the other reads that, and can write again."""
    one, other = blob(connection), blob(connection)
    assert one.write(b"one")
    assert not other.write(b"other")
    assert other.read() == b"one"
    assert other.write(b"other")
    assert not one.write(b"one")
    assert one.read() == b"other"


def test_deleted(service: QueueService, connection: str) -> None:
    """A blob that somebody deletes is written again by the next pass but one, at the latest."""
    one = blob(connection)
    assert one.write(b"first")
    service.blobs.contents.clear()
    assert not one.write(b"lost")
    assert one.read() is None
    assert one.write(b"second")
    service.blobs.contents.clear()
    assert one.read() is None
    assert one.write(b"third")
    assert service.blobs.contents == {NAME: b"third"}


def test_empty_or_too_long(service: QueueService, connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that cannot be a record counts as empty, and is overwritten."""
    monkeypatch.setattr(pass_memory, "MOST_BYTES", 10)
    one = blob(connection)
    assert one.write(b"first")
    for content in (b"", b"x" * 20):
        service.blobs.contents[NAME] = content
        assert blob(connection).read() == b""
    assert one.write(b"again")
    assert service.blobs.contents[NAME] == b"again"


def test_trouble(service: QueueService, connection: str) -> None:
    """An account that does not answer, or refuses, is transient trouble; the error says which role is needed."""
    one = blob(connection)
    for call in (one.read, lambda: one.write(b"x")):
        service.faults.add(Fault("status", status=503), Fault("drop"), Fault("status", status=403))
        for reason in ("503", "Error", "403: the identity needs Storage Blob Data Contributor"):
            with pytest.raises(TransientError, match=reason):
                call()


def test_a_container_that_cannot_be_created(service: QueueService, connection: str) -> None:
    """If the container is just created by another process the blob is written; any other refusal is trouble."""
    exists = Fault("status", "PUT /blob/sandbox/github-runners", status=409, headers={
        "x-ms-error-code": "ContainerAlreadyExists",
    })  # fmt: skip
    service.faults.add(exists)
    with pytest.raises(TransientError, match="404"):
        blob(connection).write(b"x")
    service.faults.add(Fault("status", "PUT /blob/sandbox/github-runners", status=403))
    with pytest.raises(TransientError, match="403"):
        blob(connection).write(b"x")


@pytest.mark.parametrize(
    "settings",
    [
        {"AzureWebJobsStorage": "AccountName"},
        {"AzureWebJobsStorage__queueServiceUri": "https://acct.queue.core.windows.net"},
    ],
)
def test_storage_that_is_not_known(settings: dict[str, str]) -> None:
    """Storage whose blobs cannot be found is named by its setting."""
    storage = FunctionStorage(connection_string=None, queue_service_uri="https://a.queue.core.windows.net")
    if "AzureWebJobsStorage" not in settings:
        storage = FunctionStorage.from_environment(settings)
    with pytest.raises(SettingsError, match="AzureWebJobsStorage__blobServiceUri: is missing"):
        MemoryBlob(storage).read()


def test_with_an_identity() -> None:
    """An identity reaches the blobs of the named account."""
    storage = FunctionStorage.from_environment({"AzureWebJobsStorage__accountName": "acct"})
    client = MemoryBlob(storage)._container.client
    assert client.url == "https://acct.blob.core.windows.net/github-runners"


def test_the_stand_in(service: QueueService, connection: str) -> None:
    """The stand-in refuses what the service refuses."""
    container = ContainerClient.from_connection_string(connection, "c", retry_total=0)
    container.create_container()
    with pytest.raises(ResourceExistsError):
        container.create_container()
    client = BlobClient.from_connection_string(connection, "c", "b", retry_total=0)
    client.upload_blob(b"0123456789")
    assert client.download_blob(2, 3).readall() == b"234"
    with pytest.raises(HttpResponseError, match="InvalidRange"):
        client.download_blob(20, 3)
    client.delete_blob()
    assert service.blobs.contents == {}
    forged = ContainerClient(client.url.rpartition("/c/")[0], "c", credential={
        "account_name": service.account, "account_key": "a2V5",
    }, retry_total=0)  # fmt: skip
    with pytest.raises(HttpResponseError, match="AuthenticationFailed"):
        forged.create_container()
