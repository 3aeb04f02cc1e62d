"""The last lines of what a task has written: from the container that keeps them, or from the node while it lives.

Source: Azure Batch service REST API 2025-06-01, Tasks and Files; Azure Blob Storage REST API, Get Blob.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.errors import ErrorCode, blob_error, expecting, translating
from orchestrator.azure.paging import file_part, pages
from orchestrator.azure.task_model import output_path
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.explain.facts import ON_NODE, LogTail
from orchestrator.runners.task import TaskState

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

# How much of a file is shown: lines, characters of a line, and bytes that are read for them.
MOST_LINES = 50
WIDTH = 500
MOST_BYTES = 32 * 1024
# Somebody waits for it, after all else is known.
TIME_OUTS = TimeOuts(connect=2, read=4, total=5)
# The codes of "there is no such blob", and of "the node does not have these files", or is not there itself.
MISSING = ("BlobNotFound", "ContainerNotFound")
GONE = (
    "FileNotFound",
    "JobNotFound",
    "NodeNotFound",
    "NodeNotReady",
    "OperationInvalidForCurrentState",
    "TaskFilesCleanedup",
    "TaskFilesUnavailable",
    "TaskNotFound",
)

_NAMES = _STDOUT, _STDERR = "stdout.txt", "stderr.txt"
# A file's name, its size, and what reads a part of it, from where and how many bytes.
type _File = tuple[str, int, Callable[[int, int], bytes]]
_READER = functools.partial(blob_error, role="Storage Blob Data Reader")


class TaskLog:
    """What tasks have written.

    Args:
        account: the Batch account.
        container_url: `TaskLogsContainerUrl`; without it only the nodes are asked.
        container_credential: of whoever may read the container.
    """

    def __init__(
        self,
        account: BatchAccount,
        *,
        container_url: str | None = None,
        container_credential: AzureNamedKeyCredential | TokenCredential | None = None,
    ) -> None:
        self._client = account.client(TIME_OUTS)
        self._egress = account.egress
        self._container_url = container_url
        self._container_credential = container_credential

    def tail(self, task: TaskState, *, on_node: bool = True) -> LogTail | None:
        """Return the end of a task's output; None if there is none, or none any more.

        Args:
            task: a task; one that waits has no output.
            on_node: whether its node is asked, by calls to Batch, where the container does not have it.

        Raises:
            UpstreamError: Batch or the storage does not tell.
        """
        if task.state == "waiting" or not task.batch_job:
            return None
        if task.state == "finished" and self._container_url is not None:
            folder = output_path(task.batch_job, task.task_id)
            with translating("be read", _READER):
                kept = _tail(f"{self._container_url}/{folder}", self._kept(folder))
            if kept is not None:
                return kept
        if not on_node:
            return None
        with translating("read the output of a task"):
            return _tail(ON_NODE, self._on_node(task.batch_job, task.task_id))

    def _kept(self, folder: str) -> Iterator[_File]:
        for name in _NAMES:
            blob = self._container.get_blob_client(f"{folder}/{name}")
            found = expecting(blob.get_blob_properties, *MISSING)
            if not isinstance(found, ErrorCode):
                yield name, found.size or 0, functools.partial(_read_blob, blob)

    def _on_node(self, job: str, task_id: str) -> Iterator[_File]:
        path = f"/jobs/{job}/tasks/{task_id}/files"
        listed = expecting(lambda: list(chain.from_iterable(pages(self._client, path, {}))), *GONE)
        for file in () if isinstance(listed, ErrorCode) else listed:
            if (name := file["name"]) in _NAMES:
                size = int(file["properties"]["contentLength"])
                yield name, size, functools.partial(file_part, self._client, f"{path}/{name}")

    @cached_property
    def _container(self) -> "ContainerClient":
        # Imported here, as it takes long to load and only whoever asks for output needs it.
        from azure.storage.blob import ContainerClient  # noqa: PLC0415

        return ContainerClient.from_container_url(
            self._container_url or "", credential=self._container_credential, **bounded(TIME_OUTS, self._egress)
        )


def _read_blob(blob: "BlobClient", start: int, length: int) -> bytes:
    return blob.download_blob(start, length).readall()


def _tail(place: str, files: Iterable[_File]) -> LogTail | None:
    found = {name: _lines(size, read) for name, size, read in files}
    return LogTail(found.get(_STDOUT, ()), found.get(_STDERR, ()), place) if found else None


def _lines(size: int, read: Callable[[int, int], bytes]) -> tuple[str, ...]:
    """Return the last lines of a file of this size."""
    start = max(0, size - MOST_BYTES)
    length = size - start
    content = read(start, length)[-length:] if length else b""
    lines = content.decode("utf-8", "replace").splitlines()
    # What was read from somewhere in the file begins somewhere in a line.
    return tuple(map(_shown, lines[1 if start else 0 :][-MOST_LINES:]))


def _shown(line: str) -> str:
    """Return a line without what steers a terminal."""
    return "".join(sign if sign.isprintable() else " " if sign == "\t" else "\ufffd" for sign in line[:WIDTH])
