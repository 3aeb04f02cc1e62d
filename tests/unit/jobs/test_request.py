"""The envelope in the queue, and how long it waits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import RequestMalformed
from orchestrator.jobs.request import (
    MOST_TOGETHER,
    SAME_TIME,
    Retry,
    RunnerRequest,
    dead_letter,
    dead_letter_reason,
    delay_before_retry,
    messages,
)
from tests.builders import queued_job


def request() -> RunnerRequest:
    """Return a request as the HTTP function keeps it."""
    event = workflow_job_event(json.dumps(queued_job("self-hosted", "run-1", installation={"id": 3})).encode())
    return RunnerRequest(delivery="d-1", event=event)


def test_round_trip() -> None:
    """What is read from the queue is what was put into it."""
    kept = request()
    assert RunnerRequest.parse(kept.model_dump_json().encode()) == kept


def test_no_property_that_the_host_would_take_for_its_own() -> None:
    """The envelope has none of the names that would replace the queue message's metadata in the Functions host."""
    own = {"id", "dequeuecount", "popreceipt", "insertiontime", "expirationtime", "nextvisibletime", "queuetrigger"}
    assert not own & {name.lower() for name in json.loads(request().model_dump_json())}


def test_it_fits_into_a_message() -> None:
    """The largest event that a delivery may hold fits into a queue message (48 KiB before base64)."""
    job = queued_job()["workflow_job"] | {"labels": ["x" * 256] * 100, "name": "ä" * 1000}
    event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
    assert len(RunnerRequest(delivery="d" * 100, event=event).model_dump_json().encode()) < 48 * 1024


def test_attempts_are_counted() -> None:
    """Each try counts, and nothing else changes."""
    kept = request()
    assert kept.next_attempt().attempt == 2
    assert kept.next_attempt().event == kept.event
    assert kept.next_attempt().next_attempt().reset() == kept


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b'{"version": 2}', b"\xff", b'{"version":1,"delivery":"d"}'])
def test_a_message_that_is_none_of_ours(message: bytes) -> None:
    """Anything else in the queue is refused with a clear error."""
    with pytest.raises(RequestMalformed, match="is not a runner request"):
        RunnerRequest.parse(message)


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "seconds"),
    [
        (1, None, 0, 10),
        (1, None, 1, 12.5),
        (7, None, 1, 660),
        (2, None, 0, 20),
        (6, None, 0, 320),
        (7, None, 0, 600),
        (1000, None, 0, 600),
        (1, 45, 0, 45),
        (10, 2, 0, 2),
        (11, 2, 0, 10),
        (20, 2, 0, 600),
        (20, 900, 0, 900),
        (1, 0, 0, 1),
        (1, 1e9, 0, 3600),
    ],
)
def test_delay(attempt: int, retry_after: float | None, jitter: float, seconds: float) -> None:
    """The wait doubles up to ten minutes; what the service asked for wins, but not for ever if that is a moment."""
    assert delay_before_retry(attempt, retry_after, jitter) == seconds


@given(st.floats(0, 1))
def test_the_first_retry_is_soon(jitter: float) -> None:
    """Unless a service asks for more, the first retry comes within half a minute."""
    assert 10 <= delay_before_retry(1, None, jitter) <= 30


@given(st.lists(st.tuples(st.integers(1, 20), st.none() | st.floats(0, 4000), st.integers(0, 3)), max_size=100))
def test_requests_that_share_a_message(given_: list[tuple[int, float | None, int]]) -> None:
    """Each request is in one message, which fits into the queue and is due not before and not long after its time."""
    large = ["x" * 1000] * 10
    retries = [
        Retry(request().model_copy(update={"attempt": attempt, "delivery": "".join(large[: 3 * size])}), retry_after)
        for attempt, retry_after, size in given_
    ]
    found = list(messages(retries, lambda: 0))
    assert sorted(place for message in found for place in message.places) == list(range(len(retries)))
    for message in found:
        kept = RunnerRequest.parse_all(message.text.encode())
        assert kept == [retries[place].request for place in message.places]
        assert len(kept) <= MOST_TOGETHER
        assert len(dead_letter(message.text.encode(), "the function failed each time").encode()) < 48 * 1024
        for place in message.places:
            own = delay_before_retry(retries[place].request.attempt, retries[place].retry_after, 0)
            assert own <= message.delay <= own + SAME_TIME


def test_a_burst_takes_few_messages() -> None:
    """Requests that are due at the same time fill their messages."""
    found = list(messages([Retry(request())] * (2 * MOST_TOGETHER + 1), lambda: 0.5))
    assert [len(message.places) for message in found] == [MOST_TOGETHER, MOST_TOGETHER, 1]


def test_a_dead_letter_of_several() -> None:
    """A message of several requests that the host put aside gets its reason, and can be read again."""
    (message,) = messages([Retry(request())] * 2, lambda: 0)
    assert dead_letter_reason(message.text.encode()) is None
    dead = dead_letter(message.text.encode(), "because").encode()
    assert dead_letter_reason(dead) == "because"
    assert [each.reset() for each in RunnerRequest.parse_all(dead)] == [request_of(message.text)] * 2


def request_of(text: str) -> RunnerRequest:
    """Return the first request of a message."""
    return RunnerRequest.parse_all(text.encode())[0]
