"""Stand-ins of Batch and storage on loopback ports, shared by the integration tests."""

from collections.abc import Callable, Iterator

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.application import Application
from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.runtime import Runtime
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.github import GitHub
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.batch_tasks import NoExecutor
from tests.builders import environment


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
def batch_account(batch: Batch, batch_url: str) -> BatchAccount:
    """Return it as its key opens it."""
    return BatchAccount(batch_url, AzureNamedKeyCredential(batch.account, batch.key))


@pytest.fixture
def tasks(batch_account: BatchAccount) -> RunnerTasks:
    """Return the runner tasks as the account's key reaches them."""
    return RunnerTasks(batch_account)


@pytest.fixture
def queue() -> QueueService:
    """Return a storage account of its own."""
    return QueueService()


@pytest.fixture
def stand_ins(
    github: GitHub, github_url: str, batch: Batch, batch_url: str, queue: QueueService
) -> Iterator[dict[str, str]]:
    """Serve the storage too; return the app settings of an application between the stand-ins, for jobs of acme/app."""
    github.add_repository("acme/app")
    with Server(queue.application) as server:
        yield {
            "AzureWebJobsStorage": queue.connection_string(server.url),
            "BatchAccountUrl": batch_url,
            "BatchAccountName": batch.account,
            "BatchAccountKey": batch.key,
            "GithubApiUrl": github_url,
            "GithubToken": "ghp_sandbox",
        }


@pytest.fixture
def make(stand_ins: dict[str, str], own_settings: dict[str, str]) -> Callable[..., Application]:
    """Return what makes an application between the stand-ins, with some settings changed.

    A module that uses it has a fixture `own_settings`: what its applications have beside the stand-ins' settings.
    """
    settings = stand_ins | own_settings

    def make(runtime: Runtime | None = None, **changes: str) -> Application:
        return Application(environment(**settings | changes), runtime)

    return make
