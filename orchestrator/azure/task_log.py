"""The last lines of what a task has written, from the container that keeps them.

Source: Azure Blob Storage REST API, Get Blob.
"""

import functools
from functools import cached_property
from typing import TYPE_CHECKING

from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from orchestrator.azure.errors import ErrorCode, blob_error, expecting, translating
from orchestrator.azure.task_model import output_path
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.egress import Egress
from orchestrator.explain.facts import LogTail
from orchestrator.runners.task import TaskState

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

# How much of a file is shown: lines, characters of a line, and bytes that are read for them.
MOST_LINES = 50
WIDTH = 500
MOST_BYTES = 32 * 1024
# Somebody waits for it, after all else is known.
TIME_OUTS = TimeOuts(connect=2, read=4, total=5)
# The codes of "there is no such blob".
MISSING = ("BlobNotFound", "ContainerNotFound")

_READER = functools.partial(blob_error, role="Storage Blob Data Reader")


class TaskLog:
    """What tasks have written.

    Args:
        container_url: `TaskLogsContainerUrl`.
        credential: of whoever may read the container.
        egress: the way out.
    """

    def __init__(
        self, container_url: str, credential: AzureNamedKeyCredential | TokenCredential, egress: Egress
    ) -> None:
        self._container_url = container_url
        self._credential = credential
        self._egress = egress

    def tail(self, task: TaskState) -> LogTail | None:
        """Return the end of a task's output; None if the container has none, as for a task that has not finished.

        Raises:
            UpstreamError: The storage does not tell.
        """
        if task.state != "finished" or not task.batch_job:
            return None
        folder = output_path(task.batch_job, task.task_id)
        with translating("be read", _READER):
            stdout, stderr = (self._lines(f"{folder}/{name}") for name in ("stdout.txt", "stderr.txt"))
        if stdout is None and stderr is None:
            return None
        return LogTail(stdout or (), stderr or (), f"{self._container_url}/{folder}")

    def _lines(self, path: str) -> tuple[str, ...] | None:
        """Return the last lines of a file; None if there is no such file."""
        blob = self._container.get_blob_client(path)
        found = expecting(blob.get_blob_properties, *MISSING)
        return None if isinstance(found, ErrorCode) else _last_lines(blob, found.size or 0)

    @cached_property
    def _container(self) -> "ContainerClient":
        # Imported here, as it takes long to load and only whoever asks for output needs it.
        from azure.storage.blob import ContainerClient  # noqa: PLC0415

        return ContainerClient.from_container_url(
            self._container_url, credential=self._credential, **bounded(TIME_OUTS, self._egress)
        )


def _last_lines(blob: "BlobClient", size: int) -> tuple[str, ...]:
    start = max(0, size - MOST_BYTES)
    length = size - start
    content = blob.download_blob(start, length).readall() if length else b""
    lines = content.decode("utf-8", "replace").splitlines()
    # What was read from somewhere in the file begins somewhere in a line.
    return tuple(map(_shown, lines[1 if start else 0 :][-MOST_LINES:]))


def _shown(line: str) -> str:
    """Return a line without what steers a terminal."""
    return "".join(sign if sign.isprintable() else " " if sign == "\t" else "\ufffd" for sign in line[:WIDTH])
