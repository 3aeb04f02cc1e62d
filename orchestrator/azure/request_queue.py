"""The storage queues of runner requests: one for those that wait for their next try, one for dead letters."""

import base64
import binascii
import random
from collections.abc import Iterator, Sequence
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, TextBase64EncodePolicy

from orchestrator.azure.errors import ErrorCode, expecting, look_error, queue_error, translating
from orchestrator.azure.identity import identity
from orchestrator.azure.transport import TimeOuts, bounded
from orchestrator.config.storage import STORAGE, FunctionStorage
from orchestrator.egress import DIRECT, Egress
from orchestrator.errors import RequestMalformed, SettingsError
from orchestrator.health.facts import QueueFacts
from orchestrator.jobs.request import EMPTY, Retry, RunnerRequest, dead_letter, dead_letter_reason, messages

REQUESTS = "runner-requests"
# The queue of dead letters. It has the name that the Functions host gives to the queue for messages it cannot get done.
POISON = f"{REQUESTS}-poison"
# What is left of GitHub's ten seconds after a delivery's deadline; an answer may hold 32 messages.
TIME_OUTS = TimeOuts(connect=2, read=2, total=5)
# The time to live, in seconds, of a message that never expires.
NEVER_EXPIRES = -1
# How many messages one call returns at most.
PAGE_SIZE = 32
# How many dead letters one revival looks at. Those that stay show again after a minute, so there might be no end.
MOST_REVIVED = 5000
# Seconds for which messages are hidden from other readers: while reasons are written to them, and while they are moved.
EXPLAIN_TIMEOUT = 5
REVIVE_TIMEOUT = 60
# Seconds for which the message is hidden that only proves that the queue takes one.
PROBE_HIDDEN = 60


class RequestQueue:
    """The queues `runner-requests` and `runner-requests-poison`, each created when it is missing.

    Args:
        storage: where they are, and who may use them.
        egress: the way out.

    Raises:
        SettingsError: `AzureWebJobsStorage` is not a connection string.
    """

    def __init__(self, storage: FunctionStorage, egress: Egress = DIRECT) -> None:
        credential = identity(storage.client_id, egress) if storage.connection_string is None else None
        self._requests = _client(storage, credential, REQUESTS, egress)
        self._dead_letters = _client(storage, credential, POISON, egress)

    def retry_later(self, retries: Sequence[Retry]) -> list[float]:
        """Put requests into the queue, as few messages as may be; return the seconds until each is tried.

        Raises:
            TransientError: The queue does not take all of them; some may be kept.
        """
        delays = [0.0] * len(retries)
        for message in messages(retries, random.random):
            _send(self._requests, message.text, visibility_timeout=int(message.delay))
            for place in message.places:
                delays[place] = message.delay
        return delays

    def dead_letter(self, message: bytes, reason: str) -> None:
        """Put a message that is not tried again among the dead letters, where it stays until somebody looks at it.

        Raises:
            TransientError: The queue does not take it.
        """
        _send(self._dead_letters, dead_letter(message, reason), time_to_live=NEVER_EXPIRES)

    def unexplained(self) -> Iterator[bytes]:
        """Yield each dead letter that has no reason, because the Functions host moved it, and write a reason to it.

        Only the oldest 32 dead letters are read. If so many wait for somebody, one more does not need an alert.

        Raises:
            TransientError: The queue does not answer.
        """
        with translating(POISON, queue_error):
            try:
                if all(dead_letter_reason(_body(message)) for message in self._dead_letters.peek_messages(PAGE_SIZE)):
                    return
                # Dead letters that have a reason are received too: they are hidden for the same few seconds.
                for message in self._dead_letters.receive_messages(
                    max_messages=PAGE_SIZE, visibility_timeout=EXPLAIN_TIMEOUT
                ):
                    body = _body(message)
                    if dead_letter_reason(body) is None:
                        explained = dead_letter(body, "the function failed each time")
                        self._dead_letters.update_message(message, visibility_timeout=0, content=explained)
                        yield body
            except ResourceNotFoundError:
                return  # there never was a dead letter

    def look(self) -> QueueFacts:
        """Return what the queues hold. Nothing in them is changed.

        Raises:
            UpstreamError: The queues do not answer, or refuse.
        """
        return QueueFacts(_count(self._requests), _count(self._dead_letters))

    def check(self) -> QueueFacts:
        """Return what the queues hold, after a proof that requests can be kept.

        An empty message is put where nobody sees it, and taken away; what goes wrong in between is harmless.

        Raises:
            UpstreamError: as `look`.
        """
        with translating(REQUESTS, look_error):
            probe = _put(self._requests, EMPTY, visibility_timeout=PROBE_HIDDEN, time_to_live=2 * PROBE_HIDDEN)
            self._requests.delete_message(probe)
        return self.look()

    def revive(self) -> tuple[int, int]:
        """Move the requests among the oldest dead letters back into the queue.

        Returns:
            How many requests were moved, and how many dead letters stay because they are not requests.

        Raises:
            TransientError: The queues do not answer; what was moved so far is moved.
        """
        revived = foreign = 0
        with translating(POISON, queue_error):
            try:
                for message in self._dead_letters.receive_messages(
                    messages_per_page=PAGE_SIZE, max_messages=MOST_REVIVED, visibility_timeout=REVIVE_TIMEOUT
                ):
                    try:
                        requests = RunnerRequest.parse_all(_body(message))
                    except RequestMalformed:
                        foreign += 1
                        continue
                    self.retry_later([Retry(request.reset(), retry_after=0) for request in requests])
                    self._dead_letters.delete_message(message)
                    revived += len(requests)
            except ResourceNotFoundError:
                return revived, foreign  # there never was a dead letter
        return revived, foreign


def _count(queue: QueueClient) -> int:
    """Return about how many messages a queue has; a queue that is missing is created when it is needed."""
    with translating(queue.queue_name, look_error):
        found = expecting(queue.get_queue_properties, "QueueNotFound")
        if isinstance(found, ErrorCode):
            return 0
        queue.peek_messages(1)  # messages need other rights than the queue itself
        return found.approximate_message_count or 0


def _body(message: QueueMessage) -> bytes:
    """Return the message's bytes; a message that is not base64 was written by somebody else, and stays as it is."""
    content = str(message.content)
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return content.encode()


def _client(storage: FunctionStorage, credential: TokenCredential | None, queue: str, egress: Egress) -> QueueClient:
    options: dict[str, Any] = {
        "message_encode_policy": TextBase64EncodePolicy(),  # what the host decodes, see host.json
        **bounded(TIME_OUTS, egress),
    }
    if storage.connection_string is None:
        return QueueClient(storage.queue_service_uri or "", queue, credential=credential, **options)
    try:
        return QueueClient.from_connection_string(storage.connection_string.get_secret_value(), queue, **options)
    except ValueError:
        raise SettingsError.of(STORAGE, "is not a storage connection string") from None


def _send(queue: QueueClient, message: str, **options: int) -> None:
    with translating(queue.queue_name, queue_error):
        _put(queue, message, **options)


def _put(queue: QueueClient, message: str, **options: int) -> QueueMessage:
    """Put a message into a queue, which is created if it is missing."""
    sent = expecting(lambda: queue.send_message(message, **options), "QueueNotFound")
    if isinstance(sent, ErrorCode):
        _create(queue)
        return queue.send_message(message, **options)
    return sent


def _create(queue: QueueClient) -> None:
    try:
        queue.create_queue()
    except ResourceExistsError:
        return  # another worker was faster
