"""The Functions host, with little apps: the contract of Microsoft's runtime, and the oddities of the host around it."""

import base64
import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from sandbox.functions.process import FunctionsHost, HostFailed
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.waiting import until

APP = """
import json, logging
import azure.functions as func

app = func.FunctionApp()

@app.route("echo/{name?}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("app").info("echoing")
    if req.params.get("fail"):
        raise ValueError("s3cret")
    seen = {"method": req.method, "headers": dict(req.headers), "params": dict(req.params),
            "route": dict(req.route_params), "body": req.get_body().decode()}
    return func.HttpResponse(json.dumps(seen), status_code=201, headers={"X-Own": "yes"}, mimetype="application/json")

@app.route("guarded", auth_level=func.AuthLevel.FUNCTION)
async def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")

@app.route("keep", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="out", queue_name="%Kept%", connection="AzureWebJobsStorage")
def keep(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)

@app.queue_trigger(arg_name="msg", queue_name="work", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="out", queue_name="done", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage, out: func.Out[str]) -> None:
    body = msg.get_body().decode()
    if "fail" in body:
        raise RuntimeError("no")
    out.set(f"{msg.id} {msg.dequeue_count} {body}")

@app.timer_trigger(arg_name="timer", schedule="%When%")
@app.queue_output(arg_name="out", queue_name="ticks", connection="AzureWebJobsStorage")
def tick(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set(f"late={timer.past_due}")
"""
HOST = {"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 2, "maxPollingInterval": "00:00:00.2"}}}


@pytest.fixture(scope="module")
def service() -> QueueService:
    """Return the storage account."""
    return QueueService()


@pytest.fixture(scope="module")
def connection(service: QueueService) -> Iterator[str]:
    """Serve it, with the queue `work`; return its connection string."""
    with Server(service.application) as server:
        connection = service.connection_string(server.url)
        queue(connection, "work").create_queue()
        yield connection


@pytest.fixture(scope="module")
def host(connection: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsHost]:
    """Run the app above."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "function_app.py").write_text(APP, encoding="utf-8")
    (folder / "host.json").write_text(json.dumps(HOST), encoding="utf-8")
    settings = {"AzureWebJobsStorage": connection, "Kept": "kept", "When": "59 */59 * * * *"}
    with FunctionsHost(folder, settings, keys=["key"], front_end=True) as host:
        yield host


def queue(connection: str, name: str) -> QueueClient:
    """Return a client of a queue, as the orchestrator has one."""
    return QueueClient.from_connection_string(connection, name, message_encode_policy=TextBase64EncodePolicy())


def decoded(service: QueueService, name: str) -> list[str]:
    """Return the messages of a queue as the host wrote them."""
    return [base64.b64decode(text).decode() for text in service.texts(name)]


class TestHttp:
    """HTTP functions."""

    def test_request_and_response(self, host: FunctionsHost) -> None:
        """Method, headers, query, route and body reach the function; its status, headers and body come back."""
        answer = requests.post(f"{host.url}/api/echo/me?a=1", data=b"body", headers={"X-Given": "1"}, timeout=30)
        seen = answer.json()
        assert (answer.status_code, answer.headers["X-Own"]) == (201, "yes")
        assert answer.headers["Content-Type"] == "application/json"
        assert (seen["method"], seen["body"], seen["params"]) == ("POST", "body", {"a": "1"})
        assert (seen["route"], seen["headers"]["x-given"]) == ({"name": "me"}, "1")

    def test_what_is_not_there(self, host: FunctionsHost) -> None:
        """Another path or method is 404."""
        assert requests.get(f"{host.url}/api/nothing", timeout=30).status_code == 404
        assert requests.put(f"{host.url}/api/echo", timeout=30).status_code == 404

    def test_keys_are_enforced(self, host: FunctionsHost) -> None:
        """A function key opens by query or header; without one the answer is 401 and empty."""
        url = f"{host.url}/api/guarded"
        assert requests.get(f"{url}?code=key", timeout=30).text == "in"
        assert requests.get(url, headers={"x-functions-key": "key"}, timeout=30).text == "in"
        assert requests.get(url, headers={"x-functions-key": "master"}, timeout=30).text == "in"
        for refused in (url, f"{url}?code=wrong", f"{url}?code="):
            answer = requests.get(refused, timeout=30)
            assert (answer.status_code, answer.text) == (401, "")

    def test_an_exception_is_an_empty_500(self, host: FunctionsHost) -> None:
        """What a function raises is in the log and not in the answer."""
        answer = requests.get(f"{host.url}/api/echo?fail=1", timeout=30)
        assert (answer.status_code, answer.text) == (500, "")
        until(lambda: "ValueError" in host.logs)

    def test_repeated_and_empty_values(self, host: FunctionsHost) -> None:
        """Repeated headers and query values are joined by commas; empty headers stay, empty query values do not."""
        parts = urlsplit(host.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.putrequest("GET", "/api/echo?a=1&a=2&b=")
        for value in ("1", "2"):
            connection.putheader("X-Twice", value)
        connection.putheader("X-Empty", "")
        connection.endheaders()
        seen = json.loads(connection.getresponse().read())
        connection.close()
        assert (seen["headers"]["x-twice"], seen["headers"]["x-empty"]) == ("1,2", "")
        assert seen["params"] == {"a": "1,2"}

    def test_a_chunked_body_arrives_empty(self, host: FunctionsHost) -> None:
        """A body without a length is not read."""
        answer = requests.post(f"{host.url}/api/echo", data=iter([b"chunk"]), timeout=30)
        assert answer.json()["body"] == ""

    def test_front_end_headers(self, host: FunctionsHost) -> None:
        """The peer's address is appended to what the caller sent; the sandbox's own header goes no further."""
        headers = {"X-Forwarded-For": "1.2.3.4", "X-Sandbox-Client-Address": "203.0.113.9"}
        seen = requests.get(f"{host.url}/api/echo", headers=headers, timeout=30).json()["headers"]
        assert seen["x-forwarded-for"] == "1.2.3.4, 203.0.113.9:51234"
        assert "x-sandbox-client-address" not in seen
        assert {"client-ip", "x-original-url", "disguised-host", "x-arr-log-id"} <= set(seen)

    def test_log_lines_have_names(self, host: FunctionsHost) -> None:
        """What a function logs carries its name and the invocation's id, and no key."""
        requests.get(f"{host.url}/api/echo?code=key", timeout=30)
        until(lambda: "echoing" in host.logs)
        line = next(line for line in host.logs.splitlines() if "echoing" in line)
        assert line.startswith("INFO [echo] [")
        assert "code=key" not in host.logs

    def test_admin(self, host: FunctionsHost) -> None:
        """The host tells its state and functions to the holder of the master key alone."""
        for address in ("host/status", "functions"):
            assert requests.get(f"{host.url}/admin/{address}?code=key", timeout=30).status_code == 401
        status = requests.get(f"{host.url}/admin/host/status", headers={"x-functions-key": "master"}, timeout=30)
        assert status.json()["state"] == "Running"
        listed = requests.get(f"{host.url}/admin/functions", headers={"x-functions-key": "master"}, timeout=30).json()
        assert {entry["name"] for entry in listed} == set(host.functions)
        key = {"x-functions-key": "master"}
        assert requests.post(f"{host.url}/admin/functions/nothing", headers=key, timeout=30).status_code == 404
        assert requests.post(f"{host.url}/admin/functions/tick", timeout=30).status_code == 401


class TestQueues:
    """Queue triggers and outputs."""

    def test_message_to_output(self, host: FunctionsHost, service: QueueService, connection: str) -> None:
        """A message calls the function, what it puts out arrives, and the message is gone."""
        assert host.url
        sent = queue(connection, "work").send_message("hello")
        until(lambda: f"{sent.id} 1 hello" in decoded(service, "done"))
        until(lambda: service.texts("work") == [])

    def test_json_replaces_metadata(self, host: FunctionsHost, service: QueueService, connection: str) -> None:
        """Properties of a JSON message replace the message's own metadata, whatever the case."""
        assert host.url
        queue(connection, "work").send_message('{"ID": "stolen", "other": 1}')
        until(lambda: any(text.startswith("stolen ") for text in decoded(service, "done")))

    def test_poison(self, host: FunctionsHost, service: QueueService, connection: str) -> None:
        """After its last attempt, and at once if it cannot be decoded, a message goes to the poison queue."""
        assert host.url
        queue(connection, "work").send_message("fail")
        QueueClient.from_connection_string(connection, "work").send_message("not base64!")
        until(lambda: len(service.texts("work-poison")) == 2)
        assert set(service.texts("work-poison")) == {"ZmFpbA==", "not base64!"}

    @pytest.mark.parametrize(
        ("body", "messages"),
        [
            ("plain", ["plain"]),
            ('{ "a" : 1 }', ['{"a":1}']),
            ('[ "x", {"b": 2} ]', ["x", '{"b":2}']),
            ("{broken", ["{broken"]),
        ],
    )
    def test_output_that_looks_like_json(
        self, host: FunctionsHost, service: QueueService, connection: str, body: str, messages: list[str]
    ) -> None:
        """Outputs are written before the answer; JSON-like text is written anew, an array taken apart."""
        if service.texts("kept"):
            queue(connection, "kept").clear_messages()
        assert requests.post(f"{host.url}/api/keep", data=body, timeout=30).status_code == 202
        assert decoded(service, "kept") == messages


def test_timer_by_hand(host: FunctionsHost, service: QueueService) -> None:
    """A timer function runs when the host is asked to."""
    assert host.run("tick") == 202
    until(lambda: "late=False" in decoded(service, "ticks"))


def test_timer_by_schedule(connection: str, service: QueueService, tmp_path: Path) -> None:
    """A timer function runs when its time has come."""
    soon = datetime.now(UTC) + timedelta(seconds=4)  # a host that takes longer to start does it a minute later
    (tmp_path / "function_app.py").write_text(APP.replace('"ticks"', '"seconds"'), encoding="utf-8")
    settings = {"AzureWebJobsStorage": connection, "Kept": "kept", "When": f"{soon.second} * * * * *"}
    with FunctionsHost(tmp_path, settings):
        until(lambda: service.texts("seconds"), seconds=90)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import azure.functions as func\napp = func.FunctionApp()\n", "has no functions"),
        (APP.replace('arg_name="msg"', 'arg_name="other"'), "declared in"),
        ("import nothing_of_this_name\n", "No module named"),
        ("", "Could not find"),
    ],
)
def test_a_broken_app(tmp_path: Path, code: str, error: str) -> None:
    """An app that Azure would refuse does not start, with the runtime's own words."""
    (tmp_path / "function_app.py").write_text(code, encoding="utf-8")
    host = FunctionsHost(
        tmp_path, {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "Kept": "k", "When": "30 * * * * *"}
    )
    with pytest.raises(HostFailed, match=error):
        host.start()
    assert host.stop() == 1
