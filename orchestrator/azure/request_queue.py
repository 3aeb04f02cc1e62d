"""The slow lane's queues: requests that wait for their next try, and those that were given up."""

import base64
import binascii
import random
from collections.abc import Iterator
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, TextBase64EncodePolicy

from orchestrator.azure.identity import identity
from orchestrator.config.settings import STORAGE, QueueStorage
from orchestrator.errors import RequestMalformed, SettingsError, TransientError
from orchestrator.jobs.request import RunnerRequest, dead_letter, dead_letter_reason, delay_before_retry

QUEUE = "runner-requests"
# The name that the Functions host itself gives to what it cannot get done.
POISON = f"{QUEUE}-poison"
# Seconds to connect and between bytes of the answer: what is left of GitHub's patience after a delivery's deadline.
TIMEOUT = 2
FOR_EVER = -1
PEEKED = 32  # the most that one look shows
BRIEFLY = 5


class RequestQueue:
    """The queues `runner-requests` and `runner-requests-poison`, each created when it is missing.

    Args:
        storage: where they are.

    Raises:
        SettingsError: The connection string is none.
    """

    def __init__(self, storage: QueueStorage) -> None:
        credential = None if storage.connection_string else identity(storage.client_id)
        self._requests = _client(storage, credential, QUEUE)
        self._poison = _client(storage, credential, POISON)

    def retry_later(self, request: RunnerRequest, retry_after: float | None = None) -> float:
        """Put a request into the queue; return the seconds until it is tried.

        Args:
            request: tried `attempt` times so far.
            retry_after: what the service that failed asked for.

        Raises:
            TransientError: The queue does not take it.
        """
        delay = delay_before_retry(request.attempt, retry_after, random.random())  # noqa: S311 - not a secret
        _send(self._requests, request.model_dump_json(), visibility_timeout=int(delay))
        return delay

    def dead_letter(self, message: bytes, reason: str) -> None:
        """Put a message aside, where it stays until somebody looks.

        Raises:
            TransientError: The queue does not take it.
        """
        _send(self._poison, dead_letter(message, reason), time_to_live=FOR_EVER)

    def unexplained(self) -> Iterator[bytes]:
        """Yield each given-up message that the Functions host put aside by itself, and write the reason to it.

        Looks at the oldest 32 only: behind so many that wait for somebody, one more is no news.

        Raises:
            TransientError: The queue does not answer.
        """
        try:
            if all(dead_letter_reason(_body(message)) for message in self._poison.peek_messages(PEEKED)):
                return
            # Those that need no reason are hidden for these seconds too; nothing of them is lost.
            for message in self._poison.receive_messages(max_messages=PEEKED, visibility_timeout=BRIEFLY):
                body = _body(message)
                if dead_letter_reason(body) is None:
                    explained = dead_letter(body, "the function failed each time")
                    self._poison.update_message(message, visibility_timeout=0, content=explained)
                    yield body
        except ResourceNotFoundError:
            return  # nothing was ever given up
        except AzureError as error:
            raise _no_answer(self._poison, error) from None

    def revive(self) -> tuple[int, int]:
        """Put every request that was given up back into the queue; return how many, and how many messages were none.

        Raises:
            TransientError: The queues do not answer; what was moved so far is moved.
        """
        revived = foreign = 0
        try:
            for message in self._poison.receive_messages(messages_per_page=32, visibility_timeout=60):
                try:
                    request = RunnerRequest.parse(_body(message))
                except RequestMalformed:
                    foreign += 1
                    continue
                self.retry_later(request.reset(), retry_after=0)
                self._poison.delete_message(message)
                revived += 1
        except ResourceNotFoundError:
            return revived, foreign  # nothing was ever given up
        except AzureError as error:
            raise _no_answer(self._poison, error) from None
        return revived, foreign


def _body(message: QueueMessage) -> bytes:
    """The message's bytes; what is not base64 was written by somebody else, and stays as it is."""
    content = str(message.content)
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return content.encode()


def _client(storage: QueueStorage, credential: TokenCredential | None, queue: str) -> QueueClient:
    options: dict[str, Any] = {
        "message_encode_policy": TextBase64EncodePolicy(),  # what the host decodes, see host.json
        "retry_total": 0,
        "connection_timeout": TIMEOUT,
        "read_timeout": TIMEOUT,
    }
    if storage.connection_string is None:
        return QueueClient(storage.queue_service_uri or "", queue, credential=credential, **options)
    try:
        return QueueClient.from_connection_string(storage.connection_string.get_secret_value(), queue, **options)
    except ValueError:
        raise SettingsError([(STORAGE, "is not a storage connection string")]) from None


def _send(queue: QueueClient, message: str, **options: int) -> None:
    try:
        try:
            queue.send_message(message, **options)
        except HttpResponseError as error:
            if error.error_code != "QueueNotFound":  # type: ignore[attr-defined]  # set by azure-storage
                raise
            _create(queue)
            queue.send_message(message, **options)
    except AzureError as error:
        raise _no_answer(queue, error) from None


def _create(queue: QueueClient) -> None:
    try:
        queue.create_queue()
    except ResourceExistsError:
        return  # another worker was faster


def _no_answer(queue: QueueClient, error: AzureError) -> TransientError:
    status = getattr(error, "status_code", None)
    return TransientError(f"the queue {queue.queue_name} does not do its part: {status or type(error).__name__}")
