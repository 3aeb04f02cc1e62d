"""The slow lane: requests for runners that GitHub or Batch could not serve at once, kept in a storage queue.

A message is an envelope of ours and not GitHub's body: the Functions host rewrites messages that look like JSON, and
lets properties of theirs replace the queue's own (`id`, `dequeueCount`, …), so the envelope uses none of those names.
"""

import random
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import SettingsError, TransientError, UpstreamRefused
from orchestrator.settings import STORAGE, QueueStorage
from orchestrator.webhook import WorkflowJobEvent

QUEUE = "runner-requests"
MAX_ATTEMPTS = 20  # with the delays below about three hours; what is left then is an outage for people to see
FIRST_DELAY = 10.0
LONGEST_DELAY = 600.0
LONGEST_WAIT = 3600.0  # GitHub's primary rate limit starts anew every hour
# Seconds to connect and between bytes of the answer: what is left of GitHub's patience after a delivery's deadline.
TIMEOUT = 2


class RunnerRequest(BaseModel):
    """A job that still needs its runner.

    Attributes:
        attempt: how often it was tried, the delivery itself included.
        delivery: GitHub's id of the delivery, to find it in the log.
        kept_since: when it was first put into the queue.
        event: what GitHub said.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    version: Literal[1] = 1
    attempt: Annotated[int, Field(ge=1)] = 1
    delivery: str
    kept_since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    event: WorkflowJobEvent

    @classmethod
    def parse(cls, message: bytes) -> "RunnerRequest":
        """Read a queue message.

        Raises:
            UpstreamRefused: It is none of ours.
        """
        try:
            return cls.model_validate_json(message)
        except ValidationError as error:
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "the message"
            raise UpstreamRefused(f"a message in {QUEUE} is not a runner request: see {where}") from None

    def again(self) -> "RunnerRequest":
        """Return the request for its next attempt."""
        return self.model_copy(update={"attempt": self.attempt + 1})


def delay_before_retry(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait after an attempt failed.

    Args:
        attempt: how often it was tried.
        retry_after: what the service asked for; it wins.
        jitter: 0 to 1, spreads what failed together over a quarter more.
    """
    if retry_after is not None:
        wait = min(max(retry_after, 1.0), LONGEST_WAIT)
    else:
        wait = min(FIRST_DELAY * 2 ** min(attempt - 1, 10), LONGEST_DELAY)
    return wait * (1 + jitter / 4)


class RequestQueue:
    """The queue `runner-requests`, created when it is missing.

    Args:
        storage: where it is.
        credential: an Entra ID credential, where the storage is not named by a connection string.

    Raises:
        SettingsError: The connection string is none.
    """

    def __init__(self, storage: QueueStorage, credential: TokenCredential | None) -> None:
        options: dict[str, Any] = {
            "message_encode_policy": TextBase64EncodePolicy(),  # what the host decodes, see host.json
            "retry_total": 0,
            "connection_timeout": TIMEOUT,
            "read_timeout": TIMEOUT,
        }
        if storage.connection_string is not None:
            try:
                self._client = QueueClient.from_connection_string(
                    storage.connection_string.get_secret_value(), QUEUE, **options
                )
            except ValueError:
                raise SettingsError([(STORAGE, "is not a storage connection string")]) from None
        else:
            self._client = QueueClient(storage.queue_service_uri or "", QUEUE, credential=credential, **options)

    def keep(self, request: RunnerRequest, retry_after: float | None = None) -> float:
        """Put a request into the queue; return the seconds until it is tried.

        Args:
            request: tried `attempt` times so far.
            retry_after: what the service that failed asked for.

        Raises:
            TransientError: The queue does not take it.
        """
        delay = delay_before_retry(request.attempt, retry_after, random.random())  # noqa: S311 - not a secret
        message = request.model_dump_json()
        try:
            try:
                self._client.send_message(message, visibility_timeout=int(delay))
            except HttpResponseError as error:
                if error.error_code != "QueueNotFound":  # type: ignore[attr-defined]  # set by azure-storage
                    raise
                self._create()
                self._client.send_message(message, visibility_timeout=int(delay))
        except AzureError as error:
            status = getattr(error, "status_code", None)
            raise TransientError(f"the queue {QUEUE} takes no message: {status or type(error).__name__}") from None
        return delay

    def _create(self) -> None:
        try:
            self._client.create_queue()
        except ResourceExistsError:
            return  # another worker was faster
