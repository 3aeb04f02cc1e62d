"""One webhook delivery in, one answer out."""

import asyncio
import functools
import ipaddress
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.delivery.answer import Answer, misconfigured
from orchestrator.delivery.hook_ranges import HookRanges, PublishedRanges
from orchestrator.delivery.receiver import START_DEADLINE, DeliveryReceiver
from orchestrator.delivery.source_check import REFRESH_DEADLINE, SourceCheck
from orchestrator.errors import SettingsError, TransientError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import Retry
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import UPSTREAM_THREADS, Runtime
from tests.builders import delivery, queued_job, settings
from tests.logs import lines


class Received:
    """A receiver, and what lies behind it: it does as told, and counts."""

    def __init__(
        self, *, start_deadline: float = START_DEADLINE, refresh_deadline: float = REFRESH_DEADLINE, **changes: str
    ) -> None:
        self.trouble: Exception | None = None
        self.outcome: Callable[[str, Profile], Outcome] = functools.partial(Outcome, Result.CREATED)
        self.queue_trouble: Exception | None = None
        self.provisioned: list[tuple[int, str]] = []
        self.kept: list[tuple[int, str, float | None]] = []
        self.meta_asked = 0
        self.meta_answered = threading.Event()
        self.meta_stuck: threading.Event | None = None
        self.meta_trouble: Exception | None = None
        self.hooks = "203.0.113.0/24"
        self.ranges = HookRanges(self.meta)
        self.stuck: threading.Event | None = None
        configured, runtime = settings(**changes), Runtime()
        self.receiver = DeliveryReceiver(
            configured,
            SourceCheck(configured, self.ranges, runtime.hook_range_threads, deadline=refresh_deadline),
            self.handle, self.retry_later,
            upstream_threads=runtime.upstream_threads, queue_threads=runtime.queue_threads,
            start_deadline=start_deadline,
        )  # fmt: skip

    def handle(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        """Start a runner."""
        if self.stuck:
            self.stuck.wait(60)
        if self.trouble:
            raise self.trouble
        self.provisioned.append((event.workflow_job.id, profile.name))
        return self.outcome("runner-1-1", profile)

    def retry_later(self, retries: Sequence[Retry]) -> list[float]:
        """Keep requests."""
        if self.queue_trouble:
            raise self.queue_trouble
        for request, retry_after in retries:
            self.kept.append((request.event.workflow_job.id, request.delivery, retry_after))
        return [11.6] * len(retries)

    def meta(self, _etag: str | None) -> PublishedRanges:
        """Answer as GitHub's /meta."""
        self.meta_asked += 1
        if self.meta_stuck:
            self.meta_stuck.wait(60)
        if self.meta_trouble:
            raise self.meta_trouble
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
def received() -> Received:
    """Return a received where all goes well."""
    return Received(AllowedSources="140.82.112.0/20")


def test_created(received: Received) -> None:
    """A queued job is answered with 201, and what was started for it."""
    assert received.receive() == Answer(
        201,
        {
            "result": "created",
            "task": "runner-1-1",
            "pool": "batchLinux",
            "image": "registry.azurecr.io/githubactions-runner:ubuntu-24.04-actionsrunner",
            "profile": "ubuntu-latest",
        },
    )
    assert received.provisioned == [(29679449526, "ubuntu-latest")]


def test_exists(received: Received) -> None:
    """A job that has its task is answered with 200."""
    received.outcome = functools.partial(Outcome, Result.EXISTS)
    answer = received.receive()
    assert (answer.status, answer.body["result"]) == (200, "exists")


def test_an_old_delivery(received: Received) -> None:
    """A job that waits no longer is ignored, and the answer says why."""
    received.outcome = functools.partial(Outcome, Result.GONE)
    answer = received.receive()
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert "waits no longer" in str(answer.body["reason"])


@pytest.mark.parametrize(("result", "status"), [(Result.REFUSED, 403), (Result.WAITS, 202), (Result.EXISTS, 200)])
def test_a_reason(received: Received, result: Any, status: int) -> None:
    """A job that may have no runner, or has to wait, is answered with the reason; so is whatever else has one."""
    received.outcome = lambda task_id, profile: Outcome(result, task_id, profile, "because")
    answer = received.receive()
    assert (answer.status, answer.body["result"], answer.body["reason"]) == (status, result, "because")


def test_a_form_is_as_good_as_json(received: Received) -> None:
    """A hook that sends forms works too."""
    from urllib.parse import urlencode  # noqa: PLC0415 - only here

    body = urlencode({"payload": json.dumps(queued_job())}).encode()
    assert received.receive(body, content_type="application/x-www-form-urlencoded").status == 201


def test_previous_secret() -> None:
    """While the secret is being replaced, deliveries signed with the previous one are genuine."""
    received = Received(GithubWebhookSecretPrevious="old", AllowedSources="140.82.112.0/20")
    assert received.receive(secret="old").status == 201
    assert received.receive().status == 201


@pytest.mark.parametrize("action", ["in_progress", "waiting", "", "something-new"])
def test_other_actions(received: Received, action: str) -> None:
    """Other actions than queued and completed are not even looked at further."""
    answer = received.receive({"action": action, "workflow_job": {}})
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert received.untouched


def test_completed(received: Received) -> None:
    """A job that ended with a runner is ignored; one that ended without is served like a queued one."""
    job = queued_job()["workflow_job"]
    answer = received.receive(queued_job(action="completed", workflow_job=job | {"runner_id": 7}))
    assert (answer.status, answer.body["result"]) == (200, "ignored")
    assert received.untouched
    received.outcome = functools.partial(Outcome, Result.REMOVED)
    answer = received.receive(queued_job(action="completed", workflow_job=job | {"conclusion": "cancelled"}))
    assert (answer.status, answer.body["result"]) == (200, "removed")


def test_other_events(received: Received) -> None:
    """Another event is answered with 200 that names it."""
    answer = received.receive({}, event="push")
    assert answer.status == 200
    assert "push" in str(answer.body["reason"])


@pytest.mark.parametrize(
    ("events", "advice"),
    [(["workflow_job"], "orchestrator check"), (["*"], "orchestrator check"), (["push"], "Workflow jobs")],
)
def test_ping(received: Received, events: list[str], advice: str) -> None:
    """A ping is answered with pong, and with what to change if the hook sends the wrong events."""
    answer = received.receive({"zen": "...", "hook": {"events": events}}, event="ping")
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
def test_refused(received: Received, payload: object, headers: dict[str, Any], status: int) -> None:
    """What is too large, from elsewhere, malformed, forged or public is refused, and nobody else is asked anything."""
    answer = received.receive(payload, **headers)
    assert (answer.status, answer.body["result"]) == (status, "refused")
    assert received.untouched


def test_the_checks_have_an_order(received: Received) -> None:
    """Where everything is wrong, the cheapest check answers."""
    wrong: dict[str, Any] = {"x_forwarded_for": "8.8.8.8", "event": "", "x_hub_signature_256": "forged"}
    assert received.receive(b"x" * 2_000_000, **wrong).status == 413
    assert received.receive(b"x", **wrong).status == 403
    assert received.receive(b"x", **{**wrong, "x_forwarded_for": "140.82.115.10"}).status == 400
    assert received.receive(b"x", **{**wrong, "x_forwarded_for": "140.82.115.10", "event": "push"}).status == 401


def test_trusted_proxies() -> None:
    """Behind a proxy of one's own its word counts, and nobody who calls past it can forge an address."""
    received = Received(AllowedSources="140.82.112.0/20", TrustedProxies="10.0.0.0/24")
    assert received.receive(x_forwarded_for="6.6.6.6, 140.82.115.10:1, 10.0.0.4:2").status == 201
    assert received.receive(x_forwarded_for="140.82.115.10, 6.6.6.6:1, 10.0.0.4:2").status == 403
    assert received.receive(x_forwarded_for="140.82.115.10:1, 6.6.6.6:2").status == 403
    assert received.receive(x_forwarded_for="10.0.0.4:2").status == 403


def test_anywhere() -> None:
    """With 0.0.0.0/0 the address is not looked at, not even whether there is one."""
    received = Received(AllowedSources="0.0.0.0/0")
    assert received.receive(x_forwarded_for=None).status == 201


def test_github_is_asked_for_its_ranges_aside() -> None:
    """A runner is started from an address of the shipped list, while GitHub is asked for the current one aside."""
    received = Received()
    assert received.receive().status == 201
    assert received.meta_answered.wait(5)


def test_a_new_range_of_githubs() -> None:
    """A genuine delivery from outside a stale list makes us read the list again before it is refused."""
    received = Received()
    assert received.receive(x_forwarded_for="203.0.113.9:1").status == 201
    assert received.meta_asked == 1
    assert received.receive(x_forwarded_for="8.8.8.8:1").status == 403
    assert received.meta_asked == 1


def test_meta_hangs(stuck: threading.Event) -> None:
    """While GitHub's /meta hangs it is asked once, and only a delivery from an unknown address waits, for a while."""
    received = Received(refresh_deadline=0.05)
    received.meta_stuck = stuck
    assert [received.receive().status for _ in range(40)] == [201] * 40
    answer = received.receive(x_forwarded_for="203.0.113.9:1")
    assert (answer.status, answer.body["result"]) == (503, "failed")
    assert answer.body["reason"] == (
        "the caller's address is in none of GitHub's known ranges, and the current ones could not be read: "
        "there is no answer yet"
    )
    assert received.receive(x_forwarded_for="203.0.113.9:1", secret="forged").status == 403
    assert received.meta_asked == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (TransientError("GitHub answered 503 to GET /meta"), "GitHub answered 503 to GET /meta"),
        (KeyError("oops"), "an unexpected error: see the log"),
    ],
)
def test_meta_fails(trouble: Exception, reason: str) -> None:
    """A delivery that may be GitHub's is not refused for a list that could not be read: that is tried once a minute."""
    received = Received()
    received.meta_trouble = trouble
    for _ in range(2):
        answer = received.receive(x_forwarded_for="203.0.113.9:1")
        assert (answer.status, answer.body["result"]) == (503, "failed")
        assert str(answer.body["reason"]).endswith(f"could not be read: {reason}")
    assert received.meta_asked == 1
    assert received.receive(x_forwarded_for="203.0.113.9:1", secret="forged").status == 403
    assert received.receive().status == 201


def test_a_genuine_delivery_from_nowhere_known() -> None:
    """A genuine delivery from an address that GitHub does not publish either stays refused."""
    received = Received()
    assert received.receive(x_forwarded_for="8.8.8.8:1").status == 403
    assert not received.provisioned


def test_a_forger_does_not_make_us_ask() -> None:
    """Without the secret nobody can make the service call GitHub."""
    received = Received()
    for signature in ("sha256=00", None, "ä"):
        assert received.receive(x_forwarded_for="203.0.113.9:1", x_hub_signature_256=signature).status == 403
    assert received.untouched


def test_transient_trouble_is_kept(received: Received) -> None:
    """What GitHub or Batch cannot do now is kept, with the wait that they asked for, and answered with 202."""
    received.trouble = TransientError("Batch cannot add a task now: 503 ServerBusy", retry_after=7)
    answer = received.receive(x_github_delivery="d-1")
    assert answer == Answer(
        202, {"result": "kept", "reason": "Batch cannot add a task now: 503 ServerBusy", "next_try_in_s": 12}
    )
    assert received.kept == [(29679449526, "d-1", 7)]


def test_a_mistake_of_ours(received: Received, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged, and the job is kept all the same."""
    received.trouble = KeyError("oops")
    answer = received.receive()
    assert (answer.status, answer.body["result"]) == (202, "kept")
    assert "KeyError" in caplog.text
    assert len(received.kept) == 1


def test_what_cannot_be_kept_either(received: Received) -> None:
    """If even the queue refuses, the answer is 503, so that GitHub shows the delivery as failed."""
    received.trouble = TransientError("GitHub is not reachable")
    received.queue_trouble = TransientError("the queue takes no message: 503")
    answer = received.receive()
    assert answer.status == 503
    assert "GitHub is not reachable" in str(answer.body["reason"])
    assert "takes no message" in str(answer.body["reason"])


@pytest.mark.parametrize("trouble", [AttributeError("'NoneType'"), IndexError(0), UpstreamRefused("no")])
def test_a_queue_that_fails_oddly(received: Received, caplog: pytest.LogCaptureFixture, trouble: Exception) -> None:
    """Whatever the queue raises, GitHub is answered with 503, and the delivery leaves its line in the log."""
    caplog.set_level(logging.INFO)
    received.trouble = TransientError("GitHub is not reachable")
    received.queue_trouble = trouble
    answer = received.receive()
    assert answer.status == 503
    assert "it could not be kept" in str(answer.body["reason"])
    assert lines(caplog)[-1][1]["status"] == 503


def test_a_queue_that_is_misconfigured(received: Received) -> None:
    """A queue that app settings keep from working is answered with the setting's name."""
    received.trouble = TransientError("GitHub is not reachable")
    received.queue_trouble = SettingsError.of("AzureWebJobsStorage", "is not a storage connection string")
    assert received.receive().body["result"] == "misconfigured"


def test_nothing_escapes(received: Received, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw, wherever it comes from, is answered and leaves the delivery's line in the log."""

    def mistaken(*_arguments: object) -> None:
        raise RecursionError

    monkeypatch.setattr("orchestrator.delivery.receiver.admit", mistaken)
    answer = received.receive()
    assert answer == Answer(500, {"result": "failed", "reason": "an unexpected error: see the log"})
    assert "RecursionError" in caplog.text
    assert lines(caplog)[-1][1]["status"] == 500


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Return an event that ends what is stuck when the test is over."""
    released = threading.Event()
    yield released
    released.set()


def test_deadline(stuck: threading.Event) -> None:
    """Whatever starting a runner is stuck in, GitHub gets its answer in time and the job is kept."""
    received = Received(start_deadline=0.05, AllowedSources="140.82.112.0/20")
    received.stuck = stuck
    answer = received.receive()
    assert answer.status == 202
    assert str(answer.body["reason"]).startswith("not done within ")
    assert len(received.kept) == 1


def test_too_many_at_once(stuck: threading.Event) -> None:
    """A delivery that would not get its turn in time is kept at once, though every thread hangs, and so in time."""
    received = Received(AllowedSources="140.82.112.0/20")
    received.stuck = stuck
    received.receiver._workers._usual = 2 * START_DEADLINE  # as after many slow answers

    async def burst() -> list[Answer]:
        job = queued_job()["workflow_job"]
        sent = [delivery(queued_job(workflow_job=job | {"id": number})) for number in range(1, UPSTREAM_THREADS + 4)]
        begun = [asyncio.create_task(received.receiver.receive(*each)) for each in sent]
        kept = await asyncio.gather(*begun[UPSTREAM_THREADS:])
        stuck.set()
        assert {answer.status for answer in await asyncio.gather(*begun[:UPSTREAM_THREADS])} == {201}
        return kept

    answers = asyncio.run(burst())
    assert [(answer.status, answer.body["reason"]) for answer in answers] == [
        (202, "too many jobs are queued at once")
    ] * 3
    assert sorted(job for job, _, _ in received.kept) == [UPSTREAM_THREADS + number for number in (1, 2, 3)]


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
def test_permanent_trouble(received: Received, trouble: Exception, body: dict[str, Any]) -> None:
    """What somebody has to change is answered with 500 that says what, and is not kept."""
    received.trouble = trouble
    assert received.receive() == Answer(500, body)
    assert not received.kept


def test_misconfigured() -> None:
    """The answer while settings are wrong names each of them."""
    answer = misconfigured(SettingsError([("A", "is missing"), ("B", "is wrong")]))
    assert answer.status == 500
    assert json.loads(answer.text)["settings"] == [
        {"setting": "A", "problem": "is missing"},
        {"setting": "B", "problem": "is wrong"},
    ]


def test_one_line_for_each_delivery(received: Received, caplog: pytest.LogCaptureFixture) -> None:
    """Each delivery leaves one structured line: its id, the answer, the time; at a level that fits the answer."""
    caplog.set_level(logging.INFO)
    received.receive(x_github_delivery="d-1")
    received.receive(x_github_delivery="d-2\nforged", secret="forged")
    received.trouble = UpstreamRefused("no")
    received.receive(x_github_delivery="d-3")
    found = lines(caplog)
    assert [(level, line["delivery"], line["status"]) for level, line in found] == [
        ("INFO", "d-1", 201),
        ("WARNING", "d-2\nforged", 400),
        ("ERROR", "d-3", 500),
    ]
    assert found[0][1]["task"] == "runner-1-1"
    assert found[0][1]["ms"] >= 0
    assert ["job" in line for _, line in found] == [True, False, True]
    assert found[2][1]["repository"] == "acme/app"
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "secret" not in caplog.text


def test_a_deliverys_id_goes_with_its_job(received: Received) -> None:
    """GitHub's id of a delivery goes with the job to where its runner is started, and so into the task's notes."""
    found: list[str | None] = []

    def handle(event: WorkflowJobEvent, profile: Profile) -> Outcome:
        found.append(event.delivery)
        return received.handle(event, profile)

    received.receiver._handle = handle
    assert received.receive(queued_job(), x_github_delivery="d-1").status == 201
    assert found == ["d-1"]
