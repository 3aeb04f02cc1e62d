"""Every kind of line in the log: its name, and the fields that it may have.

`docs/reference.md` lists the same, and a test compares the two. Every test fails that makes the code write a field that
is not listed.
"""

from collections.abc import Mapping
from enum import StrEnum


class Line(StrEnum):
    """The name of a line: its field `line`."""

    ACTION = "action"
    ADVICE = "advice"
    BATCH_JOB = "batch job"
    BOOST = "boost"
    CLAIM = "claim"
    CLOCK = "clock"
    DELIVERY = "delivery"
    ERROR = "error"
    EXPLAINED = "explained"
    GIVEN_UP = "given up"
    HELD_JOB = "held job"
    HOOK_RANGES = "hook ranges"
    INSTALLATION = "installation"
    MISCONFIGURED = "misconfigured"
    NOT_ADMITTED = "not admitted"
    PASS = "pass"  # noqa: S105 - a pass of the control loop
    POOL = "pool"
    QUEUES = "queues"
    REDELIVERY = "redelivery"
    REGISTRATION_LEFT = "registration left"
    REFUSED_CALL = "refused call"
    RETRY = "retry"
    RUNNER_ENDED = "runner ended"
    RUNNER_GROUP = "runner group"
    RUNNER_VERSION = "runner version"
    SKIPPED = "skipped"
    USAGE = "usage"


# What the code around a line is about. Any line may have these beside its own.
IDS = frozenset(
    {
        "attempt", "delivery", "event", "forwarded_for", "hook", "job", "jobs", "kept_for_s", "labels", "pass", "pool",
        "repository", "runner", "scope", "step", "task",
    }
)  # fmt: skip

FIELDS: Mapping[Line, frozenset[str]] = {
    Line.ACTION: frozenset({"action", "reason", "result", "why"}),
    Line.ADVICE: frozenset({"message"}),
    Line.BATCH_JOB: frozenset({"batch_job", "message"}),
    Line.BOOST: frozenset({"dedicated", "message", "reason", "spot"}),
    Line.CLAIM: frozenset({"code", "ms", "reason", "result", "status"}),
    Line.CLOCK: frozenset({"clock_ahead_s", "message"}),
    Line.DELIVERY: frozenset(
        {"advice", "image", "ms", "next_try_in_s", "profile", "reason", "result", "settings", "status"}
    ),
    Line.ERROR: frozenset({"message"}),
    Line.EXPLAINED: frozenset({"message", "verdict"}),
    Line.GIVEN_UP: frozenset({"message", "result"}),
    Line.HELD_JOB: frozenset({"reason", "result"}),
    Line.HOOK_RANGES: frozenset({"message", "ranges", "reason"}),
    Line.INSTALLATION: frozenset({"account", "installation", "reason", "result"}),
    Line.MISCONFIGURED: frozenset({"message", "reason", "result"}),
    Line.NOT_ADMITTED: frozenset({"reason", "result"}),
    Line.PASS: frozenset({"actions", "longest_wait_s", "ms", "result", "running", "scopes", "waiting"}),
    Line.POOL: frozenset({"nodes", "reason", "running", "slots", "target", "waiting"}),
    Line.QUEUES: frozenset({"given_up", "kept"}),
    Line.REDELIVERY: frozenset({"reason", "result", "why"}),
    Line.REGISTRATION_LEFT: frozenset({"message", "reason"}),
    Line.REFUSED_CALL: frozenset({"reason", "result"}),
    Line.RETRY: frozenset({"next_try_in_s", "reason", "result"}),
    Line.RUNNER_ENDED: frozenset(
        {"created_at", "ended_at", "outcome", "profile", "reason", "runs_before", "slots", "started_at"}
    ),
    Line.RUNNER_GROUP: frozenset({"message", "reason"}),
    Line.RUNNER_VERSION: frozenset({"message", "reason", "result", "version"}),
    Line.SKIPPED: frozenset({"reason", "result", "version", "what"}),
    Line.USAGE: frozenset({"calls", "points", "requests_left"}),
}
