"""The queue stand-in, as the real SDK sees it; and the orchestrator's queue on top of it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import CredentialUnavailableError
from azure.storage.queue import QueueClient

from orchestrator.azure.request_queue import POISON, REQUESTS, TIME_OUTS, RequestQueue
from orchestrator.config.storage import FunctionStorage
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import SettingsError, TransientError, UpstreamRefused
from orchestrator.health.facts import QueueFacts
from orchestrator.jobs.request import MOST_TOGETHER, Retry, RunnerRequest
from sandbox.faults import Fault
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.builders import queued_job
from tests.fakes import ManualClock

XML = {"Content-Type": "application/xml"}


@pytest.fixture
def clock() -> ManualClock:
    """Return the service's clock."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def service(clock: ManualClock) -> QueueService:
    """Return a service of its own."""
    return QueueService(clock=lambda: clock().timestamp())


@pytest.fixture
def connection(service: QueueService) -> Iterator[str]:
    """Serve it; return its connection string."""
    with Server(service.application) as server:
        yield service.connection_string(server.url)


@pytest.fixture
def client(connection: str) -> QueueClient:
    """Return the SDK's client of a queue that exists."""
    client = QueueClient.from_connection_string(connection, "q", retry_total=0)
    client.create_queue()
    return client


def test_life_of_a_message(client: QueueClient, clock: ManualClock) -> None:
    """A message is put, peeked, received, hidden meanwhile, received again, and deleted."""
    client.send_message("<a & b>")
    assert [m.content for m in client.peek_messages()] == ["<a & b>"]
    first = client.receive_message(visibility_timeout=30)
    assert first is not None
    assert (first.content, first.dequeue_count) == ("<a & b>", 1)
    assert client.receive_message() is None
    clock.advance(timedelta(seconds=31))
    second = client.receive_message(visibility_timeout=30)
    assert second is not None
    assert second.dequeue_count == 2
    with pytest.raises(HttpResponseError, match="PopReceiptMismatch"):
        client.delete_message(first)
    updated = client.update_message(second, visibility_timeout=0, content="new")
    third = client.receive_message()
    assert third is not None
    assert third.content == "new"
    assert updated.pop_receipt != third.pop_receipt
    client.delete_message(third)
    with pytest.raises(ResourceNotFoundError, match="MessageNotFound"):
        client.delete_message(third)
    assert client.get_queue_properties().approximate_message_count == 0


def test_delay_order_and_expiry(client: QueueClient, clock: ManualClock) -> None:
    """A message appears after its delay, the oldest first, and is gone when its time to live is over."""
    client.send_message("later", visibility_timeout=10)
    client.send_message("now", time_to_live=60)
    assert [m.content for m in client.receive_messages(visibility_timeout=1)] == ["now"]
    clock.advance(timedelta(seconds=10))
    assert [m.content for m in client.receive_messages(visibility_timeout=1)] == ["later", "now"]
    clock.advance(timedelta(seconds=60))
    assert [m.content for m in client.receive_messages()] == ["later"]
    client.clear_messages()
    assert client.get_queue_properties().approximate_message_count == 0


def test_queues(connection: str, client: QueueClient) -> None:
    """A queue that is there already is said to be, one that is not is 404, and a wrong key opens nothing."""
    with pytest.raises(ResourceExistsError):
        client.create_queue()
    client.delete_queue()
    with pytest.raises(ResourceNotFoundError, match="QueueNotFound"):
        client.send_message("x")
    wrong = connection.replace("AccountKey=", "AccountKey=AAAA")
    with pytest.raises(HttpResponseError, match="AuthenticationFailed"):
        QueueClient.from_connection_string(wrong, "q", retry_total=0).create_queue()


def test_limits(client: QueueClient) -> None:
    """What the service refuses is refused: a text over 64 KiB, a delay over a week, no time to work on it."""
    client.send_message("x" * 65_536)
    with pytest.raises(HttpResponseError, match="RequestBodyTooLarge"):
        client.send_message("x" * 65_537)
    with pytest.raises(HttpResponseError, match="RequestBodyTooLarge"):
        client.send_message("é" * 32_769)
    with pytest.raises(HttpResponseError, match="OutOfRangeQueryParameterValue"):
        client.send_message("x", visibility_timeout=604_801, time_to_live=-1)
    with pytest.raises(HttpResponseError, match="OutOfRangeQueryParameterValue"):
        client.receive_message(visibility_timeout=0)
    assert client.get_queue_properties().approximate_message_count == 1


def request(**changes: object) -> RunnerRequest:
    """Return a request to keep."""
    event = workflow_job_event(json.dumps(queued_job()).encode())
    return RunnerRequest(delivery="d-1", event=event).model_copy(update=changes)


def queue_of(connection: str) -> RequestQueue:
    """Return the orchestrator's queue."""
    storage = FunctionStorage.from_environment({"AzureWebJobsStorage": connection})
    return RequestQueue(storage)


class TestRequestQueue:
    """`RequestQueue`."""

    def test_kept_and_read_again(self, connection: str, service: QueueService, clock: ManualClock) -> None:
        """A request is kept in a queue that is made when it is missing, and comes back after its delay."""
        kept = request()
        (delay,) = queue_of(connection).retry_later([Retry(kept)])
        assert 10 <= delay <= 12.5
        reader = QueueClient.from_connection_string(connection, REQUESTS)
        assert reader.receive_message() is None
        clock.advance(timedelta(seconds=delay))
        message = reader.receive_message()
        assert message is not None
        assert RunnerRequest.parse(base64.b64decode(message.content)) == kept
        assert len(service.texts(REQUESTS)) == 1

    def test_one_call_when_the_queue_is_there(self, connection: str, service: QueueService) -> None:
        """Keeping a request is one call; only the first time it is three."""
        queue = queue_of(connection)
        queue.retry_later([Retry(request())])
        service.recorder.clear()
        queue.retry_later([Retry(request(attempt=2), 30)])
        assert len(service.recorder.calls) == 1

    def test_together(self, connection: str, service: QueueService, clock: ManualClock) -> None:
        """Requests that are due at the same time share messages; each is told when its message is due."""
        kept = [Retry(request(delivery=str(number)), 5.0 + number % 2) for number in range(MOST_TOGETHER + 8)]
        kept.append(Retry(request(delivery="late"), 600))
        delays = queue_of(connection).retry_later(kept)
        assert len(service.texts(REQUESTS)) == 3
        assert all(retry.retry_after <= delay for retry, delay in zip(kept, delays, strict=True) if retry.retry_after)
        clock.advance(timedelta(seconds=max(delays)))
        reader = QueueClient.from_connection_string(connection, REQUESTS)
        found = [
            each.delivery
            for message in reader.receive_messages()
            for each in RunnerRequest.parse_all(base64.b64decode(message.content))
        ]
        assert sorted(found) == sorted(retry.request.delivery for retry in kept)

    def test_not_all_are_taken(self, connection: str, service: QueueService) -> None:
        """If one of several messages is not taken, the caller is told so."""
        queue = queue_of(connection)
        queue.retry_later([Retry(request())])
        service.faults.add(Fault("status", status=503, skip=1))
        with pytest.raises(TransientError, match="does not do its part"):
            queue.retry_later([Retry(request(), 5), Retry(request(), 600)])

    def test_another_worker_creates_the_queue(self, connection: str, service: QueueService) -> None:
        """If the queue appears between the look and the creation, that is fine."""
        service.faults.add(Fault("status", "PUT *", status=409, headers={"x-ms-error-code": "QueueAlreadyExists"}))
        with pytest.raises(TransientError, match="404"):
            queue_of(connection).retry_later([Retry(request())])

    @pytest.mark.parametrize("fault", [Fault("status", status=503), Fault("drop"), Fault("status", status=403)])
    def test_trouble(self, connection: str, service: QueueService, fault: Fault) -> None:
        """A queue that takes no message says so once, without repeating the message."""
        queue = queue_of(connection)
        queue.retry_later([Retry(request())])
        service.faults.add(fault)
        with pytest.raises(TransientError, match="does not do its part") as caught:
            queue.retry_later([Retry(request())])
        assert "acme" not in str(caught.value)

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("status", status=200), Fault("status", status=204), Fault("status", status=201),
            Fault("status", status=201, body="<html>a proxy's page</html>", headers=XML),
            Fault("status", status=201, body="{}", headers={"Content-Type": "application/json"}),
            Fault("status", status=201, body="<QueueMessagesList></QueueMessagesList>", headers=XML),
            Fault("status", status=302, headers={"Location": "/elsewhere"}),
            Fault("cut", status=201, body="<", headers=XML),
        ],
    )  # fmt: skip
    def test_an_odd_answer(self, connection: str, service: QueueService, fault: Fault) -> None:
        """An answer that is not the queue's own is transient trouble."""
        queue = queue_of(connection)
        queue.retry_later([Retry(request())])
        service.faults.add(replace(fault))
        with pytest.raises(TransientError, match=REQUESTS):
            queue.retry_later([Retry(request())])

    def test_an_answer_without_end(
        self, connection: str, service: QueueService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An answer that comes byte by byte is given up in time."""
        monkeypatch.setattr("orchestrator.azure.request_queue.TIME_OUTS", TIME_OUTS._replace(total=0.2))
        service.faults.add(Fault("trickle", seconds=0.02))
        with pytest.raises(TransientError, match="does not do its part"):
            queue_of(connection).retry_later([Retry(request())])

    @pytest.mark.parametrize(
        "error", [ClientAuthenticationError("no identity"), CredentialUnavailableError(message="no identity")]
    )
    def test_no_token(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        """While the identity gives no token the trouble is transient, as with any other of the queue's."""

        class NoToken:
            def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
                raise error

        monkeypatch.setattr("orchestrator.azure.request_queue.identity", lambda *_: NoToken())
        queue = RequestQueue(FunctionStorage.from_environment({"AzureWebJobsStorage__accountName": "acct"}))
        with pytest.raises(TransientError, match="the queue runner-requests does not do its part"):
            queue.retry_later([Retry(request())])

    def test_given_up_and_revived(self, connection: str, service: QueueService, clock: ManualClock) -> None:
        """What was given up stays until it is revived; it then starts anew at once, and foreign messages stay."""
        queue = queue_of(connection)
        assert queue.revive() == (0, 0)
        given_up = request(attempt=20)
        queue.dead_letter(b"\n".join([given_up.model_dump_json().encode()] * 2), "Batch refused")
        queue.dead_letter(b"\xff none of ours", "it is no request")
        QueueClient.from_connection_string(connection, POISON).send_message("not base64!")
        clock.advance(timedelta(days=30))
        queue.dead_letter(given_up.model_dump_json().encode(), "Batch refused")
        assert len(service.texts(POISON)) == 3
        assert queue.revive() == (3, 1)
        clock.advance(timedelta(seconds=2))
        reader = QueueClient.from_connection_string(connection, REQUESTS)
        found = [RunnerRequest.parse_all(base64.b64decode(m.content)) for m in reader.receive_messages()]
        assert found == [[given_up.reset()] * 2, [given_up.reset()]]
        assert len(service.texts(POISON)) == 1

    def test_a_revival_has_an_end(self, connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """One revival looks at so many dead letters and no more; the next one at those that are left."""
        for bound in ("MOST_REVIVED", "PAGE_SIZE"):
            monkeypatch.setattr(f"orchestrator.azure.request_queue.{bound}", 2)
        queue = queue_of(connection)
        for _ in range(3):
            queue.dead_letter(request().model_dump_json().encode(), "Batch refused")
        assert [queue.revive(), queue.revive()] == [(2, 0), (1, 0)]

    def test_unexplained(self, connection: str, service: QueueService, clock: ManualClock) -> None:
        """What the host put aside by itself is told of once, and then stands there with a reason like the others."""
        queue = queue_of(connection)
        assert list(queue.unexplained()) == []
        queue.dead_letter(request().model_dump_json().encode(), "Batch refused")
        assert list(queue.unexplained()) == []
        moved = request().model_dump_json().encode()
        host = QueueClient.from_connection_string(connection, POISON)
        for content in (base64.b64encode(moved).decode(), "not base64!"):
            host.send_message(content)
        assert list(queue.unexplained()) == [moved, b"not base64!"]
        clock.advance(timedelta(seconds=10))
        assert list(queue.unexplained()) == []
        reasons = [json.loads(base64.b64decode(text))["given_up"] for text in service.texts(POISON)]
        assert sorted(reasons) == ["Batch refused"] + ["the function failed each time"] * 2
        assert queue.revive() == (2, 1)

    def test_unexplained_without_an_answer(self, connection: str, service: QueueService) -> None:
        """If the queue of the given-up does not answer, that is said."""
        queue = queue_of(connection)
        queue.dead_letter(b"x", "it is no request")
        service.faults.add(Fault("status", "GET *", status=503))
        with pytest.raises(TransientError, match=f"{POISON} does not do its part: 503"):
            list(queue.unexplained())

    def test_revival_without_an_answer(self, connection: str, service: QueueService) -> None:
        """If the queue of the given-up does not answer, that is said."""
        queue = queue_of(connection)
        queue.dead_letter(b"x", "it is no request")
        service.faults.add(Fault("status", "GET *", status=503))
        with pytest.raises(TransientError, match=f"{POISON} does not do its part: 503"):
            queue.revive()

    def test_what_is_no_connection_string(self) -> None:
        """A connection string without a key names the setting."""
        with pytest.raises(SettingsError, match="AzureWebJobsStorage"):
            queue_of("AccountName=a;QueueEndpoint=http://127.0.0.1:9/a")

    def test_by_identity(self) -> None:
        """With an identity the queue's address is all that is needed."""
        storage = FunctionStorage.from_environment({"AzureWebJobsStorage__accountName": "acct"})
        queue = RequestQueue(storage)
        assert queue._requests.url == f"https://acct.queue.core.windows.net/{REQUESTS}"


def test_look(service: QueueService, connection: str) -> None:
    """A look counts the messages of both queues and changes nothing; a missing queue is empty, and is not created."""
    queue = queue_of(connection)
    assert queue.look() == QueueFacts(0, 0)
    assert not any(call.startswith("PUT") for call in service.recorder.calls)
    queue.dead_letter(b"1", "no")
    queue.dead_letter(b"2", "no")
    assert queue.look() == queue.look() == QueueFacts(0, 2)
    service.faults.add(Fault("status", status=403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}))
    with pytest.raises(UpstreamRefused, match="refuses: 403 AuthorizationPermissionMismatch"):
        queue.look()
    service.faults.add(Fault("status", status=503))
    with pytest.raises(TransientError, match="503"):
        queue.look()


def test_a_check(service: QueueService, connection: str) -> None:
    """A check counts as a look does, and leaves nothing behind; a missing queue is created, as for a request."""
    queue = queue_of(connection)
    queue.dead_letter(b"1", "no")
    assert queue.check() == queue.check() == QueueFacts(0, 1)
    assert service.texts(REQUESTS) == []


@pytest.mark.parametrize(("call", "left"), [("POST *", []), ("DELETE *", [[]])])
def test_a_check_proves_that_requests_can_be_kept(
    service: QueueService, connection: str, call: str, left: list[list[RunnerRequest]]
) -> None:
    """Who may read but not write is refused; what is left behind then is hidden, and no request."""
    queue = queue_of(connection)
    fault = Fault("status", call, status=403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})
    service.faults.add(fault)
    with pytest.raises(UpstreamRefused, match=f"{REQUESTS} refuses: 403 AuthorizationPermissionMismatch"):
        queue.check()
    assert not service.due(REQUESTS)
    assert [RunnerRequest.parse_all(base64.b64decode(text)) for text in service.texts(REQUESTS)] == left
