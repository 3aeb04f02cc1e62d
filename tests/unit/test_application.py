"""The wiring, where no client is needed: what is answered and what is imported."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from orchestrator.application import WARM_UP_AFTER, Application, Once
from orchestrator.config.profiles import Profile
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import SettingsError
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import RunnerRequest
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import Runtime
from tests.builders import delivery, environment, queued_job

LOOPBACK = {"AllowedSources": "140.82.112.0/20"}
CLAIMING = {
    "RunnerRegistration": "claim",
    "ClaimKey": "a-key-of-claims-that-nobody-guesses",
    "ClaimUrl": "https://f.example/api/ClaimRunner",
    "ClaimSources": "10.1.0.0/16",
}


def test_misconfigured(caplog: pytest.LogCaptureFixture) -> None:
    """Wrong settings are logged at start-up and answered to everybody, by name and never by value."""
    application = Application(environment(GithubWebhookSecret="", BatchAccountKey="s3cret!"))
    answer = asyncio.run(application.receive(*delivery(queued_job())))
    assert answer.status == 500
    assert answer.body["result"] == "misconfigured"
    for setting in ("GithubWebhookSecret", "BatchAccountKey"):
        assert setting in answer.text
        assert setting in caplog.text
    assert "s3cret" not in answer.text + caplog.text
    with pytest.raises(SettingsError):
        application.retry(b"{}")
    assert asyncio.run(application.revive({})).body["result"] == "misconfigured"


def test_the_shipped_list_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    """Until GitHub has answered, the log says whose list of addresses is in force."""
    caplog.set_level("INFO")
    Application(environment())
    assert "shipped with the release" in caplog.text
    caplog.clear()
    Application(environment(**LOOPBACK))
    assert caplog.text == ""


def test_advice(caplog: pytest.LogCaptureFixture) -> None:
    """A repository rule that keeps nobody away is said at start."""
    Application(environment(**LOOPBACK, AllowedRepositories="acme/app"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "RunnerScope=repository" in record.getMessage()


def test_schedule() -> None:
    """The timer's schedule follows the setting, and is the default's while settings are wrong."""
    assert Application(environment(**LOOPBACK, ReconcileMinutes="3")).schedule == "0 */3 * * * *"
    assert Application({}).schedule == "0 */5 * * * *"


def test_no_boost() -> None:
    """Where boosts are off no pool is looked at, so no client is made."""
    application = Application(environment(**LOOPBACK, BatchAccountUrl="https://acct.invalid"))
    assert not application.boosts_pools
    application.tend_pools()


def test_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment configures it."""
    for name, value in environment(**LOOPBACK).items():
        monkeypatch.setenv(name, value)
    answer = asyncio.run(Application.from_environment().receive(*delivery({}, event="push")))
    assert answer.body["result"] == "ignored"


class LateLock(nullcontext[None]):
    """A lock that others hold before it is given: they do their work first."""

    def __init__(self) -> None:
        self.others: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        while self.others:
            self.others.pop()()


class TestOnce:
    """`Once`."""

    def test_made_once(self) -> None:
        """Of many threads that need it at once, one makes it."""
        made: list[int] = []
        arrived = threading.Barrier(8)

        def make() -> int:
            made.append(1)
            return len(made)

        once = Once(make)
        found: list[int] = []

        def ask() -> None:
            arrived.wait(5)
            found.append(once())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert found == [1] * 8

    def test_overtaken(self) -> None:
        """Whoever gets the lock when it is made already makes no second one."""
        made: list[str] = []
        lock = LateLock()
        once = Once(lambda: made.append("once"), lock=lambda: lock)
        lock.others.append(once)
        once()
        assert made == ["once"]

    def test_a_failure_is_not_kept(self) -> None:
        """What could not be made is tried again."""
        divisors = iter([0, 0, 1])
        once = Once(lambda: 1 // next(divisors))
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                once()
        assert once() == 1
        assert once() == 1


class Timers:
    """Timers that ring when told."""

    def __init__(self) -> None:
        self.begun: list[tuple[float, Callable[[], None]]] = []

    @property
    def runtime(self) -> Runtime:
        """A runtime that has them."""
        return Runtime(start_timer=lambda seconds, action: self.begun.append((seconds, action)))

    def ring(self) -> None:
        """Let the only one ring."""
        ((_, action),) = self.begun
        action()


class TestWarmUp:
    """The clients are made in the background."""

    def test_strangers_cause_none(self) -> None:
        """Whoever does not know the secret cannot make the process work."""
        timers = Timers()
        application = Application(environment(**LOOPBACK), timers.runtime)
        for headers in ({"secret": "forged"}, {"x_forwarded_for": "8.8.8.8:1"}, {"x_hub_signature_256": None}):
            assert asyncio.run(application.receive(*delivery(queued_job(), **headers))).status in (401, 403)
        assert timers.begun == []

    @pytest.mark.parametrize("event", ["push", "ping"])
    def test_once_after_a_genuine_delivery(self, event: str) -> None:
        """The first genuine delivery that needs no client is followed by them, a while after its answer."""
        timers = Timers()
        application = Application(environment(**LOOPBACK), timers.runtime)
        for _ in range(2):
            assert asyncio.run(application.receive(*delivery({}, event=event))).status == 200
        assert [seconds for seconds, _ in timers.begun] == [WARM_UP_AFTER]

    def test_at_start(self) -> None:
        """With `WarmUp` they are made when the process starts, and no second time."""
        timers = Timers()
        application = Application(environment(**LOOPBACK, WarmUp="true"), timers.runtime)
        asyncio.run(application.receive(*delivery({}, event="push")))
        assert [seconds for seconds, _ in timers.begun] == [0]

    def test_a_failure(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """Clients that cannot be made ahead are told of in the log, and nobody is disturbed."""
        timers = Timers()
        Application(environment(**LOOPBACK, WarmUp="true"), timers.runtime)
        monkeypatch.setitem(sys.modules, "orchestrator.upstream", None)
        timers.ring()
        assert "could not be made ahead" in caplog.text
        assert "ImportError" in caplog.text or "ModuleNotFoundError" in caplog.text


class Busy(Executor):
    """Threads that are busy for ever."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:  # noqa: ARG002
        """Leave it waiting."""
        return Future()


def served(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> tuple[Application, list[int]]:
    """Return an application with these threads, and the jobs whose runners it starts."""
    application, started = Application(environment(**LOOPBACK), runtime), list[int]()

    def handle(event: WorkflowJobEvent, profile: Profile) -> Outcome:
        started.append(event.workflow_job.id)
        return Outcome(Result.CREATED, "runner-1-1", profile)

    monkeypatch.setattr(application, "_upstream", lambda: SimpleNamespace(handle=handle))
    monkeypatch.setattr(application, "_queue", lambda: SimpleNamespace(retry_later=None, dead_letter=None))
    return application, started


def test_deliveries_do_not_wait_for_kept_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """While kept requests occupy all of their threads, a delivery starts its runner."""
    application, started = served(Runtime(retry_threads=Busy()), monkeypatch)
    assert asyncio.run(application.receive(*delivery(queued_job()))).status == 201
    assert started == [29679449526]


def test_kept_requests_do_not_wait_for_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    """While deliveries occupy all of their threads, a kept request starts its runner."""
    application, started = served(Runtime(upstream_threads=Busy(), queue_threads=Busy()), monkeypatch)
    event = workflow_job_event(json.dumps(queued_job()).encode())
    application.retry(RunnerRequest(delivery="d-1", event=event).model_dump_json().encode())
    assert started == [29679449526]


_REFUSE_AND_IGNORE = """
import asyncio, json, os, sys
import function_app
from orchestrator.runtime import Runtime
later = []
runtime = Runtime(start_timer=lambda seconds, action: later.append(action))
function_app.application = function_app.Application(os.environ, runtime)
for headers, body, status in json.load(sys.stdin):
    answer = asyncio.run(function_app.application.receive(headers, body.encode()))
    assert answer.status == status, answer
assert "orchestrator.claims" not in sys.modules
forged = json.dumps({"claim": "v1.e30.e30", "nonce": "0a" * 32}).encode()
answer = asyncio.run(function_app.application.claim({"x-forwarded-for": "10.1.2.3:5"}, forged))
assert answer.status == 401, answer
needless = {"requests", "jwt", "cryptography", "azure.batch", "azure.identity", "azure.storage.queue", "azure.core"}
assert not needless & set(sys.modules), needless & set(sys.modules)
assert not [name for name in sys.modules if name.startswith(("orchestrator.status", "orchestrator.reconcile"))]
(warm_up,) = later
warm_up()
assert {"requests", "azure.batch", "azure.storage.queue"} <= set(sys.modules)
"""


def test_a_cheap_answer_stays_cheap() -> None:
    """Refusing and ignoring import none of the packages that a runner needs; the warm-up after them does.

    So does refusing a forged claim; and what only claims need is imported by the first of them.
    """
    deliveries = [
        (*delivery(queued_job(), secret="forged"), 401),
        (*delivery(queued_job(), x_forwarded_for="8.8.8.8:1"), 403),
        (*delivery(queued_job("ubuntu-latest")), 200),
        (*delivery(queued_job(action="in_progress")), 200),
        (*delivery(queued_job(action="completed", workflow_job={**queued_job()["workflow_job"], "runner_id": 7})), 200),
        (*delivery({"hook": {"events": ["workflow_job"]}}, event="ping"), 200),
    ]
    given = json.dumps([(headers, body.decode(), status) for headers, body, status in deliveries])
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _REFUSE_AND_IGNORE], input=given, env=environment(**LOOPBACK, **CLAIMING),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
