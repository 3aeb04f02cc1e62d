"""What could not be served at once, tried again."""

import json
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.delivery.retry import TRY_DEADLINE, RetryHandler
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import OrchestratorError, SettingsError, TransientError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import EMPTY, MAX_ATTEMPTS, Retry, RunnerRequest
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import Runtime
from tests.builders import queued_job, settings
from tests.fakes import ManualClock
from tests.logs import line, lines

KEPT_SINCE = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Retried:
    """A handler, and what lies around it: it does as told, and remembers."""

    def __init__(self, *, deadline: float = TRY_DEADLINE, threads: Executor | None = None) -> None:
        self.trouble: Exception | None = None
        self.queue_trouble: Exception | None = None
        self.stuck: threading.Event | None = None
        self.result: Literal[Result.CREATED, Result.EXISTS, Result.REFUSED] = Result.CREATED
        self.reason: str | None = None
        self.clock = ManualClock(KEPT_SINCE + timedelta(seconds=30))
        self.calls = 0
        self.tried: list[int] = []
        self.kept: list[Retry] = []
        self.of_job: dict[int, Exception] = {}
        self.meeting: threading.Barrier | None = None
        self.given_up: list[bytes] = []
        self.reasons: list[str] = []
        self.handler = RetryHandler(
            settings(), self.handle, self.retry_later, self.dead_letter,
            clock=self.clock, threads=threads or Runtime().retry_threads, deadline=deadline,
        )  # fmt: skip

    def handle(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        """Start a runner."""
        self.tried.append(event.workflow_job.id)
        if self.meeting:
            self.meeting.wait(60)
        if event.workflow_job.id in self.of_job:
            raise self.of_job[event.workflow_job.id]
        if self.stuck:
            self.stuck.wait(60)
        if self.trouble:
            raise self.trouble
        return Outcome(self.result, f"runner-{event.workflow_job.id}-1", profile, self.reason)

    def dead_letter(self, message: bytes, reason: str) -> None:
        """Put a message aside."""
        if self.queue_trouble:
            raise self.queue_trouble
        self.given_up.append(message)
        self.reasons.append(reason)

    def retry_later(self, retries: Sequence[Retry]) -> list[float]:
        """Keep requests."""
        if self.queue_trouble:
            raise self.queue_trouble
        self.calls += 1
        self.kept.extend(retries)
        return [20.4] * len(retries)


@pytest.fixture
def retried(caplog: pytest.LogCaptureFixture) -> Retried:
    """Return a retried where all goes well."""
    caplog.set_level(logging.INFO)
    return Retried()


def message(*labels: str, private: bool = True, attempt: int = 1, job: int = 29679449526) -> bytes:
    """Return a message of the queue."""
    repository = {"name": "app", "full_name": "acme/app", "owner": {"login": "acme"}, "private": private}
    payload = queued_job(*labels, repository=repository)
    payload["workflow_job"]["id"] = job
    event = workflow_job_event(json.dumps(payload).encode())
    return RunnerRequest(delivery="d-1", event=event, attempt=attempt, kept_since=KEPT_SINCE).model_dump_json().encode()


@pytest.mark.parametrize("result", [Result.CREATED, Result.EXISTS])
def test_done(
    retried: Retried, caplog: pytest.LogCaptureFixture, result: Literal[Result.CREATED, Result.EXISTS]
) -> None:
    """A job that now gets its runner, or has one, is done with one line in the log."""
    retried.result = result
    retried.handler.retry(message())
    assert line(caplog) == (
        "INFO",
        {
            "result": result, "task": "runner-29679449526-1", "pool": "batchLinux", "delivery": "d-1",
            "job": 29679449526, "repository": "acme/app", "attempt": 2, "kept_for_s": 30,
        },
    )  # fmt: skip
    assert not retried.kept
    assert not retried.given_up


def test_a_job_that_may_have_no_runner(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal ends the request, with its reason at a level that is seen."""
    retried.reason, retried.result = "because", Result.REFUSED
    retried.handler.retry(message())
    level, fields = line(caplog)
    assert (level, fields["result"], fields["reason"]) == ("WARNING", "refused", "because")
    assert not retried.kept
    assert not retried.given_up


def test_transient_trouble(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """What still fails is put back as one attempt more, with the wait that the service asked for."""
    retried.trouble = TransientError("GitHub's rate limit is used up", retry_after=90)
    retried.handler.retry(message(attempt=3))
    ((request, wait),) = retried.kept
    assert (request.attempt, request.delivery, wait) == (4, "d-1", 90)
    level, fields = line(caplog)
    assert (level, fields["result"], fields["next_try_in_s"]) == ("WARNING", "kept", 20)


def test_a_mistake_of_ours(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged, and the request is kept."""
    retried.trouble = KeyError("oops")
    retried.handler.retry(message())
    assert len(retried.kept) == 1
    assert "KeyError" in caplog.text


def test_the_last_attempt(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """After the last attempt the request is put aside, readable, with one alert."""
    retried.trouble = TransientError("Batch does not answer")
    retried.handler.retry(message(attempt=MAX_ATTEMPTS - 2))
    assert len(retried.kept) == 1
    caplog.clear()
    retried.handler.retry(message(attempt=MAX_ATTEMPTS - 1))
    assert len(retried.kept) == 1
    assert [RunnerRequest.parse(m).attempt for m in retried.given_up] == [MAX_ATTEMPTS]
    level, fields = line(caplog)
    assert (level, fields["result"], fields["reason"]) == ("CRITICAL", "given up", "Batch does not answer")


@pytest.mark.parametrize(
    "trouble", [UpstreamRefused("GitHub refused it: 401"), SettingsError([("GithubAppPrivateKey", "is not usable")])]
)
def test_permanent_trouble(retried: Retried, caplog: pytest.LogCaptureFixture, trouble: OrchestratorError) -> None:
    """What another try will not change is put aside at once."""
    retried.trouble = trouble
    retried.handler.retry(message())
    assert len(retried.given_up) == 1
    assert not retried.kept
    assert line(caplog)[1]["reason"] == str(trouble)
    assert retried.reasons == [str(trouble)]


def test_a_message_that_is_none_of_ours(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign message is put aside as it is, and blocks nobody."""
    retried.handler.retry(b"hello")
    assert retried.given_up == [b"hello"]
    assert line(caplog)[0] == "CRITICAL"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (message("self-hosted", "gone"), "no longer served: no profile offers"),
        (message(private=False), "no longer served: the repository is public"),
    ],
)
def test_a_job_that_is_no_longer_served(
    retried: Retried, caplog: pytest.LogCaptureFixture, given: bytes, reason: str
) -> None:
    """A job whose profile or permission went away meanwhile ends with a line in the log."""
    retried.handler.retry(given)
    assert line(caplog)[1]["reason"].startswith(reason)
    assert not retried.kept
    assert not retried.given_up


def test_an_empty_message(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """A message without a request asks for nothing, and nobody is told."""
    retried.handler.retry(EMPTY.encode())
    assert (retried.tried, retried.kept, retried.given_up, caplog.records) == ([], [], [], [])


def test_what_takes_too_long(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a try hangs in, it is over in time, and the request is kept."""
    caplog.set_level(logging.INFO)
    retried = Retried(deadline=0.05)
    retried.stuck = threading.Event()
    retried.handler.retry(message())
    retried.stuck.set()
    assert len(retried.kept) == 1
    assert line(caplog)[1]["reason"] == "not done within 0.05 s"


def test_several(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """The requests of a message are tried at the same time, each ends in its own way, and those to keep go together."""
    retried.meeting = threading.Barrier(4)
    retried.of_job = {
        2: TransientError("Batch does not answer", retry_after=7), 3: UpstreamRefused("no"), 4: KeyError("oops")
    }  # fmt: skip
    gone = message("self-hosted", "gone", job=5)
    retried.handler.retry(b"\n".join([*(message(job=job) for job in (1, 2, 3, 4)), gone]))
    assert sorted(retried.tried) == [1, 2, 3, 4]
    kept = [(request.event.workflow_job.id, request.attempt, wait) for request, wait in retried.kept]
    assert kept == [(2, 2, 7), (4, 2, None)]
    assert retried.calls == 1
    assert [RunnerRequest.parse(given).event.workflow_job.id for given in retried.given_up] == [3]
    results = sorted((fields["job"], fields["result"]) for _, fields in lines(caplog) if "result" in fields)
    assert results == [(1, "created"), (2, "kept"), (3, "given up"), (4, "kept"), (5, "ignored")]


def test_what_waits_for_a_thread_too_long() -> None:
    """A request that got no thread in time is kept, and is not tried when a thread becomes free after all."""
    with ThreadPoolExecutor(1) as threads:
        retried = Retried(deadline=0.05, threads=threads)
        retried.stuck = threading.Event()
        retried.handler.retry(b"\n".join(message(job=job) for job in (1, 2)))
        retried.stuck.set()
    assert [request.event.workflow_job.id for request, _ in retried.kept] == [1, 2]
    assert retried.tried == [1]


def test_a_time_out_of_the_work(retried: Retried, caplog: pytest.LogCaptureFixture) -> None:
    """A time-out that the work itself raises is not taken for the end of its time."""
    retried.trouble = TimeoutError("a socket's")
    retried.handler.retry(message())
    assert len(retried.kept) == 1
    assert "a socket's" in caplog.text


@pytest.mark.parametrize("trouble", [TransientError("Batch does not answer"), UpstreamRefused("no")])
@pytest.mark.parametrize("queue_trouble", [TransientError("the queue does not do its part: 503"), AttributeError("x")])
def test_the_queue_fails(retried: Retried, trouble: Exception, queue_trouble: Exception) -> None:
    """Whatever the queue raises, the host is told that another try may help, and shows the message again."""
    retried.trouble, retried.queue_trouble = trouble, queue_trouble
    with pytest.raises(TransientError, match="the queue does not do its part"):
        retried.handler.retry(message())
