"""Why a container's claim got it no registration: every code, and the status that it is answered with (pure)."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus

from orchestrator.errors import ClaimRefused


class ClaimCode(StrEnum):
    """The `code` of an answer to a claim. `docs/reference.md` explains each; a test compares the two."""

    # The request
    OFF = "off"
    SOURCE = "source"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    TOO_OFTEN = "too-often"
    # The claim itself
    KEY_UNKNOWN = "key-unknown"
    FORGED = "forged"
    EXPIRED = "expired"
    # What Batch says of its task
    NO_TASK = "no-task"
    ENDED = "ended"
    OTHER_CLAIM = "other-claim"
    NOT_RUNNING = "not-running"
    # Its use
    USED = "used"
    IN_PROGRESS = "in-progress"
    NOT_WANTED = "not-wanted"
    # What could not be done
    BUSY = "busy"
    BATCH = "batch"
    STORAGE = "storage"
    GITHUB = "github"
    UPSTREAM_REFUSED = "upstream-refused"
    MISCONFIGURED = "misconfigured"
    ERROR = "error"


STATUS: Mapping[ClaimCode, HTTPStatus] = {
    ClaimCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    ClaimCode.KEY_UNKNOWN: HTTPStatus.UNAUTHORIZED,
    ClaimCode.FORGED: HTTPStatus.UNAUTHORIZED,
    ClaimCode.EXPIRED: HTTPStatus.UNAUTHORIZED,
    ClaimCode.OFF: HTTPStatus.FORBIDDEN,
    ClaimCode.SOURCE: HTTPStatus.FORBIDDEN,
    ClaimCode.NO_TASK: HTTPStatus.FORBIDDEN,
    ClaimCode.ENDED: HTTPStatus.FORBIDDEN,
    ClaimCode.OTHER_CLAIM: HTTPStatus.FORBIDDEN,
    ClaimCode.USED: HTTPStatus.CONFLICT,
    ClaimCode.NOT_WANTED: HTTPStatus.GONE,
    ClaimCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ClaimCode.TOO_OFTEN: HTTPStatus.TOO_MANY_REQUESTS,
    ClaimCode.UPSTREAM_REFUSED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ClaimCode.ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ClaimCode.NOT_RUNNING: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.IN_PROGRESS: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.BATCH: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.STORAGE: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.GITHUB: HTTPStatus.SERVICE_UNAVAILABLE,
    ClaimCode.MISCONFIGURED: HTTPStatus.SERVICE_UNAVAILABLE,
}


def refusal(code: ClaimCode, reason: str, *, retry_after: float | None = None) -> ClaimRefused:
    """Return the error that answers a claim.

    Args:
        code: why.
        reason: the same in one sentence, without claim, nonce or secret.
        retry_after: seconds after which the container may ask again.
    """
    return ClaimRefused(reason, status=STATUS[code], code=code, retry_after=retry_after)
