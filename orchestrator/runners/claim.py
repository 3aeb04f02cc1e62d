"""What a runner's task carries in place of a registration: a claim, which its container turns into one (pure).

A claim opens nothing by itself. It is signed with a key of the function's own and says for which task it is and what
may be registered. `orchestrator.claims` hands the registration over, once, when Batch says that this task runs.

`v1.PAYLOAD.MAC`: the payload is JSON, the MAC is HMAC-SHA256 (RFC 2104) over what stands before it. Both are base64url
without padding (RFC 4648, 5).
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.clock import Clock
from orchestrator.config.profiles import Priority, Profile
from orchestrator.runners.claim_refusal import ClaimCode, refusal
from orchestrator.runners.registration import Registration
from orchestrator.runners.scope import Scope, ScopeAccess

_VERSION = "v1"
# How long a claim is good for, from when its task is created. GitHub lets no job wait for longer than a day. But the
# task of a job that another runner took may serve a job that was queued up to a day later.
CLAIM_LIFE = timedelta(hours=48)
# The clocks of two machines may differ by so much.
CLOCK_SLACK = timedelta(minutes=5)
# Characters of a claim. The labels of a profile and a job are some thousand at most.
MOST_CHARACTERS = 32_768
_CLAIM = re.compile(rf"(?P<signed>{_VERSION}\.(?P<payload>[A-Za-z0-9_-]+))\.(?P<mac>[A-Za-z0-9_-]+)")
# Hexadecimal digits of a key's id.
_KEY_ID = 8

# Returns the id of the Batch job for the tasks of a pool, an account and a priority: `azure.batch_jobs.job_id`.
type BatchJobId = Callable[[str, str, Priority], str]


class _Payload(BaseModel):
    """A claim as JSON has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    task: str
    job: str
    pool: str
    kind: Literal["repository", "organization", "enterprise"]
    scope: str
    installation: int | None
    labels: tuple[str, ...]
    group: str | None
    exp: Annotated[int, Field(ge=0, le=253402300799)]  # the last second that `datetime` knows
    kid: str


@dataclass(frozen=True)
class Claim:
    """What one container may ask for.

    Attributes:
        task_id: its task.
        batch_job: the Batch job that holds the task.
        pool: the pool that the task is for.
        access: where the runner registers.
        labels: the runner's labels.
        group: the runner group's name; None for GitHub's default group.
        expires_at: until when it may ask, to the second.
    """

    task_id: str
    batch_job: str
    pool: str
    access: ScopeAccess
    labels: tuple[str, ...]
    group: str | None
    expires_at: datetime


def sign(claim: Claim, key: bytes) -> str:
    """Return a claim as its task carries it.

    Args:
        claim: what it says.
        key: `ClaimKey`.
    """
    payload = _Payload(
        task=claim.task_id,
        job=claim.batch_job,
        pool=claim.pool,
        kind=claim.access.scope.kind,
        scope=claim.access.scope.name,
        installation=claim.access.installation,
        labels=claim.labels,
        group=claim.group,
        exp=round(claim.expires_at.timestamp()),
        kid=key_id(key),
    )
    signed = f"{_VERSION}.{_encoded(payload.model_dump_json().encode())}"
    return f"{signed}.{_encoded(_mac(signed, key))}"


def read(text: str, keys: Sequence[bytes], now: datetime) -> Claim:
    """Return what a claim says, if one of the keys has signed it and it is still good.

    Nothing that it says counts before its MAC is right, beside which key to try.

    Args:
        text: the claim.
        keys: `ClaimKey` and `ClaimKeyPrevious`.
        now: the time.

    Raises:
        ClaimRefused: It is none of ours, or too old.
    """
    found = _CLAIM.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if found is None:
        raise refusal(ClaimCode.FORGED, "this is no claim")
    signed, content, mac = found["signed"], _decoded(found["payload"]), found["mac"]
    key = next((key for key in keys if hmac.compare_digest(key_id(key), _key_id_of(content))), None)
    if key is None:
        raise refusal(ClaimCode.KEY_UNKNOWN, "the claim names a key that is neither ClaimKey nor ClaimKeyPrevious")
    if not hmac.compare_digest(_encoded(_mac(signed, key)), mac):
        raise refusal(ClaimCode.FORGED, "the claim was not signed by this function")
    try:
        payload = _Payload.model_validate_json(content)
    except ValidationError:
        raise refusal(ClaimCode.FORGED, "the claim is another release's") from None
    expires_at = datetime.fromtimestamp(payload.exp, UTC)
    if now > expires_at + CLOCK_SLACK:
        raise refusal(ClaimCode.EXPIRED, f"the claim was good until {expires_at:%Y-%m-%d %H:%M} UTC")
    access = ScopeAccess(Scope(payload.kind, payload.scope), payload.installation)
    return Claim(payload.task, payload.job, payload.pool, access, payload.labels, payload.group, expires_at)


def key_id(key: bytes) -> str:
    """Return what names a key, and tells nothing about it."""
    return hmac.digest(key, b"key id", hashlib.sha256).hex()[:_KEY_ID]


class ClaimRegistrar:
    """`claim`: nobody is registered yet, and the container gets what it can ask for its registration with.

    Args:
        key: `ClaimKey`.
        batch_job: tells in which Batch job a task will be.
        clock: the time.
    """

    def __init__(self, key: bytes, batch_job: BatchJobId, clock: Clock) -> None:
        self._key = key
        self._batch_job = batch_job
        self._clock = clock

    def claim(
        self,
        task_id: str,
        profile: Profile,
        account: str,
        access: ScopeAccess,
        labels: tuple[str, ...],
        group: str | None,
    ) -> Registration:
        """Return the claim of one task.

        Args:
            task_id: the task's id.
            profile: the profile of its runner.
            account: the login of the organization or user that the repository belongs to.
            access: where the runner registers.
            labels: the runner's labels.
            group: the runner group's name; None for GitHub's default group.
        """
        job = self._batch_job(profile.pool, account, profile.priority)
        claim = Claim(task_id, job, profile.pool, access, labels, group, self._clock() + CLAIM_LIFE)
        return Registration("claim", sign(claim, self._key))


def _mac(signed: str, key: bytes) -> bytes:
    return hmac.digest(key, signed.encode(), hashlib.sha256)


def _key_id_of(content: bytes) -> str:
    """Return which key a payload names; empty if it names none. Nothing else of it is looked at."""
    try:
        named = json.loads(content)["kid"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return named if isinstance(named, str) and named.isascii() else ""


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Decode base64url; nothing comes of what is none."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""
