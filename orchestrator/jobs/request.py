"""A job that still needs its runner, as it waits in the queue (pure).

A message is an envelope of ours and not GitHub's body: the Functions host rewrites messages that look like JSON, and
lets properties of theirs replace the queue's own (`id`, `dequeueCount`, …), so the envelope uses none of those names.
Requests that are kept at the same time share a message, which then holds one envelope on each line.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

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

# Seconds. What failed together is spread over a quarter of the wait, but over no more than this.
LONGEST_SPREAD = 60.0
# How many requests share a message: those that are due within so many seconds, up to so many, and up to so many bytes.
# A queue takes 48 KiB, and reasons are added to what is given up.
SAME_TIME = 10.0
MOST_TOGETHER = 32
MOST_BYTES = 40_000
# A message without a request. Whoever gets it has nothing to do, so it may be put into the queue to see whether it can.
EMPTY = "\n"


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
    def parse_all(cls, message: bytes) -> list["RunnerRequest"]:
        """Read a queue message.

        Raises:
            RequestMalformed: It is not one.
        """
        if message == EMPTY.encode():
            return []
        return [cls.parse(line) for line in message.split(b"\n")]

    @classmethod
    def parse(cls, message: bytes) -> "RunnerRequest":
        """Read one request of a queue message.

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


class Retry(NamedTuple):
    """A request that is to be tried again.

    Attributes:
        request: tried `attempt` times so far.
        retry_after: the seconds to wait that the failing service asked for.
    """

    request: RunnerRequest
    retry_after: float | None = None


# Puts requests into the queue; returns the seconds until each is tried. Raises TransientError if not all are
# taken.
type RetryLater = Callable[[Sequence[Retry]], Sequence[float]]


class Message(NamedTuple):
    """A message that is to be put into the queue.

    Attributes:
        text: its requests, one on each line.
        delay: the seconds until it is due: until the last of its requests is, so that none comes too early.
        places: the places of its requests among those that were given.
    """

    text: str
    delay: float
    places: Sequence[int]


def messages(retries: Sequence[Retry], jitter: Callable[[], float]) -> Iterator[Message]:
    """Yield the messages that hold some requests.

    Args:
        retries: the requests.
        jitter: draws a number from 0 to 1, see `delay_before_retry`.
    """
    delays = [delay_before_retry(retry.request.attempt, retry.retry_after, jitter()) for retry in retries]
    texts = [retry.request.model_dump_json() for retry in retries]
    for places in _together(delays, [len(text.encode()) for text in texts]):
        yield Message("\n".join(texts[place] for place in places), delays[places[-1]], places)


def _together(delays: Sequence[float], sizes: Sequence[int]) -> list[list[int]]:
    """Return which requests share a message, by their places, those that are due first in front."""
    shared: list[list[int]] = []
    size = 0
    for place in sorted(range(len(delays)), key=delays.__getitem__):
        size += sizes[place]
        current = shared[-1] if shared else None
        if (
            current is None
            or len(current) == MOST_TOGETHER
            or size > MOST_BYTES
            or delays[place] > delays[current[0]] + SAME_TIME
        ):
            shared.append([place])
            size = sizes[place]
        else:
            current.append(place)
    return shared


def dead_letter(message: bytes, reason: str) -> str:
    """Return what stands in the queue of given-up requests for a message: its requests, or its text if it has none.

    Args:
        message: the queue message.
        reason: why it is given up.
    """
    try:
        requests = RunnerRequest.parse_all(message)
        return "\n".join(request.model_copy(update={"given_up": reason}).model_dump_json() for request in requests)
    except RequestMalformed:
        return json.dumps({"given_up": reason, "message": message.decode("utf-8", "replace")})


def dead_letter_reason(message: bytes) -> str | None:
    """Return why a message was given up; None if it does not say, because the Functions host moved it."""
    try:
        reason = json.loads(message.partition(b"\n")[0])["given_up"]
    except (ValueError, KeyError, TypeError):
        return None
    return None if reason is None else str(reason)


def delay_before_retry(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait after an attempt failed.

    Args:
        attempt: how often it was tried.
        retry_after: what the service asked for, in seconds; it wins, see `TRUSTED_ATTEMPTS`.
        jitter: 0 to 1; spreads what failed together over a quarter more, a minute at most.
    """
    if retry_after is None:
        wait = _own_delay(attempt)
    else:
        least = _own_delay(attempt - TRUSTED_ATTEMPTS) if attempt > TRUSTED_ATTEMPTS else 1.0
        wait = min(max(retry_after, least), LONGEST_WAIT)
    return wait + min(wait / 4, LONGEST_SPREAD) * jitter


def _own_delay(attempt: int) -> float:
    return min(FIRST_DELAY * 2.0 ** min(attempt - 1, 10), LONGEST_DELAY)
