"""The output of tasks: uploaded by the stand-in of Batch to the stand-in of the storage, and read by the real SDKs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.task_log import MOST_BYTES, MOST_LINES, WIDTH, TaskLog
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.config.settings import TaskLogs
from orchestrator.egress import DIRECT
from orchestrator.errors import TransientError
from orchestrator.explain.facts import LogTail
from orchestrator.runners.task import TaskState
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.batch_tasks import NoExecutor, task
from tests.contracts import CHECKER, assert_kept
from tests.waiting import until

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pools"
CONTAINER = "task-logs"
LAUNCHES = [("linux", "batch"), ("plain", "docker")]


class Account:
    """A Batch account and a storage account, where what a task writes is what a test says."""

    def __init__(self) -> None:
        self.executor = NoExecutor()
        self.executor.output = {"stdout.txt": b"one\ntwo\n", "stderr.txt": b"oops\n"}
        self.storage = QueueService()
        self.storage.blobs.add_container(CONTAINER)
        self.pools = [
            Pool("linux", nodes=1, start_delay_s=0, scale="fixed"),
            Pool("plain", container=False, nodes=1, start_delay_s=0, scale="fixed"),
        ]
        self.batch = Batch(self.pools, executor=self.executor, upload=self.storage.upload)
        self.batch_url = self.container_url = ""

    @property
    def tasks(self) -> RunnerTasks:
        """The account's tasks."""
        key = AzureNamedKeyCredential(self.batch.account, self.batch.key)
        return RunnerTasks(BatchAccount(self.batch_url, key))

    @property
    def log(self) -> TaskLog:
        """What reads their output."""
        return TaskLog(self.container_url, AzureNamedKeyCredential(self.storage.account, self.storage.key), DIRECT)

    def start(self, pool: str = "linux", launch: str = "batch", **changes: Any) -> None:
        """Create a task, and give it a node."""
        logs = TaskLogs(self.container_url, IDENTITY)
        assert self.tasks.add(task(pool=pool, launch=launch, **{"logs": logs} | changes))
        until(lambda: self.executor.runs)

    def state(self, pool: str = "linux") -> TaskState:
        """Return the task as Batch has it."""
        found = self.tasks.state(pool, "runner-1-1")
        assert found is not None
        return found

    def lose_nodes(self) -> None:
        """Take all nodes away."""
        for pool in self.pools:
            pool.target = 0
            for node in self.batch.node_ids(pool.id):
                self.batch.preempt(node)


@pytest.fixture
def account() -> Iterator[Account]:
    """Serve both."""
    account = Account()
    with Server(account.batch.application) as batch, Server(account.storage.application) as storage:
        account.batch_url = batch.url
        account.container_url = f"{storage.url}/blob/{account.storage.account}/{CONTAINER}"
        yield account


def folder(account: Account, pool: str = "linux") -> str:
    """Return where the task's output is, seen from the storage account."""
    return f"{CONTAINER}/{account.state(pool).batch_job}/runner-1-1".lower()


@pytest.mark.parametrize(("pool", "launch"), LAUNCHES)
def test_output_outlives_the_node(account: Account, pool: str, launch: str) -> None:
    """What a task wrote is in the container, whoever started its container; the node may go then."""
    account.start(pool, launch)
    account.executor.end(71)
    account.lose_nodes()
    place = folder(account, pool)
    assert account.storage.blobs.contents == {
        f"{place}/stdout.txt": b"one\ntwo\n", f"{place}/stderr.txt": b"oops\n",
    }  # fmt: skip
    state = account.state(pool)
    assert (state.state, state.exit_code) == ("finished", 71)
    url = f"{account.container_url}/{place.removeprefix(CONTAINER)[1:]}"
    assert account.log.tail(state) == LogTail(("one", "two"), ("oops",), url)


@pytest.mark.parametrize(("pool", "launch"), LAUNCHES)
def test_what_batch_is_told(account: Account, pool: str, launch: str) -> None:
    """Both files are uploaded as the pools' identity, whatever the exit code; the container's address has no secret."""
    account.start(pool, launch)
    (wanted,) = account.batch.task_bodies()["runner-1-1"]["outputFiles"]
    assert wanted == {
        "filePattern": "../std*.txt",
        "destination": {
            "container": {
                "containerUrl": account.container_url,
                "path": folder(account, pool).removeprefix(f"{CONTAINER}/"),
                "identityReference": {"resourceId": IDENTITY},
            }
        },
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }


def test_nothing_is_uploaded_without_the_setting(account: Account) -> None:
    """A task of a function without a container has its output on its node alone."""
    account.start(logs=None)
    assert "outputFiles" not in account.batch.task_bodies()["runner-1-1"]
    account.executor.end()
    assert account.storage.blobs.contents == {}
    assert account.log.tail(account.state()) is None


def test_nothing_is_uploaded_from_a_lost_node(account: Account) -> None:
    """A task that lost its node while it ran has no output in the container."""
    account.start()
    account.lose_nodes()
    account.executor.end()
    assert account.log.tail(account.state()) is None
    assert account.storage.blobs.contents == {}


def test_an_empty_file(account: Account) -> None:
    """Most tasks write nothing to stderr; the rest is told all the same."""
    account.executor.output["stderr.txt"] = b""
    account.start()
    account.executor.end()
    found = account.log.tail(account.state())
    assert found is not None
    assert (found.stdout, found.stderr) == (("one", "two"), ())


def test_a_failed_upload(account: Account) -> None:
    """A task whose output cannot be uploaded keeps its exit code, and its output is not in the container."""
    account.storage.faults.add(Fault("status", "PUT *", status=403))
    account.start()
    account.executor.end()
    state = account.state()
    assert (state.exit_code, state.ran_a_job) == (0, True)
    assert state.failure is not None
    assert "FileUploadMiscError" in state.failure
    assert account.log.tail(state) is None


def test_long_output_is_cut(account: Account) -> None:
    """Of much output the last lines are read, no more than that; what steers a terminal is not passed on."""
    lines = [f"{number:06} \x1b[31mred\tx" for number in range(20_000)]
    lines[-1] = "y" * (WIDTH + 1)
    account.executor.output = {"stdout.txt": "\r\n".join(lines).encode(), "stderr.txt": b"z" * (2 * MOST_BYTES)}
    account.start()
    account.executor.end()
    found = account.log.tail(account.state())
    assert found is not None
    assert len(found.stdout) == MOST_LINES
    assert found.stdout[-2] == "019998 \ufffd[31mred x"
    assert found.stdout[-1] == "y" * WIDTH
    assert found.stderr == ()


def test_a_task_that_has_not_finished(account: Account) -> None:
    """A task that waits or runs has no output in the container, and the storage is not asked."""
    account.start()
    running = account.state()
    for state in (
        running,
        replace(running, state="waiting"),
        TaskState("runner-1-1", "linux", "finished", running.created_at),
    ):
        assert account.log.tail(state) is None
    assert account.storage.recorder.calls == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("status", "HEAD *", status=403), "Reader"),
        (Fault("drop", "HEAD *", times=None), "be read"),
        (Fault("status", "GET *", status=500), "be read"),
    ],
    ids=["refused", "dropped", "failed"],
)
def test_the_storage_does_not_tell(account: Account, fault: Fault, words: str) -> None:
    """What goes wrong on the way is an error of ours that says who did not do what."""
    account.start()
    account.executor.end()
    state = account.state()
    account.storage.faults.add(fault)
    with pytest.raises(TransientError, match=words):
        account.log.tail(state)


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
@pytest.mark.parametrize(("pool", "launch"), LAUNCHES)
def test_contract(account: Account, pool: str, launch: str, tmp_path: Path) -> None:
    """What Batch is told of output, and what it says of an upload that failed, keeps to Batch's schema."""
    account.storage.faults.add(Fault("status", "PUT *", status=403))
    account.start(pool, launch)
    account.executor.end()
    assert account.state(pool).failure
    assert_kept(account.batch.recorder.exchanges, tmp_path)
