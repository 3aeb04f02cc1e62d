"""One claim in, one answer out, as HTTP has them.

    size -> source address -> parse -> MAC and expiry -> how often -> the door -> answer

Nobody but containers of ours is to call here, yet the host lets everybody in who comes from an address that the site
admits. So each step is as cheap as it can be, and nothing is asked of Batch, the storage or GitHub before the MAC is
right.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.claims.door import Admission
from orchestrator.claims.pace import Pace
from orchestrator.clock import Clock
from orchestrator.config.settings import Settings
from orchestrator.delivery.answer import Answer
from orchestrator.delivery.deadline import Workers
from orchestrator.delivery.source_check import require_claimer
from orchestrator.errors import ClaimRefused, SettingsError, SourceNotAllowed, TransientError
from orchestrator.lines import Line
from orchestrator.log import Log, about, also_about
from orchestrator.result import Result
from orchestrator.runners import claim as claims
from orchestrator.runners.claim import Claim
from orchestrator.runners.claim_refusal import ClaimCode, refusal
from orchestrator.runtime import CLAIM_THREADS, MakeLock, Threads

log = Log(__name__)

# Bytes of a request. A claim has some hundred.
MOST_BYTES = 64 * 1024
# Seconds until an answer; the container waits for 60. What takes longer goes on alone, and the container asks again.
# Its next try removes the runner of this one, so a slow GitHub must have the time for three calls.
CLAIM_DEADLINE = 50.0
# Seconds until somebody may have mended the settings.
MISCONFIGURED_WAIT = 60.0
# The answer that holds a secret; no proxy on the way is to keep it.
_NOT_KEPT: Mapping[str, str] = {"Cache-Control": "no-store"}

# How much an answer needs a person's attention, where its status does not tell.
_LEVELS: Mapping[str, int] = {
    ClaimCode.USED: logging.CRITICAL,
    ClaimCode.NOT_WANTED: logging.INFO,
    ClaimCode.NOT_RUNNING: logging.INFO,
    ClaimCode.IN_PROGRESS: logging.INFO,
}

# Hands a registration over; takes the claim, its text and the container's nonce: `claims.door.Door.admit`.
type Admit = Callable[[Claim, str, str], Admission]


class _Request(BaseModel):
    """What a container sends."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    claim: Annotated[str, Field(max_length=claims.MOST_CHARACTERS)]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClaimReceiver:
    """Receives claims.

    Args:
        settings: the app settings.
        admit: hands a registration over.
        threads: run `admit`; there are `CLAIM_THREADS`.
        clock: the time.
        lock: makes a lock.
        deadline: seconds until an answer.
    """

    def __init__(
        self,
        settings: Settings,
        admit: Admit,
        *,
        threads: Threads,
        clock: Clock,
        lock: MakeLock = threading.Lock,
        deadline: float = CLAIM_DEADLINE,
    ) -> None:
        self._settings = settings
        self._admit = admit
        self._workers = Workers(threads, CLAIM_THREADS)
        self._pace = Pace(clock, lock=lock)
        self._clock = clock
        self._deadline = deadline

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take one claim and answer it; never raises, and always leaves its line in the log.

        Args:
            headers: the request's headers; looked up by names in lower case.
            body: the raw body.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        with about(forwarded_for=headers.get("x-forwarded-for", "")[-100:]):
            try:
                admission = await self._receive(headers, body)
            except ClaimRefused as error:
                return _refused(error, clock() - began)
            except Exception:  # a mistake of ours; it is logged, and the host need not answer for us
                log.exception(message="an unexpected error")
                return _refused(refusal(ClaimCode.ERROR, "an unexpected error: see the log"), clock() - began)
            remark = {"reason": admission.remark} if admission.remark else {}
            log(
                logging.INFO,
                Line.CLAIM,
                status=200,
                result=Result.CREATED,
                runner=admission.runner,
                ms=_ms(clock() - began),
                **remark,
            )
            return Answer(200, {"environment": admission.environment}, headers=_NOT_KEPT)

    async def _receive(self, headers: Mapping[str, str], body: bytes) -> Admission:
        settings = self._settings
        if not settings.takes_claims:
            raise refusal(ClaimCode.OFF, "this function takes no claims (RunnerRegistration, ClaimKey, ClaimSources)")
        if len(body) > MOST_BYTES:
            raise refusal(ClaimCode.TOO_LARGE, f"the body is over {MOST_BYTES} bytes")
        try:
            require_claimer(headers, settings)
        except SourceNotAllowed as error:
            raise refusal(ClaimCode.SOURCE, str(error)) from None
        try:
            request = _Request.model_validate_json(body)
        except ValidationError:
            raise refusal(ClaimCode.MALFORMED, "the body is not JSON with a claim and a nonce") from None
        claim = claims.read(request.claim, settings.claim_keys, self._clock())
        also_about(task=claim.task_id, pool=claim.pool, scope=str(claim.access.scope))
        wait = self._pace.wait(claim.batch_job, claim.task_id)
        if wait is not None:
            raise refusal(ClaimCode.TOO_OFTEN, "this task has asked too often", retry_after=wait)
        try:
            return await self._workers.within(self._deadline, lambda: self._admit(claim, request.claim, request.nonce))
        except SettingsError:
            raise _misconfigured() from None
        except TransientError as error:
            raise refusal(ClaimCode.BUSY, str(error)) from None


def misconfigured() -> Answer:
    """Return the answer while app settings are wrong. It names none: anybody may ask here."""
    return _refused(_misconfigured(), 0.0)


def _misconfigured() -> ClaimRefused:
    reason = "the function's settings are wrong: see its log"
    return refusal(ClaimCode.MISCONFIGURED, reason, retry_after=MISCONFIGURED_WAIT)


def _refused(error: ClaimRefused, seconds: float) -> Answer:
    told = {"result": _result(error), "code": error.code, "reason": str(error)}
    log(_level(error), Line.CLAIM, status=int(error.status), ms=_ms(seconds), **told)
    wait = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    return Answer(error.status, told, headers=wait)


def _result(error: ClaimRefused) -> Result:
    if error.code == ClaimCode.NOT_WANTED:
        return Result.GONE
    return Result.FAILED if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Result.REFUSED


def _level(error: ClaimRefused) -> int:
    known = _LEVELS.get(error.code)
    if known is not None:
        return known
    return logging.ERROR if error.status == HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
