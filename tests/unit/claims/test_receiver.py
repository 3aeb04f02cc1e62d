"""The answer to each claim, and its line in the log."""

import asyncio
import json
from datetime import datetime, timedelta

import pytest

from orchestrator.claims import receiver as module
from orchestrator.claims.door import Admission
from orchestrator.claims.pace import MOST_IN_A_PERIOD
from orchestrator.claims.receiver import MOST_BYTES, Admit, ClaimReceiver
from orchestrator.delivery.answer import Answer
from orchestrator.errors import SettingsError
from orchestrator.runners.claim import Claim
from orchestrator.runners.claim_refusal import ClaimCode, refusal
from orchestrator.runtime import Runtime
from tests.builders import settings
from tests.fakes import Immediately, ManualClock
from tests.logs import line
from tests.unit.claims.builders import CLAIM, KEY, NOW, TASK, TEXT

NONCE = "0a" * 32
ADDRESS = "10.1.2.3:50000"
CLAIMING = {
    "RunnerRegistration": "claim",
    "ClaimKey": KEY,
    "ClaimUrl": "https://f.example/api/ClaimRunner",
    "ClaimSources": "10.1.0.0/16",
    "TrustedProxies": "10.9.0.4",
}
BODY = json.dumps({"claim": TEXT, "nonce": NONCE}).encode()


class Admits:
    """A door that does as told, and remembers who asked.

    Attributes:
        asked: the claims, their texts and the nonces.
        error: is raised.
        remark: is to be logged.
    """

    def __init__(self, error: Exception | None = None, remark: str | None = None) -> None:
        self.asked: list[tuple[Claim, str, str]] = []
        self.error = error
        self.remark = remark

    def __call__(self, claim: Claim, text: str, nonce: str) -> Admission:
        """Admit."""
        self.asked.append((claim, text, nonce))
        if self.error:
            raise self.error
        return Admission({"GHR_JITCONFIG": "s3cret"}, "runner-x", self.remark)


def receive(
    admit: Admit,
    body: bytes = BODY,
    changes: dict[str, str] | None = None,
    *,
    address: str = ADDRESS,
    now: datetime = NOW,
    times: int = 1,
) -> Answer:
    """Send the same claim so many times; return the last answer."""
    receiver = ClaimReceiver(
        settings(**CLAIMING | (changes or {})), admit, threads=Immediately(), clock=ManualClock(now)
    )  # fmt: skip

    async def send() -> Answer:
        return [await receiver.receive({"x-forwarded-for": address}, body) for _ in range(times)][-1]

    return asyncio.run(send())


def test_admitted(caplog: pytest.LogCaptureFixture) -> None:
    """A claim that is right goes through the door; the answer holds the environment, and the log no secret."""
    caplog.set_level("INFO")
    door = Admits()
    answer = receive(door)
    assert (answer.status, answer.body) == (200, {"environment": {"GHR_JITCONFIG": "s3cret"}})
    assert (answer.headers, answer.media_type) == ({}, "application/json")
    assert door.asked == [(CLAIM, TEXT, NONCE)]
    level, said = line(caplog)
    assert level == "INFO"
    assert said.pop("ms") >= 0
    assert said == {
        "forwarded_for": ADDRESS, "task": TASK, "pool": "linux", "scope": "organization acme", "status": 200,
        "result": "created", "runner": "runner-x",
    }  # fmt: skip
    assert not any(secret in caplog.text for secret in ("s3cret", TEXT, NONCE, KEY))


def test_a_remark(caplog: pytest.LogCaptureFixture) -> None:
    """What else is to be said of an admission stands in its line."""
    caplog.set_level("INFO")
    receive(Admits(remark="its runner could not be noted"))
    assert line(caplog)[1]["reason"] == "its runner could not be noted"


FORGED = json.dumps({"claim": TEXT[:-8] + "AAAAAAAA", "nonce": NONCE}).encode()
REFUSALS = {
    "off, without a key": (
        {"RunnerRegistration": "token", "ClaimKey": "", "ClaimSources": "10.1.0.0/16"}, BODY, ADDRESS, 403, "off",
    ),
    "off, without sources": ({"RunnerRegistration": "token", "ClaimSources": ""}, BODY, ADDRESS, 403, "off"),
    "too large, from anywhere": ({}, b"x" * (MOST_BYTES + 1), "8.8.8.8:1", 413, "too-large"),
    "from elsewhere, whatever it is": ({}, b"garbage", "8.8.8.8:1", 403, "source"),
    "says that it is ours": ({}, BODY, "10.1.2.3, 8.8.8.8:1", 403, "source"),
    "from the proxy alone": ({}, BODY, "10.9.0.4:1", 403, "source"),
    "from nowhere": ({}, BODY, "", 403, "source"),
    "no JSON": ({}, b"garbage", ADDRESS, 400, "malformed"),
    "no object": ({}, b"[]", ADDRESS, 400, "malformed"),
    "no nonce": ({}, json.dumps({"claim": TEXT}).encode(), ADDRESS, 400, "malformed"),
    "a short nonce": ({}, json.dumps({"claim": TEXT, "nonce": NONCE[1:]}).encode(), ADDRESS, 400, "malformed"),
    "capitals": ({}, json.dumps({"claim": TEXT, "nonce": NONCE.upper()}).encode(), ADDRESS, 400, "malformed"),
    "a line more": ({}, json.dumps({"claim": TEXT, "nonce": f"{NONCE}\n"}).encode(), ADDRESS, 400, "malformed"),
    "half a character": ({}, b'{"claim": "\\ud800", "nonce": "' + NONCE.encode() + b'"}', ADDRESS, 400, "malformed"),
    "no claim": ({}, json.dumps({"claim": "x", "nonce": NONCE}).encode(), ADDRESS, 401, "forged"),
    "forged": ({}, FORGED, ADDRESS, 401, "forged"),
    "another key": ({"ClaimKey": "x" * 32}, BODY, ADDRESS, 401, "key-unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "body", "address", "status", "code"), REFUSALS.values(), ids=REFUSALS)
def test_refused(
    changes: dict[str, str], body: bytes, address: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each refusal has its status, its code and one line; the cheapest check answers, and the door is not asked."""
    door = Admits()
    answer = receive(door, body, changes, address=address)
    assert (answer.status, answer.body["code"], answer.body["result"]) == (status, code, "refused")
    assert answer.headers == {}
    assert door.asked == []
    level, said = line(caplog)
    assert (level, said["status"], said["code"], said["reason"]) == ("WARNING", status, code, answer.body["reason"])
    assert not any(secret in caplog.text + answer.text for secret in (TEXT, NONCE, KEY))


def test_sources() -> None:
    """A trusted proxy is looked through, and a network that holds everybody lets everybody knock."""
    door = Admits()
    assert receive(door, address="10.1.2.3, 10.9.0.4:1").status == 200
    assert receive(door, BODY, {"ClaimSources": "0.0.0.0/0"}, address="").status == 200


def test_both_keys() -> None:
    """A claim of the key before is taken while that key is set, also where no profile claims any more."""
    changes = {"ClaimKey": "x" * 32, "ClaimKeyPrevious": KEY, "RunnerRegistration": "jit"}
    assert receive(Admits(), BODY, changes).status == 200


def test_expired() -> None:
    """A claim that is too old is refused."""
    answer = receive(Admits(), now=NOW + timedelta(hours=49))
    assert (answer.status, answer.body["code"]) == (401, "expired")


def test_too_often() -> None:
    """A task that asks without pause is told when it may ask again."""
    door = Admits()
    answer = receive(door, times=MOST_IN_A_PERIOD + 1)
    assert (answer.status, answer.body["code"], answer.headers) == (429, "too-often", {"Retry-After": "60"})
    assert len(door.asked) == MOST_IN_A_PERIOD


@pytest.mark.parametrize(
    ("error", "status", "level", "result", "wait"),
    [
        (refusal(ClaimCode.USED, "used"), 409, "CRITICAL", "refused", None),
        (refusal(ClaimCode.NOT_WANTED, "not wanted"), 410, "INFO", "gone", None),
        (refusal(ClaimCode.NOT_RUNNING, "not yet", retry_after=2.0), 503, "INFO", "failed", "2"),
        (refusal(ClaimCode.IN_PROGRESS, "not yet", retry_after=2.0), 503, "INFO", "failed", "2"),
        (refusal(ClaimCode.ENDED, "ended"), 403, "WARNING", "refused", None),
        (refusal(ClaimCode.GITHUB, "later", retry_after=41.2), 503, "WARNING", "failed", "42"),
        (refusal(ClaimCode.UPSTREAM_REFUSED, "never"), 500, "ERROR", "failed", None),
        (SettingsError.of("CaCertificates", "is wrong"), 503, "WARNING", "failed", "60"),
    ],
)
def test_the_doors_word(
    error: Exception, status: int, level: str, result: str, wait: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What the door refuses is answered with its status; a stolen claim is an alert, what is usual none."""
    caplog.set_level("INFO")
    answer = receive(Admits(error))
    assert (answer.status, answer.body["result"], answer.headers.get("Retry-After")) == (status, result, wait)
    found, said = line(caplog)
    assert (found, said["task"]) == (level, TASK)
    assert "CaCertificates" not in answer.text


def test_a_mistake_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged with its traceback, and answered without it."""
    answer = receive(Admits(ZeroDivisionError("s3cret")))
    assert (answer.status, answer.body["code"]) == (500, "error")
    assert "s3cret" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_too_long() -> None:
    """A claim that takes too long is answered before the container stops waiting; it may ask again."""

    class Never:
        def submit(self, *_: object) -> None:
            """Forget it."""

    receiver = ClaimReceiver(settings(**CLAIMING), Admits(), threads=Never(), clock=ManualClock(NOW), deadline=0.01)
    answer = asyncio.run(receiver.receive({"x-forwarded-for": ADDRESS}, BODY))
    assert (answer.status, answer.body["code"], answer.headers) == (503, "busy", {})


def test_misconfigured(caplog: pytest.LogCaptureFixture) -> None:
    """While settings are wrong nobody learns which: the route has no key."""
    answer = module.misconfigured()
    assert (answer.status, answer.body["code"], answer.headers) == (503, "misconfigured", {"Retry-After": "60"})
    assert line(caplog)[1]["code"] == "misconfigured"


def test_threads_of_their_own() -> None:
    """Claims are handled by the threads that the process has for them."""
    door = Admits()
    receiver = ClaimReceiver(settings(**CLAIMING), door, threads=Runtime().claim_threads, clock=ManualClock(NOW))
    assert asyncio.run(receiver.receive({"x-forwarded-for": ADDRESS}, BODY)).status == 200
