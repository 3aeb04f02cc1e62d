"""One webhook delivery in, one answer out."""

import asyncio
import ipaddress
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from orchestrator.config.profiles import RunnerProfile
from orchestrator.delivery import receiver as module
from orchestrator.delivery.hook_ranges import HookRanges, PublishedRanges
from orchestrator.delivery.receiver import Answer, DeliveryReceiver, misconfigured
from orchestrator.errors import SettingsError, TransientError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.provisioning import Outcome
from tests.builders import delivery, queued_job, settings


class World:
    """What lies behind a receiver: it does as told, and counts."""

    def __init__(self, **changes: str) -> None:
        self.trouble: Exception | None = None
        self.result: Literal["created", "exists", "removed", "left", "gone"] = "created"
        self.queue_trouble: Exception | None = None
        self.provisioned: list[tuple[int, str]] = []
        self.kept: list[tuple[int, str, float | None]] = []
        self.meta_asked = 0
        self.meta_answered = threading.Event()
        self.hooks = "203.0.113.0/24"
        self.ranges = HookRanges(self.meta)
        self.receiver = DeliveryReceiver(settings(**changes), self.ranges, self.provision, self.keep)

    def provision(self, event: WorkflowJobEvent, profile: RunnerProfile) -> Outcome:
        """Start a runner."""
        if self.trouble:
            raise self.trouble
        self.provisioned.append((event.workflow_job.id, profile.name))
        return Outcome(self.result, "runner-1-1", profile.pool, profile.image, profile.name)

    def keep(self, event: WorkflowJobEvent, delivery_id: str, retry_after: float | None) -> float:
        """Keep a request."""
        if self.queue_trouble:
            raise self.queue_trouble
        self.kept.append((event.workflow_job.id, delivery_id, retry_after))
        return 11.6

    def meta(self, _etag: str | None) -> PublishedRanges:
        """Answer as GitHub's /meta."""
        self.meta_asked += 1
        self.meta_answered.set()
        return PublishedRanges((ipaddress.ip_network(self.hooks),), None)

    def receive(self, payload: object = None, **headers: Any) -> Answer:
        """Deliver a payload (a queued job without one)."""
        sent = delivery(queued_job() if payload is None else payload, **headers)
        return asyncio.run(self.receiver.receive(*sent))

    @property
    def untouched(self) -> bool:
        """Whether nothing upstream was asked for anything."""
        return not self.provisioned and not self.kept and not self.meta_asked


@pytest.fixture
def world() -> World:
    """Return a world where all goes well."""
    return World(AllowedSources="140.82.112.0/20")


def test_created(world: World) -> None:
    """A queued job is answered with 201, and what was started for it."""
    assert world.receive() == Answer(
        201,
        {
            "result": "created",
            "task": "runner-1-1",
            "pool": "batchLinux",
            "image": "registry.azurecr.io/githubactions-runner:ubuntu-24.04-actionsrunner",
            "profile": "ubuntu-latest",
        },
    )
    assert world.provisioned == [(29679449526, "ubuntu-latest")]


def test_exists(world: World) -> None:
    """A job that has its task is answered with 200."""
    world.result = "exists"
    answer = world.receive()
    assert (answer.status, answer.body["result"]) == (200, "exists")


def test_an_old_delivery(world: World) -> None:
    """A job that waits no longer is ignored, and the answer says why."""
    world.result = "gone"
    answer = world.receive()
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert "waits no longer" in str(answer.body["reason"])


def test_a_form_is_as_good_as_json(world: World) -> None:
    """A hook that sends forms works too."""
    from urllib.parse import urlencode  # noqa: PLC0415 - only here

    body = urlencode({"payload": json.dumps(queued_job())}).encode()
    assert world.receive(body, content_type="application/x-www-form-urlencoded").status == 201


def test_previous_secret() -> None:
    """While the secret is being replaced, deliveries signed with the previous one are genuine."""
    world = World(GithubWebhookSecretPrevious="old", AllowedSources="140.82.112.0/20")
    assert world.receive(secret="old").status == 201
    assert world.receive().status == 201


@pytest.mark.parametrize("action", ["in_progress", "waiting", "", "something-new"])
def test_other_actions(world: World, action: str) -> None:
    """Other actions than queued and completed are not even looked at further."""
    answer = world.receive({"action": action, "workflow_job": {}})
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert world.untouched


def test_completed(world: World) -> None:
    """A job that ended with a runner is ignored; one that ended without is served like a queued one."""
    job = queued_job()["workflow_job"]
    answer = world.receive(queued_job(action="completed", workflow_job=job | {"runner_id": 7}))
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert world.untouched
    world.result = "removed"
    answer = world.receive(queued_job(action="completed", workflow_job=job | {"conclusion": "cancelled"}))
    assert (answer.status, answer.body["result"]) == (200, "removed")


def test_other_events(world: World) -> None:
    """Another event is answered with 200 that names it."""
    answer = world.receive({}, event="push")
    assert answer.status == 200
    assert "push" in str(answer.body["reason"])


@pytest.mark.parametrize(
    ("events", "advice"), [(["workflow_job"], "all is set"), (["*"], "all is set"), (["push"], "Workflow jobs")]
)
def test_ping(world: World, events: list[str], advice: str) -> None:
    """A ping is answered with pong, and with what to change if the hook sends the wrong events."""
    answer = world.receive({"zen": "...", "hook": {"events": events}}, event="ping")
    assert (answer.status, answer.body["result"]) == (200, "pong")
    assert advice in str(answer.body["advice"])


@pytest.mark.parametrize(
    ("payload", "headers", "status"),
    [
        (b"x" * (1024 * 1024 + 1), {}, 413),
        (b"x" * (2 * 1024 * 1024), {"x_forwarded_for": "8.8.8.8", "x_hub_signature_256": None}, 413),
        (None, {"x_forwarded_for": "8.8.8.8:1"}, 403),
        (None, {"x_forwarded_for": "140.82.115.10, 8.8.8.8:1"}, 403),
        (None, {"x_forwarded_for": None}, 403),
        (None, {"x_forwarded_for": "nonsense", "x_hub_signature_256": None}, 403),
        (None, {"event": ""}, 400),
        (None, {"x_github_delivery": None}, 400),
        (None, {"content_type": "text/plain"}, 415),
        (None, {"x_hub_signature_256": None}, 401),
        (None, {"x_hub_signature_256": "sha256=ä"}, 401),
        (None, {"secret": "forged"}, 401),
        (b"{", {"secret": "forged"}, 401),
        (b"{", {}, 400),
        (b"", {}, 400),
        ({"action": "queued"}, {}, 400),
        (queued_job(repository={"name": "a", "full_name": "acme/a", "owner": {"login": "acme"}}), {}, 403),
    ],
)
def test_refused(world: World, payload: object, headers: dict[str, Any], status: int) -> None:
    """What is too large, from elsewhere, malformed, forged or public is refused, and nobody else is asked anything."""
    answer = world.receive(payload, **headers)
    assert (answer.status, answer.body["result"]) == (status, "refused")
    assert world.untouched


def test_the_checks_have_an_order(world: World) -> None:
    """Where everything is wrong, the cheapest check answers."""
    wrong: dict[str, Any] = {"x_forwarded_for": "8.8.8.8", "event": "", "x_hub_signature_256": "forged"}
    assert world.receive(b"x" * 2_000_000, **wrong).status == 413
    assert world.receive(b"x", **wrong).status == 403
    assert world.receive(b"x", **{**wrong, "x_forwarded_for": "140.82.115.10"}).status == 400
    assert world.receive(b"x", **{**wrong, "x_forwarded_for": "140.82.115.10", "event": "push"}).status == 401


def test_trusted_proxies() -> None:
    """Behind a proxy of one's own, the entry that the proxy wrote counts."""
    world = World(AllowedSources="140.82.112.0/20", TrustedProxyCount="1")
    assert world.receive(x_forwarded_for="6.6.6.6, 140.82.115.10:1, 10.0.0.4:2").status == 201
    assert world.receive(x_forwarded_for="140.82.115.10, 6.6.6.6:1, 10.0.0.4:2").status == 403
    assert world.receive(x_forwarded_for="140.82.115.10:1").status == 403


def test_anywhere() -> None:
    """With 0.0.0.0/0 the address is not looked at, not even whether there is one."""
    world = World(AllowedSources="0.0.0.0/0")
    assert world.receive(x_forwarded_for=None).status == 201


def test_github_is_asked_for_its_ranges_aside() -> None:
    """A runner is started from an address of the shipped list, while GitHub is asked for the current one aside."""
    world = World()
    assert world.receive().status == 201
    assert world.meta_answered.wait(5)


def test_a_new_range_of_githubs() -> None:
    """A genuine delivery from outside a stale list makes us read the list again before it is refused."""
    world = World()
    assert world.receive(x_forwarded_for="203.0.113.9:1").status == 201
    assert world.meta_asked == 1
    assert world.receive(x_forwarded_for="8.8.8.8:1").status == 403
    assert world.meta_asked == 1


def test_a_genuine_delivery_from_nowhere_known() -> None:
    """A genuine delivery from an address that GitHub does not publish either stays refused."""
    world = World()
    assert world.receive(x_forwarded_for="8.8.8.8:1").status == 403
    assert not world.provisioned


def test_a_forger_does_not_make_us_ask() -> None:
    """Without the secret nobody can make the service call GitHub."""
    world = World()
    for signature in ("sha256=00", None, "ä"):
        assert world.receive(x_forwarded_for="203.0.113.9:1", x_hub_signature_256=signature).status == 403
    assert world.untouched


def test_transient_trouble_is_kept(world: World) -> None:
    """What GitHub or Batch cannot do now is kept, with the wait that they asked for, and answered with 202."""
    world.trouble = TransientError("Batch cannot add a task now: 503 ServerBusy", retry_after=7)
    answer = world.receive(x_github_delivery="d-1")
    assert answer == Answer(
        202, {"result": "kept", "reason": "Batch cannot add a task now: 503 ServerBusy", "next_try_in_s": 12}
    )
    assert world.kept == [(29679449526, "d-1", 7)]


def test_a_mistake_of_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged, and the job is kept all the same."""
    world.trouble = KeyError("oops")
    answer = world.receive()
    assert (answer.status, answer.body["result"]) == (202, "kept")
    assert "KeyError" in caplog.text
    assert len(world.kept) == 1


def test_what_cannot_be_kept_either(world: World) -> None:
    """If even the queue refuses, the answer is 503, so that GitHub shows the delivery as failed."""
    world.trouble = TransientError("GitHub is not reachable")
    world.queue_trouble = TransientError("the queue takes no message: 503")
    answer = world.receive()
    assert answer.status == 503
    assert "GitHub is not reachable" in str(answer.body["reason"])
    assert "takes no message" in str(answer.body["reason"])


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Return an event that ends what is stuck when the test is over."""
    released = threading.Event()
    yield released
    released.set()


def test_deadline(world: World, monkeypatch: pytest.MonkeyPatch, stuck: threading.Event) -> None:
    """Whatever provisioning is stuck in, GitHub gets its answer in time and the job is kept."""
    monkeypatch.setattr(module, "DEADLINE", 0.05)
    monkeypatch.setattr(world.receiver, "_serve", lambda *_: stuck.wait(10))
    answer = world.receive()
    assert (answer.status, answer.body["reason"]) == (202, "not done within 0.05 s")
    assert len(world.kept) == 1


@pytest.mark.parametrize(
    ("trouble", "body"),
    [
        (UpstreamRefused("GitHub refused it: 401"), {"result": "failed", "reason": "GitHub refused it: 401"}),
        (
            SettingsError([("GithubAppPrivateKey", "is not usable")]),
            {"result": "misconfigured", "settings": [{"setting": "GithubAppPrivateKey", "problem": "is not usable"}]},
        ),
    ],
)
def test_permanent_trouble(world: World, trouble: Exception, body: dict[str, Any]) -> None:
    """What somebody has to change is answered with 500 that says what, and is not kept."""
    world.trouble = trouble
    assert world.receive() == Answer(500, body)
    assert not world.kept


def test_misconfigured() -> None:
    """The answer while settings are wrong names each of them."""
    answer = misconfigured(SettingsError([("A", "is missing"), ("B", "is wrong")]))
    assert answer.status == 500
    assert json.loads(answer.text)["settings"] == [
        {"setting": "A", "problem": "is missing"},
        {"setting": "B", "problem": "is wrong"},
    ]


def test_one_line_for_each_delivery(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each delivery leaves one structured line: its id, the answer, the time; at a level that fits the answer."""
    caplog.set_level(logging.INFO)
    world.receive(x_github_delivery="d-1")
    world.receive(x_github_delivery="d-2\nforged", secret="forged")
    world.trouble = UpstreamRefused("no")
    world.receive(x_github_delivery="d-3")
    lines = [(record.levelname, json.loads(record.getMessage())) for record in caplog.records]
    assert [(level, line["delivery"], line["status"]) for level, line in lines] == [
        ("INFO", "d-1", 201),
        ("WARNING", "d-2\nforged", 400),
        ("ERROR", "d-3", 500),
    ]
    assert lines[0][1]["task"] == "runner-1-1"
    assert lines[0][1]["ms"] >= 0
    assert ["job" in line for _, line in lines] == [True, False, True]
    assert lines[2][1]["repository"] == "acme/app"
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "secret" not in caplog.text
