"""The hand-over on Microsoft's own storage emulator, where node is present: the stand-in must not be all we know."""

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from orchestrator.azure.request_queue import RequestQueue
from orchestrator.config.storage import FunctionStorage
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.request import Retry, RunnerRequest
from sandbox.functions.process import FunctionsHost
from tests.builders import queued_job
from tests.npm import package
from tests.waiting import until

AZURITE = ("azurite", "3.35.0")
ACCOUNT = "sandbox"
KEY = base64.b64encode(b"not a secret").decode()
APP = """
import azure.functions as func
app = func.FunctionApp()

@app.queue_trigger(arg_name="message", queue_name="runner-requests", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="out", queue_name="seen", connection="AzureWebJobsStorage")
def seen(message: func.QueueMessage, out: func.Out[str]) -> None:
    out.set(message.get_body().decode())
"""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Azurite's queue service; return its connection string."""
    script = package(*AZURITE) / "azurite" / "dist" / "src" / "queue" / "main.js"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = ["node", str(script), "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    process = subprocess.Popen(  # noqa: S603 - a fixed command
        [*command, "--queueHost", "127.0.0.1", "--queuePort", str(port)],
        cwd=tmp_path_factory.mktemp("azurite"),
        env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}", "PATH": "/usr/bin:/bin:/usr/local/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, "Azurite ended"
        with suppress(requests.RequestException):
            requests.get(f"http://127.0.0.1:{port}/", timeout=5)
            return True
        return False

    until(answers)


def test_the_hand_over(connection: str, tmp_path: Path) -> None:
    """What the HTTP function keeps reaches the queue function unchanged, through a queue made on the way."""
    event = workflow_job_event(json.dumps(queued_job("self-hosted", "run-1")).encode())
    kept = RunnerRequest(delivery="d-1", event=event)
    queue = RequestQueue(FunctionStorage.from_environment({"AzureWebJobsStorage": connection}))
    assert queue.retry_later([Retry(kept, retry_after=1)] * 2)[0] <= 1.25
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "host.json").write_text(Path("host.json").read_text(encoding="utf-8"), encoding="utf-8")
    with FunctionsHost(tmp_path, {"AzureWebJobsStorage": connection}, max_polling_interval=0.2):
        content = _first_message(QueueClient.from_connection_string(connection, "seen"))
    assert RunnerRequest.parse_all(base64.b64decode(content)) == [kept] * 2


def _first_message(queue: QueueClient) -> str:
    found: list[str] = []

    def look() -> list[str]:
        with suppress(ResourceNotFoundError):
            message = queue.receive_message()
            if message is not None:
                found.append(str(message.content))
        return found

    until(look)
    return found[0]
