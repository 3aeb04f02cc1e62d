"""A stand-in of Batch on a loopback port, shared by the integration tests."""

from collections.abc import Iterator

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.azure.tasks import RunnerTasks
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.server import Server
from tests.batch_tasks import NoExecutor


@pytest.fixture
def batch() -> Batch:
    """Return a Batch account with container pools of both systems, a plain one, and one that never has a node."""
    pools = [
        Pool("linux", start_delay_s=0.1),
        Pool("windows", "windows"),
        Pool("plain", container=False),
        Pool("still", scale="fixed"),
    ]
    return Batch(pools, executor=NoExecutor())


@pytest.fixture
def batch_url(batch: Batch) -> Iterator[str]:
    """Serve it; return its address."""
    with Server(batch.application) as server:
        yield server.url


@pytest.fixture
def batch_key(batch: Batch) -> AzureNamedKeyCredential:
    """Return the account's key."""
    return AzureNamedKeyCredential(batch.account, batch.key)


@pytest.fixture
def tasks(batch_url: str, batch_key: AzureNamedKeyCredential) -> RunnerTasks:
    """Return the runner tasks as the account's key reaches them."""
    return RunnerTasks(batch_url, batch_key)
