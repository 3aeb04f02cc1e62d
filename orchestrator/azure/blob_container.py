"""A container of blobs in the storage account of the function itself."""

from functools import cached_property
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError

from orchestrator.azure.errors import error_code
from orchestrator.azure.identity import identity
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.config.storage import STORAGE, FunctionStorage
from orchestrator.egress import Egress
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

# Of a call that nobody waits for. A blob may be large.
TIME_OUTS = TimeOuts(connect=3, read=10, total=30)
# Bytes of a blob. It is read in one call.
MOST_BYTES = 16 * 1024 * 1024


class BlobContainer:
    """The container. Its client is made when it is first used.

    Args:
        storage: where it is, and who may use it.
        name: its name.
        egress: the way out.
        time_outs: of each call.
    """

    def __init__(self, storage: FunctionStorage, name: str, egress: Egress, time_outs: TimeOuts = TIME_OUTS) -> None:
        self._storage = storage
        self._name = name
        self._egress = egress
        self._time_outs = time_outs

    def create(self) -> None:
        """Create the container, unless another process has done so.

        Raises:
            AzureError: The storage does not do it.
        """
        try:
            self.client.create_container()
        except HttpResponseError as error:
            if error_code(error) != "ContainerAlreadyExists":
                raise

    @cached_property
    def client(self) -> "ContainerClient":
        """The SDK's client.

        Raises:
            SettingsError: It is not known where the storage has its blobs.
        """
        # Imported here, as it takes long to load, and most deliveries need none.
        from azure.storage.blob import ContainerClient  # noqa: PLC0415

        storage = self._storage
        limits = bounded(self._time_outs, self._egress)
        options = {"max_single_get_size": MOST_BYTES, **limits}
        if storage.connection_string is not None:
            connection = storage.connection_string.get_secret_value()
            return ContainerClient.from_connection_string(connection, self._name, **options)
        if storage.blob_service_uri is None:
            raise SettingsError.of(f"{STORAGE}__blobServiceUri", "is missing")
        credential = identity(storage.client_id, self._egress)
        return ContainerClient(storage.blob_service_uri, self._name, credential=credential, **options)
