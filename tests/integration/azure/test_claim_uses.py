"""The first uses of claims, written by the real SDK to the stand-in of the storage account."""

from collections.abc import Callable, Iterator

import pytest

from orchestrator.azure.claim_uses import CONTAINER, MOST_BYTES, ClaimUses
from orchestrator.config.storage import FunctionStorage
from orchestrator.errors import TransientError
from sandbox.faults import Fault
from sandbox.server import Server
from sandbox.storage_queue import QueueService

NAME = "job/runner-7-1/2026-11-25T12-00-00.000000Z.json"


@pytest.fixture
def service() -> QueueService:
    """Return a storage account of its own."""
    return QueueService()


@pytest.fixture
def connection(service: QueueService) -> Iterator[str]:
    """Serve it; return its connection string."""
    with Server(service.application) as server:
        yield service.connection_string(server.url)


def uses(connection: str) -> ClaimUses:
    """Return the uses as a process of its own sees them."""
    return ClaimUses(FunctionStorage.from_environment({"AzureWebJobsStorage": connection}))


def test_the_first_one_wins(service: QueueService, connection: str) -> None:
    """Of two processes one creates the record, and the other learns what it holds; either may then replace it."""
    one, other = uses(connection), uses(connection)
    assert one.create(NAME, b"one") is None
    assert other.create(NAME, b"other") == b"one"
    assert other.create(f"{NAME}2", b"other") is None
    one.replace(NAME, b"noted")
    assert other.create(NAME, b"other") == b"noted"
    assert service.blobs.contents == {f"{CONTAINER}/{NAME}": b"noted", f"{CONTAINER}/{NAME}2": b"other"}


def test_the_container_is_created_once(service: QueueService, connection: str) -> None:
    """The container is created when it is first needed; afterwards a first use is one call."""
    uses(connection).create(NAME, b"one")
    service.recorder.clear()
    uses(connection).create(f"{NAME}2", b"two")
    assert service.recorder.calls == [f"PUT /blob/sandbox/{CONTAINER}/{NAME}2 -> 201"]


def test_not_more_is_read(service: QueueService, connection: str) -> None:
    """Of a record that somebody made long no more is read than one of ours has."""
    assert uses(connection).create(NAME, b"x") is None
    service.blobs.contents[f"{CONTAINER}/{NAME}"] = b"x" * (MOST_BYTES * 2)
    assert uses(connection).create(NAME, b"y") == b"x" * MOST_BYTES


def test_trouble(service: QueueService, connection: str) -> None:
    """An account that does not answer, or refuses, is transient trouble; the error says which role is needed."""
    one = uses(connection)
    one.create(NAME, b"x")
    calls: list[Callable[[], object]] = [lambda: one.create(f"{NAME}2", b"x"), lambda: one.replace(NAME, b"x")]
    for call in calls:
        service.faults.add(Fault("status", status=503), Fault("drop"), Fault("status", status=403))
        for reason in ("503", "Error", "403: the identity needs Storage Blob Data Contributor"):
            with pytest.raises(TransientError, match=reason):
                call()


def test_a_lost_answer(service: QueueService, connection: str) -> None:
    """A record that was made although its answer was lost is there for the next try."""
    one = uses(connection)
    one.create(f"{NAME}2", b"x")
    service.faults.add(Fault("lost_answer"))
    with pytest.raises(TransientError):
        one.create(NAME, b"mine")
    assert one.create(NAME, b"again") == b"mine"
