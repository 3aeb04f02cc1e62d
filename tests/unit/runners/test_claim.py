"""Claims: what they say, and who can have signed them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.azure.batch_jobs import job_id
from orchestrator.errors import ClaimRefused
from orchestrator.runners.claim import CLAIM_LIFE, CLOCK_SLACK, MOST_CHARACTERS, Claim, ClaimRegistrar, read, sign
from orchestrator.runners.claim_refusal import STATUS, ClaimCode, refusal
from orchestrator.runners.scope import Scope, ScopeAccess
from tests.builders import settings
from tests.fakes import ManualClock

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY, NEXT = b"a-key-of-claims-that-nobody-guesses", b"the-key-that-comes-after-the-first-"

SCOPES = st.builds(
    Scope, st.sampled_from(["repository", "organization", "enterprise"]), st.sampled_from(["acme", "acme/app"])
)
CLAIMS = st.builds(
    Claim,
    task_id=st.sampled_from(["runner-7-1", "runner-7-1-r2"]),
    batch_job=st.sampled_from(["github-runner-linux-acme-normal-00112233"]),
    pool=st.sampled_from(["linux", "Windows_1"]),
    access=st.builds(ScopeAccess, SCOPES, st.none() | st.integers(1, 2**62)),
    labels=st.lists(st.text(max_size=20), max_size=5).map(tuple),
    group=st.none() | st.text(max_size=20),
    expires_at=st.integers(0, 10_000_000).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)
CLAIM = Claim(
    "runner-7-1", "job", "linux", ScopeAccess(Scope("organization", "acme"), 5), ("linux",), "Batch", NOW + CLAIM_LIFE
)


def code(text: str, *keys: bytes, now: datetime = NOW) -> str:
    """Return why a claim is refused with 401; empty if it is not refused."""
    try:
        read(text, keys or (KEY,), now)
    except ClaimRefused as error:
        return error.code if error.status == 401 else f"refused with {error.status}"
    return ""


def signed(payload: object, key: bytes = KEY) -> str:
    """Return what somebody with the key signs."""

    def encoded(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    text = f"v1.{encoded(payload if isinstance(payload, bytes) else json.dumps(payload).encode())}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256))}"


def payload_of(text: str) -> dict[str, object]:
    """Return the payload of a claim."""
    content = text.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    assert isinstance(found, dict)
    return found


@given(CLAIMS, st.sampled_from([(KEY,), (NEXT, KEY), (KEY, NEXT)]))
def test_round_trip(claim: Claim, keys: tuple[bytes, ...]) -> None:
    """What one key has signed is read back as it was, whichever place the key has among those that are accepted."""
    assert read(sign(claim, KEY), keys, NOW) == claim


@given(CLAIMS)
def test_a_header_holds_it(claim: Claim) -> None:
    """A claim is one printable word, fit for an environment variable, in the form that other programs rely on."""
    text = sign(claim, KEY)
    assert text.isascii()
    assert text.isprintable()
    assert [len(part) > 0 for part in text.split(".")] == [True] * 3
    assert text == signed(base64.urlsafe_b64decode(text.split(".")[1] + "=="), KEY)


@given(CLAIMS, st.data())
def test_any_change_is_noticed(claim: Claim, data: st.DataObject) -> None:
    """A claim of which a single character is another one is refused, wherever that is."""
    text = sign(claim, KEY)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[place]))
    assert code(text[:place] + other + text[place + 1 :]) in (ClaimCode.FORGED, ClaimCode.KEY_UNKNOWN)


@given(st.text() | st.text().map(lambda text: f"v1.{text}.{text}") | st.binary().map(lambda raw: signed(raw, NEXT)))
def test_whatever_comes(text: str) -> None:
    """Nothing that a stranger sends is more than refused."""
    assert code(text) in (ClaimCode.FORGED, ClaimCode.KEY_UNKNOWN)


def test_another_key() -> None:
    """The refusal tells a key that was replaced from a forgery with the name of ours."""
    text = sign(CLAIM, NEXT)
    assert code(text) == ClaimCode.KEY_UNKNOWN
    assert code(text, KEY, NEXT) == ""
    named = payload_of(text) | {"kid": payload_of(sign(CLAIM, KEY))["kid"]}
    assert code(signed(named, NEXT)) == ClaimCode.FORGED


@pytest.mark.parametrize("kid", [None, 7, "", "ü" * 8, ["x"]])
def test_a_key_that_has_no_name(kid: object) -> None:
    """A claim that names its key in another form is refused like one of an unknown key."""
    assert code(signed(payload_of(sign(CLAIM, KEY)) | {"kid": kid})) == ClaimCode.KEY_UNKNOWN


@pytest.mark.parametrize("changes", [{"more": 1}, {"exp": "soon"}, {"exp": -1}, {"exp": 10**12}, {"kind": "user"}])
def test_another_release(changes: dict[str, object]) -> None:
    """What the key has signed in another form is refused, and never guessed at."""
    assert code(signed(payload_of(sign(CLAIM, KEY)) | changes)) == ClaimCode.FORGED


def test_too_long() -> None:
    """A text that is longer than any claim is not looked at, even if it is signed."""
    long = payload_of(sign(CLAIM, KEY)) | {"labels": ["x" * MOST_CHARACTERS]}
    assert code(signed(long)) == ClaimCode.FORGED


def test_a_payload_that_cannot_be_read() -> None:
    """A payload that no parser can take, or that is no base64url, is refused."""
    assert code(signed(b"[" * 20_000)) == ClaimCode.KEY_UNKNOWN
    assert code("v1.A.AAAA") == ClaimCode.KEY_UNKNOWN


def test_expiry() -> None:
    """A claim is good until its time is over, and for as much longer as clocks may differ."""
    text = sign(CLAIM, KEY)
    end = CLAIM.expires_at + CLOCK_SLACK
    assert code(text, now=end) == ""
    assert code(text, now=end + timedelta(seconds=1)) == ClaimCode.EXPIRED


def test_registrar() -> None:
    """A task's claim says where the task will be and what may be registered, for as long as the task may wait."""
    profile = settings(ClaimKey="x" * 32).profiles[0]
    access = ScopeAccess(Scope("organization", "acme"), None)
    registration = ClaimRegistrar(KEY, job_id, ManualClock(NOW)).claim(
        "runner-7-1", profile, "acme", access, ("linux", "x64"), None
    )
    assert (registration.kind, registration.expires_at, registration.runner_id) == ("claim", None, None)
    assert read(registration.secret, (KEY,), NOW) == Claim(
        "runner-7-1", job_id("batchLinux", "acme", "normal"), "batchLinux", access, ("linux", "x64"), None,
        NOW + timedelta(days=2),
    )  # fmt: skip
    assert registration.secret not in repr(registration)


def test_every_code_has_a_status() -> None:
    """Each refusal is answered with the status that its code stands for."""
    assert set(STATUS) == set(ClaimCode)
    error = refusal(ClaimCode.NOT_RUNNING, "not yet", retry_after=2)
    assert (error.status, error.code, str(error), error.retry_after) == (503, "not-running", "not yet", 2)
