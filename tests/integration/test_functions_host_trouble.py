"""The Functions host when something goes wrong: odd requests and messages, a storage that refuses, broken apps."""

import base64
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from azure.storage.queue import QueueClient

from sandbox.faults import Fault
from sandbox.functions.front import Keys
from sandbox.functions.process import FunctionsHost, HostFailed
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.waiting import until

APP = """
import logging, time
import azure.functions as func

print("imported")
app = func.FunctionApp()

@app.route("echo", auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    print("x" * int(req.params.get("print", "0")))
    return func.HttpResponse(req.headers.get("x-forwarded-for"))

@app.route("put", auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="out", queue_name="work", connection="AzureWebJobsStorage")
def put(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set("from http")
    return func.HttpResponse("put")

@app.queue_trigger(arg_name="msg", queue_name="work", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="out", queue_name="done", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage, out: func.Out[str]) -> None:
    body = msg.get_body().decode()
    logging.info("begin %.20s", body)
    if body == "slow":
        time.sleep(0.5)
    if body == "fail":
        raise RuntimeError("no")
    out.set("done")

@app.timer_trigger(arg_name="timer", schedule="%When%")
@app.queue_output(arg_name="out", queue_name="ticks", connection="AzureWebJobsStorage")
def tick(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set("tick")
"""
HOST = {
    "version": "2.0",
    "extensions": {"queues": {"maxDequeueCount": 2, "maxPollingInterval": "00:01:00", "visibilityTimeout": "00:00:30"}},
}
SELDOM = "59 */59 * * * *"


class Storage(QueueService):
    """A storage account whose clock a test moves, with the queue `work`."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: time.time() + self.skipped)
        self.skipped = 0.0

    def send(self, connection: str, content: str, *, encoded: bool = True) -> None:
        """Put a message into `work`."""
        text = base64.b64encode(content.encode()).decode() if encoded else content
        QueueClient.from_connection_string(connection, "work").send_message(text)


@pytest.fixture
def storage() -> Storage:
    """Return a storage account of its own."""
    return Storage()


@pytest.fixture
def connection(storage: Storage) -> Iterator[str]:
    """Serve it; return its connection string."""
    with Server(storage.application) as server:
        connection = storage.connection_string(server.url)
        QueueClient.from_connection_string(connection, "work").create_queue()
        yield connection


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Write the app above; return its folder."""
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "host.json").write_text(json.dumps(HOST), encoding="utf-8")
    return tmp_path


def host_of(app: Path, connection: str, **settings: str) -> FunctionsHost:
    """Return a host that looks into its queue often."""
    own = {"AzureWebJobsStorage": connection, "When": SELDOM, **settings}
    return FunctionsHost(app, own, keys=["key"], front_end=True, max_polling_interval=0.2)


@pytest.mark.parametrize(("key", "given"), [("", ""), ("key", ""), ("key", "\udcff"), ("key", "KEY")])
def test_keys_that_open_nothing(key: str, given: str) -> None:
    """A key that nobody set, none at all, odd bytes and a wrong one open neither a function nor the host."""
    keys = Keys((key,), key)
    assert not keys.open("function", given)
    assert not keys.open("admin", given)


def test_requests_at_the_edge(app: Path, connection: str) -> None:
    """A v6 peer is written in brackets, a large body is an empty 413, what is no JSON object starts no function."""
    with host_of(app, connection, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000") as host:
        echo = f"{host.url}/api/echo"
        assert requests.get(echo, headers={"X-Sandbox-Client-Address": "2001:db8::1"}, timeout=30).text.startswith(
            "[2001:db8::1]:"
        )
        assert requests.post(echo, data=b"x" * 1000, timeout=30).status_code == 200
        large = requests.post(echo, data=b"x" * 1001, timeout=30)
        assert (large.status_code, large.text) == (413, "")
        for body in ("{", "[]"):
            by_hand = requests.post(f"{host.url}/admin/functions/tick?code=master", data=body, timeout=30)
            assert by_hand.status_code == 400


def test_what_an_app_prints_is_logged(app: Path, connection: str) -> None:
    """Prints, while the app is imported and larger than a pipe, neither hide that the host is ready nor block it."""
    with host_of(app, connection) as host:
        assert "imported" in host.logs
        for _ in range(2):
            assert requests.get(f"{host.url}/api/echo?print=100000", timeout=30).status_code == 200


@pytest.mark.parametrize("content", ["é", "=", "not base64"])
def test_an_undecodable_message(app: Path, storage: Storage, connection: str, content: str) -> None:
    """What is not base64, or not even ASCII, goes to the poison queue at once and as it is."""
    storage.send(connection, content, encoded=False)
    with host_of(app, connection):
        until(lambda: storage.texts("work-poison") == [content])


def test_a_deeply_nested_message(app: Path, storage: Storage, connection: str) -> None:
    """JSON that is too deep to be read is a text like any other."""
    storage.send(connection, "[" * 30_000)
    with host_of(app, connection):
        until(lambda: storage.texts("done"))


def test_a_failed_message_waits(app: Path, storage: Storage, connection: str) -> None:
    """After a failure a message is hidden as long as host.json says; after the last it is poison."""
    storage.send(connection, "fail")
    with host_of(app, connection) as host:
        until(lambda: "Native invocation failed" in host.logs)
        polls = len(storage.recorder.calls)
        until(lambda: len(storage.recorder.calls) > polls + 4)
        assert host.logs.count("begin fail") == 1
        storage.skipped = 31
        until(lambda: storage.texts("work-poison"))
        assert host.logs.count("begin fail") == 2


def test_an_output_that_is_refused(app: Path, storage: Storage, connection: str) -> None:
    """A call whose output is not taken has failed: HTTP answers an empty 500, a message is tried again, then poison."""
    storage.faults.add(Fault("status", "POST */done/*", status=403, times=None))
    storage.send(connection, "x")
    with host_of(app, connection) as host:
        until(lambda: any(call.startswith("PUT /sandbox/work/messages/") for call in storage.recorder.calls))
        assert "work: an output failed" in host.logs
        storage.skipped = 31
        until(lambda: storage.texts("work-poison"))
        storage.faults.add(Fault("status", "POST */work/*", status=403))
        answer = requests.get(f"{host.url}/api/put", timeout=30)
        assert (answer.status_code, answer.text) == (500, "")


def test_a_hiccup_of_the_storage(app: Path, storage: Storage, connection: str) -> None:
    """After one failed look into the queue the next comes soon."""
    storage.faults.add(Fault("status", "GET */work/messages", status=503))
    storage.send(connection, "x")
    with host_of(app, connection):
        until(lambda: storage.texts("done"), seconds=50)


def test_an_output_wakes_the_listener(app: Path, storage: Storage, connection: str) -> None:
    """A message from a function of the same host is taken at once, however rarely the host looks by itself."""
    with FunctionsHost(app, {"AzureWebJobsStorage": connection, "When": SELDOM}) as host:
        until(lambda: len(storage.recorder.calls) > 6)  # now it waits for more than six seconds
        assert requests.get(f"{host.url}/api/put", timeout=30).status_code == 200
        until(lambda: storage.texts("done"), seconds=5)


def test_a_running_message_is_finished(app: Path, storage: Storage, connection: str) -> None:
    """A host that is stopped lets the messages under way come to their end."""
    storage.send(connection, "slow")
    with host_of(app, connection) as host:
        until(lambda: "begin slow" in host.logs)
        assert host.stop() == 0
    assert len(storage.texts("done")) == 1
    assert storage.texts("work") == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"AzureWebJobsStorage": None}, "AzureWebJobsStorage is missing"),
        ({"AzureWebJobsStorage": "s3cret"}, "AzureWebJobsStorage is not a storage connection string"),
        ({"When": None}, "When is missing"),
        ({"When": "now"}, "the schedule of tick: 'now' is neither"),
    ],
)
def test_a_wrong_setting(app: Path, changes: Mapping[str, str | None], error: str) -> None:
    """A setting that a binding needs is named at start, without its value if it may be a secret."""
    settings = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "When": SELDOM, **changes}
    host = FunctionsHost(app, {name: value for name, value in settings.items() if value is not None})
    with pytest.raises(HostFailed, match=error) as caught:
        host.start()
    assert host.stop() == 1
    assert "s3cret" not in str(caught.value) + host.logs


def test_an_app_that_hangs(tmp_path: Path) -> None:
    """A host that does not become ready in time is ended."""
    (tmp_path / "function_app.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    host = FunctionsHost(tmp_path, {}, patience=1)
    with pytest.raises(HostFailed, match="not ready"):
        host.start()
    assert host.stop() == -9


def test_odd_bytes_in_a_key(app: Path, connection: str) -> None:
    """A header that is no text is refused like any wrong key."""
    with host_of(app, connection) as host:
        parts = urlsplit(host.url)
        client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        client.putrequest("GET", "/admin/functions")
        client.putheader("x-functions-key", b"\xff")
        client.endheaders()
        assert client.getresponse().status == 401
        client.close()
