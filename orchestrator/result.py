"""The words for what became of something: the `result` of answers and of log lines."""

from enum import StrEnum


class Result(StrEnum):
    """What became of a delivery, of a kept request, of a step of the control loop, or of one of its actions.

    `docs/reference.md` explains each; a test compares the two.
    """

    # A job's runner
    CREATED = "created"
    EXISTS = "exists"
    REMOVED = "removed"
    LEFT = "left"
    GONE = "gone"
    # A delivery or a kept request
    IGNORED = "ignored"
    PONG = "pong"
    KEPT = "kept"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"
    FAILED = "failed"
    GIVEN_UP = "given up"
    REVIVED = "revived"
    # The control loop
    DONE = "done"
    SKIPPED = "skipped"
    REDELIVERED = "redelivered"
    REPLACED = "replaced"
    ENDED = "ended"
    DELETED = "deleted"
    WAITS = "waits"
    PAUSED = "paused"
    EXPIRES = "expires"
