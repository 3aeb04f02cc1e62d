"""The whole deployment on one machine: GitHub, Azure Batch, a storage queue, and the function between them.

The function runs as it is deployed: `function_app.py` in a process of its own, on the Functions runtime, told by app
settings alone where everything is.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sandbox.batch import Batch
from sandbox.batch.executor import Executor
from sandbox.batch.model import Pool
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.functions.process import FunctionsHost
from sandbox.gateway import GATEWAY_ADDRESS, Gateway
from sandbox.github import GitHub
from sandbox.github.hooks import Hook
from sandbox.github.model import Scope
from sandbox.server import Server
from sandbox.storage_queue import QueueService

ROOT = Path(__file__).parents[1]
ORGANIZATION = "acme"
REPOSITORY = "acme/app"
REGISTRY = "acme.azurecr.io"
TASK_LOGS = "task-logs"
_GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/runners"
POOL_IDENTITY = f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pools"
# Batch refuses signatures that are a quarter of an hour apart from its clock.
MOST_BATCH_LAG = 600.0
# Where GitHub's deliveries seem to come from: one of the ranges that the stand-in's /meta publishes.
GITHUB_ADDRESS = "192.0.2.44"


class Deployment:
    """Everything, wired; use it as a context manager.

    Args:
        settings: app settings to change; an empty one takes a setting away.
        pools: the Batch pools; a Linux and a Windows one without.
        connect_hook: whether GitHub's organization has the webhook from the beginning.
        host_port: the port of the function; 0 for any.
        lag: seconds that GitHub's clock is behind (and Batch's, for as much as it takes): what happens there seems to
            have happened so long ago.
        executor: what runs the tasks; processes without one.
        api_path: where GitHub's API is below its address; `/api/v3` for an Enterprise Server.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        pools: Sequence[Pool] = (),
        connect_hook: bool = True,
        host_port: int = 0,
        lag: float = 0.0,
        executor: Executor | None = None,
        api_path: str = "",
    ) -> None:
        self.secret = secrets.token_hex(16)
        self.key = secrets.token_hex(16)
        self.claim_key = secrets.token_hex(32)
        self.gateway = Gateway()
        self.github = GitHub(clock=lambda: time.time() - lag)
        self.github.add_repository(REPOSITORY)
        self._api_path = api_path
        self._skipped = 0.0
        self.queue = QueueService(clock=lambda: time.time() + self._skipped)
        self.queue.blobs.add_container(TASK_LOGS)
        self.batch = Batch(
            pools or default_pools(),
            executor=executor,
            clock=lambda: time.time() - min(lag, MOST_BATCH_LAG),
            upload=self.queue.upload,
        )
        self._changes = settings or {}
        self._connect_hook = connect_hook
        self._host_port = host_port
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.github.url = stack.enter_context(Server(self.github.application)).url
            self.batch_url = stack.enter_context(Server(self.batch.application)).url
            self.queue_url = stack.enter_context(Server(self.queue.application)).url
            self.gateway_url = stack.enter_context(Server(self.gateway.application)).url
            self.start_host()
            stack.callback(self.stop_host)
            if self._connect_hook:
                self.connect_hook()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def settings(self) -> dict[str, str]:
        """Return the app settings of the function."""
        own = {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": self.queue.connection_string(self.queue_url),
            "BatchAccountUrl": self.batch_url,
            "BatchAccountName": self.batch.account,
            "BatchAccountKey": self.batch.key,
            "ContainerRegistryServer": REGISTRY,
            "UbuntuPool": "batchLinux",
            "WindowsPool": "batchWindows",
            "TaskLogsContainerUrl": self.task_logs_url,
            "TaskLogsIdentity": POOL_IDENTITY,
            "GithubApiUrl": f"{self.github.url}{self._api_path}",
            "GithubToken": "ghp_sandbox",
            "GithubWebhookSecret": self.secret,
            "ClaimKey": self.claim_key,
            "ClaimUrl": f"{self.gateway_url}/api/ClaimRunner",
            "ClaimSources": GATEWAY_ADDRESS,
            **self._changes,
        }
        return {name: value for name, value in own.items() if value}

    def change_settings(self, settings: Mapping[str, str]) -> None:
        """Change app settings; they count when the function starts again."""
        self._changes = {**self._changes, **settings}

    def start_host(self) -> None:
        """Start the function; after a stop on the same port as before."""
        self.host = FunctionsHost(
            ROOT,
            self.settings(),
            keys=[self.key],
            front_end=True,
            port=self._host_port,
            max_polling_interval=0.2,
        ).start()
        self._host_port = urlsplit(self.host.url).port or 0
        self.gateway.site = self.host.url

    def stop_host(self) -> None:
        """Stop the function, as an outage does."""
        self.host.stop()

    def skip(self, seconds: float) -> None:
        """Let the queue's clock jump ahead: what it keeps for later is due at once."""
        self._skipped += seconds

    @property
    def task_logs_url(self) -> str:
        """The container that keeps what tasks have written."""
        return f"{self.queue_url}/blob/{self.queue.account}/{TASK_LOGS}"

    @property
    def webhook_url(self) -> str:
        """The payload URL, with its key."""
        return f"{self.host.url}/api/ProvideActionsRunner?code={self.key}"

    def connect_hook(self) -> Hook:
        """Add the webhook to the organization, as an operator does."""
        return self.github.add_hook(
            self.webhook_url,
            self.secret,
            scope=Scope("organization", ORGANIZATION),
            headers={CLIENT_ADDRESS: GITHUB_ADDRESS},
        )


def default_pools() -> list[Pool]:
    """Return a Linux and a Windows pool that grow from zero, Windows more slowly."""
    return [
        Pool("batchLinux", "linux", slots_per_node=2, start_delay_s=1.0),
        Pool("batchWindows", "windows", slots_per_node=2, start_delay_s=2.0),
    ]
