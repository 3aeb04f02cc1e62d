"""The output of tasks: uploaded by the stand-in of Batch to the stand-in of the storage, and read by the real SDKs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.task_log import MOST_BYTES, MOST_LINES, WIDTH, TaskLog
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.config.settings import TaskLogs
from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.explain.facts import ON_NODE, LogTail
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
JSON = {"Content-Type": "application/json;odata=minimalmetadata"}
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
        return RunnerTasks(self.account)

    @property
    def account(self) -> BatchAccount:
        """The account as its key opens it."""
        return BatchAccount(self.batch_url, AzureNamedKeyCredential(self.batch.account, self.batch.key))

    @property
    def log(self) -> TaskLog:
        """What reads their output."""
        return self.reader(self.container_url)

    def reader(self, container_url: str | None) -> TaskLog:
        """Return what reads their output, with this container or none."""
        return TaskLog(
            self.account,
            container_url=container_url,
            container_credential=AzureNamedKeyCredential(self.storage.account, self.storage.key),
        )

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
    assert account.reader(None).tail(account.state()) == LogTail(("one", "two"), ("oops",), ON_NODE)
    account.lose_nodes()
    assert account.reader(None).tail(account.state()) is None


def test_while_it_runs_the_node_is_asked(account: Account) -> None:
    """A task that runs has its output on its node; when that is taken away there is none."""
    account.start()
    state = account.state()
    assert account.log.tail(state) == LogTail(("one", "two"), ("oops",), ON_NODE)
    del account.executor.output["stderr.txt"]
    account.executor.output["stdout.txt"] = b""
    assert account.log.tail(state) == LogTail((), (), ON_NODE)
    account.lose_nodes()
    account.executor.end()
    assert account.log.tail(state) is None
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


def test_the_node_is_left_alone(account: Account) -> None:
    """Who wants no calls to Batch gets what the container has, and nothing else."""
    account.start(logs=None)
    account.executor.end()
    state = account.state()
    account.batch.recorder.clear()
    assert account.log.tail(state, on_node=False) is None
    assert account.batch.recorder.calls == []


def test_a_failed_upload(account: Account) -> None:
    """A task whose output cannot be uploaded keeps its exit code, and its output is on the node."""
    account.storage.faults.add(Fault("status", "PUT *", status=403))
    account.start()
    account.executor.end()
    state = account.state()
    assert (state.exit_code, state.ran_a_job) == (0, True)
    assert state.failure is not None
    assert "FileUploadMiscError" in state.failure
    assert account.log.tail(state) == LogTail(("one", "two"), ("oops",), ON_NODE)


@pytest.mark.parametrize("ended", [False, True], ids=["node", "container"])
def test_long_output_is_cut(account: Account, *, ended: bool) -> None:
    """Of much output the last lines are read, no more than that; what steers a terminal is not passed on."""
    lines = [f"{number:06} \x1b[31mred\tx" for number in range(20_000)]
    lines[-1] = "y" * (WIDTH + 1)
    account.executor.output = {"stdout.txt": "\r\n".join(lines).encode(), "stderr.txt": b"z" * (2 * MOST_BYTES)}
    account.start()
    if ended:
        account.executor.end()
    found = account.log.tail(account.state())
    assert found is not None
    assert len(found.stdout) == MOST_LINES
    assert found.stdout[-2] == "019998 \ufffd[31mred x"
    assert found.stdout[-1] == "y" * WIDTH
    assert found.stderr == ()


def test_a_task_that_waits(account: Account) -> None:
    """A task that has no node has no output, and nobody is asked."""
    account.start()
    waiting = account.state()
    account.batch.recorder.clear()
    assert account.log.tail(TaskState("runner-1-1", "linux", "waiting", waiting.created_at, batch_job="j")) is None
    assert account.log.tail(TaskState("runner-1-1", "linux", "running", waiting.created_at)) is None
    assert account.batch.recorder.calls == []


def refuse(code: str) -> Fault:
    """Return a refusal by Batch."""
    return Fault("status", "GET *", status=403, body=f'{{"code": "{code}"}}', headers=JSON)


@pytest.mark.parametrize(
    ("kept", "spoil", "error", "words"),
    [
        (False, lambda one: one.batch.faults.add(Fault("drop", "GET *", times=None)), TransientError, "not answer"),
        (False, lambda one: one.batch.faults.add(refuse("AuthorizationFailure")), UpstreamRefused, "refused to read"),
        (True, lambda one: one.storage.faults.add(Fault("status", "HEAD *", status=403)), TransientError, "Reader"),
        (True, lambda one: one.storage.faults.add(Fault("drop", "HEAD *", times=None)), TransientError, "be read"),
        (True, lambda one: one.storage.faults.add(Fault("status", "GET *", status=500)), TransientError, "be read"),
    ],
)
def test_nobody_tells(
    account: Account, *, kept: bool, spoil: Callable[[Account], None], error: type[Exception], words: str
) -> None:
    """What goes wrong on the way is an error of ours that says who did not do what."""
    account.start()
    account.executor.end()
    state, log = account.state(), account.reader(account.container_url if kept else None)
    spoil(account)
    with pytest.raises(error, match=words):
        log.tail(state)


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
@pytest.mark.parametrize(("pool", "launch"), LAUNCHES)
def test_contract(account: Account, pool: str, launch: str, tmp_path: Path) -> None:
    """What Batch is told of output, and what it says of an upload that failed, keeps to Batch's schema."""
    account.storage.faults.add(Fault("status", "PUT *", status=403))
    account.start(pool, launch)
    account.executor.end()
    assert account.state(pool).failure
    assert_kept(account.batch.recorder.exchanges, tmp_path)


def test_the_files_of_a_node_are_as_the_sdk_knows_them(account: Account) -> None:
    """The SDK's own calls find the same in what the stand-in of Batch answers as our reader."""
    account.start()
    client = BatchClient(account.batch_url, AzureNamedKeyCredential(account.batch.account, account.batch.key))
    job = account.state().batch_job
    listed = {file.name: file for file in client.list_task_files(job, "runner-1-1")}
    assert {name: file.is_directory for name, file in listed.items()} == {
        "stdout.txt": False, "stderr.txt": False, "wd": True,
    }  # fmt: skip
    properties = listed["stdout.txt"].properties
    assert properties is not None
    assert properties.content_length == len(b"one\ntwo\n")
    part = client.download_task_file(job, "runner-1-1", "stdout.txt", ocp_range="bytes=4-6")
    assert b"".join(part) == b"two"
    with pytest.raises(HttpResponseError, match="Not Found"):
        list(client.download_task_file(job, "runner-1-1", "other.txt"))
