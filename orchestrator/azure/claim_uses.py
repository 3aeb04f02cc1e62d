"""Which claims were used: one small blob for each start of a task, in the function's own storage.

Nobody deletes them here. The template lets the storage do so after a week.
"""

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from orchestrator.azure.blob_container import BlobContainer
from orchestrator.azure.errors import blob_error, error_code, translating
from orchestrator.azure.transport import TimeOuts
from orchestrator.config.storage import FunctionStorage
from orchestrator.egress import DIRECT, Egress

CONTAINER = "runner-claims"
# Bytes that are read of a blob. Ours have about a hundred.
MOST_BYTES = 1024
# A container waits for it.
TIME_OUTS = TimeOuts(connect=3, read=8, total=8)


class ClaimUses:
    """The blobs. Their container is created when it is first needed.

    Args:
        storage: where they are, and who may use them.
        egress: the way out.
    """

    def __init__(self, storage: FunctionStorage, egress: Egress = DIRECT) -> None:
        self._container = BlobContainer(storage, CONTAINER, egress, TIME_OUTS)

    def create(self, name: str, content: bytes) -> bytes | None:
        """Create a blob; return what it holds if there is one of this name already, and None otherwise.

        Of all processes that try at once, one creates it (`If-None-Match`).

        Raises:
            TransientError: The storage does not take it.
            SettingsError: It is not known where the storage has its blobs.
        """
        with translating("be created", blob_error):
            try:
                self._upload(name, content)
            except HttpResponseError as error:
                match error_code(error):
                    case "BlobAlreadyExists" | "ConditionNotMet":
                        return self._container.client.download_blob(name, offset=0, length=MOST_BYTES).readall()
                    case "ContainerNotFound":
                        self._container.create()
                        self._upload(name, content)
                    case _:
                        raise
            return None

    def replace(self, name: str, content: bytes) -> None:
        """Write a blob that there is.

        Raises:
            TransientError: as `create`.
            SettingsError: as `create`.
        """
        with translating("be written", blob_error):
            self._container.client.get_blob_client(name).upload_blob(content, overwrite=True)

    def _upload(self, name: str, content: bytes) -> None:
        blob = self._container.client.get_blob_client(name)
        blob.upload_blob(content, overwrite=True, match_condition=MatchConditions.IfMissing)
