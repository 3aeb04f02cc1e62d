"""What could not be served at once, tried again."""

import json
import logging
from typing import Any

import pytest

from orchestrator.config.profiles import RunnerProfile
from orchestrator.delivery.retry import SlowLane
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import OrchestratorError, SettingsError, TransientError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import MAX_ATTEMPTS, RunnerRequest
from orchestrator.runners.provisioning import Outcome
from tests.builders import queued_job, settings


class World:
    """What lies around the slow lane: it does as told, and remembers."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.created = True
        self.kept: list[tuple[RunnerRequest, float | None]] = []
        self.given_up: list[bytes] = []
        self.reasons: list[str] = []
        self.lane = SlowLane(settings(), self.provision, self.keep, self.give_up)

    def provision(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        """Start a runner."""
        if self.trouble:
            raise self.trouble
        name = f"runner-{event.workflow_job.id}-1"
        return Outcome("created" if self.created else "exists", name, profile.pool, profile.image, profile.name)

    def give_up(self, message: bytes, reason: str) -> None:
        """Put a message aside."""
        self.given_up.append(message)
        self.reasons.append(reason)

    def keep(self, request: RunnerRequest, retry_after: float | None) -> float:
        """Keep a request."""
        self.kept.append((request, retry_after))
        return 20.4


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    """Return a world where all goes well."""
    caplog.set_level(logging.INFO)
    return World()


def message(*labels: str, private: bool = True, attempt: int = 1) -> bytes:
    """Return a message of the queue."""
    repository = {"name": "app", "full_name": "acme/app", "owner": {"login": "acme"}, "private": private}
    event = workflow_job_event(json.dumps(queued_job(*labels, repository=repository)).encode())
    return RunnerRequest(delivery="d-1", event=event, attempt=attempt).model_dump_json().encode()


def line(caplog: pytest.LogCaptureFixture) -> tuple[str, dict[str, Any]]:
    """Return the one line in the log: its level and its fields."""
    (record,) = caplog.records
    return record.levelname, json.loads(record.getMessage())


@pytest.mark.parametrize(("created", "result"), [(True, "created"), (False, "exists")])
def test_done(world: World, caplog: pytest.LogCaptureFixture, created: bool, result: str) -> None:
    """A job that now gets its runner, or has one, is done with one line in the log."""
    world.created = created
    world.lane.take(message())
    assert line(caplog) == (
        "INFO",
        {
            "result": result, "task": "runner-29679449526-1", "pool": "batchLinux", "delivery": "d-1",
            "job": 29679449526, "repository": "acme/app", "attempt": 2,
        },
    )  # fmt: skip
    assert not world.kept
    assert not world.given_up


def test_transient_trouble(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What still fails is put back as one attempt more, with the wait that the service asked for."""
    world.trouble = TransientError("GitHub's rate limit is used up", retry_after=90)
    world.lane.take(message(attempt=3))
    ((request, wait),) = world.kept
    assert (request.attempt, request.delivery, wait) == (4, "d-1", 90)
    level, fields = line(caplog)
    assert (level, fields["result"], fields["next_try_in_s"]) == ("WARNING", "kept", 20)


def test_a_mistake_of_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged, and the request is kept."""
    world.trouble = KeyError("oops")
    world.lane.take(message())
    assert len(world.kept) == 1
    assert "KeyError" in caplog.text


def test_the_last_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After the last attempt the request is put aside, readable, with one alert."""
    world.trouble = TransientError("Batch does not answer")
    world.lane.take(message(attempt=MAX_ATTEMPTS - 2))
    assert len(world.kept) == 1
    caplog.clear()
    world.lane.take(message(attempt=MAX_ATTEMPTS - 1))
    assert len(world.kept) == 1
    assert [RunnerRequest.parse(m).attempt for m in world.given_up] == [MAX_ATTEMPTS]
    level, fields = line(caplog)
    assert (level, fields["result"], fields["reason"]) == ("CRITICAL", "given up", "Batch does not answer")


@pytest.mark.parametrize(
    "trouble", [UpstreamRefused("GitHub refused it: 401"), SettingsError([("GithubAppPrivateKey", "is not usable")])]
)
def test_permanent_trouble(world: World, caplog: pytest.LogCaptureFixture, trouble: OrchestratorError) -> None:
    """What another try will not change is put aside at once."""
    world.trouble = trouble
    world.lane.take(message())
    assert len(world.given_up) == 1
    assert not world.kept
    assert line(caplog)[1]["reason"] == str(trouble)
    assert world.reasons == [str(trouble)]


def test_a_message_that_is_none_of_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign message is put aside as it is, and blocks nobody."""
    world.lane.take(b"hello")
    assert world.given_up == [b"hello"]
    assert line(caplog)[0] == "CRITICAL"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (message("self-hosted", "gone"), "no longer served: no profile offers"),
        (message(private=False), "no longer served: the repository is public"),
    ],
)
def test_a_job_that_is_no_longer_served(
    world: World, caplog: pytest.LogCaptureFixture, given: bytes, reason: str
) -> None:
    """A job whose profile or permission went away meanwhile ends with a line in the log."""
    world.lane.take(given)
    assert line(caplog)[1]["reason"].startswith(reason)
    assert not world.kept
    assert not world.given_up
