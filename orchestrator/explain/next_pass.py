"""What the next pass does about a job: by its verdict, and by what the last one recorded of it (pure)."""

from datetime import datetime, timedelta

from orchestrator.explain.facts import Facts, NextPass
from orchestrator.explain.verdict import OVER, Verdict
from orchestrator.reconcile.findings import Findings, JobState, WaitingJobFinding

# What a pass does about a job of these verdicts, if the last one recorded nothing that decides.
_STARTED_BY_A_PASS = frozenset(
    {
        Verdict.STARTS_NEXT_PASS, Verdict.TAKEN_BY_OTHER, Verdict.RUNNER_FAILED, Verdict.RUNNER_VERSION_REFUSED,
        Verdict.IMAGE_NOT_PULLED, Verdict.NO_DELIVERY, Verdict.KEPT, Verdict.OVER_QUOTA,
    }
)  # fmt: skip
_REDELIVERED_BY_A_PASS = frozenset({Verdict.DELIVERY_FAILED, Verdict.MISCONFIGURED})
# What a pass does about a job that the last one left like this; `{due}` is when.
_BY_STATE = {
    JobState.DELIVERY_EXPECTED: "starts a runner after {due} if the job still waits and nothing serves it",
    JobState.IDLE_RUNNER: "starts a runner after {due} if the job still waits",
    JobState.PAUSED: "starts a runner at {due} or soon after if the job still waits",
    JobState.NOT_STARTED: "tries again to start a runner if the job still waits",
    JobState.NO_TIME: "starts a runner if the job still waits and nothing serves it",
    JobState.SKIPPED: "starts a runner if the job still waits, nothing serves it, and its scope can be read",
    JobState.OVER_QUOTA: "starts a runner if the quota has room by then",
    JobState.NOT_ALLOWED: "starts no runner while the job may have none",
}


def next_pass(facts: Facts, verdict: Verdict) -> str | None:
    """Return what the next pass does, and how old the last one's word is; None if nothing is known of passes.

    Args:
        facts: what is known of the job.
        verdict: what that means.
    """
    coming = facts.next_pass
    if coming is None:
        return None
    minutes = int(coming.period.total_seconds()) // 60
    found = None if verdict in OVER else _found(coming.findings, facts.reference.job_id)
    return f"a pass, every {minutes} minutes, {_does(found, verdict)}{_last(coming, found, facts.now)}"


def _found(findings: Findings | None, job_id: int) -> WaitingJobFinding | None:
    """Return what the last pass that could look recorded of a job; None if it recorded nothing."""
    jobs = findings.jobs if findings is not None else ()
    return next((job for job in jobs if job.job == job_id), None)


def _does(found: WaitingJobFinding | None, verdict: Verdict) -> str:
    if found is not None and found.state in _BY_STATE:
        due = "its time" if found.due_at is None else f"{found.due_at:%H:%M} UTC"
        return _BY_STATE[found.state].format(due=due)
    if verdict in _STARTED_BY_A_PASS:
        return "starts a runner if the job still waits and nothing serves it"
    return "has the delivery sent again" if verdict in _REDELIVERED_BY_A_PASS else "has nothing to do for this job"


def _last(coming: NextPass, found: WaitingJobFinding | None, now: datetime) -> str:
    """Return when the last pass was and what it recorded of the job."""
    if coming.unread is not None:
        return f"; what the last one found is not known: {coming.unread}"
    if coming.last_at is None:
        return ""
    last = f"; the last one ended at {coming.last_at:%Y-%m-%d %H:%M:%S}Z, {_age(now - coming.last_at)} ago"
    findings = coming.findings
    if findings is not None and findings.problem is not None:
        last += f", and could not look: {findings.problem}"
    if found is not None and findings is not None and findings.at is not None:
        last += f"; at {findings.at:%H:%M:%S}Z the job was {found.state}: {found.reason}"
    return last


def _age(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004 - two minutes
