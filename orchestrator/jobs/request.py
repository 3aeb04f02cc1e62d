"""A job that still needs its runner, as it waits in the queue (pure).

A message is an envelope of ours and not GitHub's body: the Functions host rewrites messages that look like JSON, and
lets properties of theirs replace the queue's own (`id`, `dequeueCount`, …), so the envelope uses none of those names.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import RequestMalformed
from orchestrator.jobs.event import WorkflowJobEvent

# With the delays below, attempts go on for about three hours. An outage that is longer needs a person.
MAX_ATTEMPTS = 20
# Seconds. The delay doubles from the first to the longest.
FIRST_DELAY = 10.0
LONGEST_DELAY = 600.0
# Seconds. A service may ask for more than our own delays: GitHub's primary rate limit starts anew every hour.
LONGEST_WAIT = 3600.0
# For so many attempts we wait exactly as long as the service asks; after that at least our own delay. A service that
# asks again and again for one second must not use up all attempts within a minute.
TRUSTED_ATTEMPTS = 10

# Puts a request into the queue, given the seconds that the failing service asked to wait; returns the seconds until the
# next attempt. Raises TransientError if the queue does not take it.
type RetryLater = Callable[["RunnerRequest", float | None], float]


class RunnerRequest(BaseModel):
    """A job that still needs its runner.

    Attributes:
        attempt: how often it was tried, the delivery itself included.
        delivery: GitHub's id of the delivery, to find it in the log.
        kept_since: when it was first put into the queue.
        event: what GitHub said.
        given_up: why it was given up, if it was.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, regex_engine="python-re", defer_build=True
    )

    version: Literal[1] = 1
    attempt: Annotated[int, Field(ge=1)] = 1
    delivery: str
    kept_since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    event: WorkflowJobEvent
    given_up: str | None = None

    @classmethod
    def parse(cls, message: bytes) -> "RunnerRequest":
        """Read a queue message.

        Raises:
            RequestMalformed: It is not one.
        """
        try:
            return cls.model_validate_json(message)
        except ValidationError as error:
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "the message"
            raise RequestMalformed(f"the message is not a runner request: see {where}") from None

    def next_attempt(self) -> "RunnerRequest":
        """Return the request for its next attempt."""
        return self.model_copy(update={"attempt": self.attempt + 1})

    def reset(self) -> "RunnerRequest":
        """Return the request as if it had been tried only once, by its delivery."""
        return self.model_copy(update={"attempt": 1, "given_up": None})


def dead_letter(message: bytes, reason: str) -> str:
    """Return what stands in the queue of given-up requests for a message: the request, or its text if it is none.

    Args:
        message: the queue message.
        reason: why it is given up.
    """
    try:
        return RunnerRequest.parse(message).model_copy(update={"given_up": reason}).model_dump_json()
    except RequestMalformed:
        return json.dumps({"given_up": reason, "message": message.decode("utf-8", "replace")})


def dead_letter_reason(message: bytes) -> str | None:
    """Return why a message was given up; None if it does not say, because the Functions host moved it."""
    try:
        reason = json.loads(message)["given_up"]
    except (ValueError, KeyError, TypeError):
        return None
    return None if reason is None else str(reason)


def delay_before_retry(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait after an attempt failed.

    Args:
        attempt: how often it was tried.
        retry_after: what the service asked for, in seconds; it wins, see `TRUSTED_ATTEMPTS`.
        jitter: 0 to 1; spreads what failed together over a quarter more.
    """
    if retry_after is None:
        wait = _own_delay(attempt)
    else:
        least = _own_delay(attempt - TRUSTED_ATTEMPTS) if attempt > TRUSTED_ATTEMPTS else 1.0
        wait = min(max(retry_after, least), LONGEST_WAIT)
    return wait * (1 + jitter / 4)


def _own_delay(attempt: int) -> float:
    return min(FIRST_DELAY * 2.0 ** min(attempt - 1, 10), LONGEST_DELAY)
