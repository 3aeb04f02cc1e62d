"""The record of what passes remember: one blob in the storage account of the function itself."""

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from orchestrator.azure.errors import blob_error, error_code, translating
from orchestrator.azure.identity import identity
from orchestrator.azure.transport import bounded
from orchestrator.config.settings import STORAGE, QueueStorage
from orchestrator.egress import DIRECT, Egress
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

CONTAINER = "github-runners"
BLOB = "control-loop.json.gz"
# Seconds to connect, between bytes of the answer, and for one answer in all. A pass goes on without its memory.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 10
TOTAL_TIMEOUT = 30
# The codes of "there is no such blob".
MISSING = ("BlobNotFound", "ContainerNotFound")
# Bytes of a record. A longer one is not this function's, and counts as empty.
MOST_BYTES = 16 * 1024 * 1024


class MemoryBlob:
    """The blob, created with its container when it is first written.

    A write counts only if the blob is still the one that this process has read or written last.

    Args:
        storage: where it is, and who may use it.
        egress: the way out.
    """

    def __init__(self, storage: QueueStorage, egress: Egress = DIRECT) -> None:
        self._storage = storage
        self._egress = egress
        self._etag: str | None = None

    def read(self) -> bytes | None:
        """Return the blob's content; None if there is no blob, or still the one that was read or written last.

        Raises:
            TransientError: The storage does not answer.
            SettingsError: It is not known where the storage has its blobs.
        """
        condition: dict[str, Any] = {}
        if self._etag is not None:
            condition = {"etag": self._etag, "match_condition": MatchConditions.IfModified}
        with translating("be read", blob_error):
            try:
                found = self._container.download_blob(BLOB, **condition)
            except HttpResponseError as error:
                if error.status_code == HTTPStatus.NOT_MODIFIED:
                    return None
                if error_code(error) not in MISSING:
                    raise
                self._etag = None
                return None
            self._etag = found.properties.etag
            return found.readall() if found.size <= MOST_BYTES else b""

    def write(self, content: bytes) -> bool:
        """Write the blob; return False if another process has written it since this one read it.

        Raises:
            TransientError: The storage does not take it.
            SettingsError: as `read`.
        """
        with translating("be written", blob_error):
            try:
                self._upload(content)
            except HttpResponseError as error:
                match error_code(error):
                    case "ContainerNotFound":
                        self._create_container()
                        self._upload(content)
                    case "ConditionNotMet" | "BlobAlreadyExists" | "BlobNotFound":
                        self._etag = None
                        return False
                    case _:
                        raise
            return True

    def _upload(self, content: bytes) -> None:
        condition: dict[str, Any] = (
            {"match_condition": MatchConditions.IfMissing}
            if self._etag is None
            else {"etag": self._etag, "match_condition": MatchConditions.IfNotModified}
        )
        written = self._container.get_blob_client(BLOB).upload_blob(content, overwrite=True, **condition)
        self._etag = written["etag"]

    def _create_container(self) -> None:
        try:
            self._container.create_container()
        except HttpResponseError as error:
            if error_code(error) != "ContainerAlreadyExists":  # another process was faster
                raise

    @cached_property
    def _container(self) -> "ContainerClient":
        # Imported here, as it takes long to load and only passes need it.
        from azure.storage.blob import ContainerClient  # noqa: PLC0415

        storage = self._storage
        limits = bounded(CONNECT_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT, self._egress)
        options = {"max_single_get_size": MOST_BYTES, **limits}
        if storage.connection_string is not None:
            connection = storage.connection_string.get_secret_value()
            return ContainerClient.from_connection_string(connection, CONTAINER, **options)
        if storage.blob_service_uri is None:
            raise SettingsError.of(f"{STORAGE}__blobServiceUri", "is missing")
        credential = identity(storage.client_id, self._egress)
        return ContainerClient(storage.blob_service_uri, CONTAINER, credential=credential, **options)
