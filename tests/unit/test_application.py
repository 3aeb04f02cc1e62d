"""The wiring, where no client is needed: what is answered and what is imported."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from orchestrator.application import Application, Once
from orchestrator.errors import SettingsError
from tests.builders import delivery, environment, queued_job

LOOPBACK = {"AllowedSources": "140.82.112.0/20"}


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
    assert asyncio.run(application.revive()).body["result"] == "misconfigured"


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


_REFUSE_AND_IGNORE = """
import asyncio, json, sys
import function_app
for headers, body, status in json.load(sys.stdin):
    answer = asyncio.run(function_app.application.receive(headers, body.encode()))
    assert answer.status == status, answer
needless = {"requests", "jwt", "cryptography", "azure.batch", "azure.identity", "azure.storage.queue", "azure.core"}
assert not needless & set(sys.modules), needless & set(sys.modules)
"""


def test_a_cheap_answer_stays_cheap() -> None:
    """A process that only refuses and ignores imports none of the packages that starting a runner needs."""
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
        [sys.executable, "-c", _REFUSE_AND_IGNORE], input=given, env=environment(**LOOPBACK), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
