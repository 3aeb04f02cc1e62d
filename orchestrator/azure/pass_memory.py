"""The record of what passes remember: one blob in the storage account of the function itself."""

from http import HTTPStatus
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from orchestrator.azure.blob_container import MOST_BYTES, BlobContainer
from orchestrator.azure.errors import blob_error, error_code, translating
from orchestrator.config.storage import FunctionStorage
from orchestrator.egress import DIRECT, Egress

CONTAINER = "github-runners"
BLOB = "control-loop.json.gz"
# The codes of "there is no such blob".
MISSING = ("BlobNotFound", "ContainerNotFound")


class MemoryBlob:
    """The blob, created with its container when it is first written.

    A write counts only if the blob is still the one that this process has read or written last.

    Args:
        storage: where it is, and who may use it.
        egress: the way out.
    """

    def __init__(self, storage: FunctionStorage, egress: Egress = DIRECT) -> None:
        self._container = BlobContainer(storage, CONTAINER, egress)
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
                found = self._container.client.download_blob(BLOB, **condition)
            except HttpResponseError as error:
                if error.status_code == HTTPStatus.NOT_MODIFIED:
                    return None
                if error_code(error) not in MISSING:
                    raise
                self._etag = None
                return None
            # A longer one is not this function's, and counts as empty.
            content = found.readall() if found.size <= MOST_BYTES else b""
            self._etag = found.properties.etag
            return content

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
                        self._container.create()
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
        written = self._container.client.get_blob_client(BLOB).upload_blob(content, overwrite=True, **condition)
        self._etag = written["etag"]
