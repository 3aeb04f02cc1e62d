"""GitHub's operations on workflow runs and their jobs."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from sandbox.github.model import Job, Refusal, Run
from sandbox.github.rest import Call, Reply, Route, page_of

# How many runs a filtered listing returns at most (documented).
MOST_FILTERED = 1_000

_FILTERS = ("status", "branch", "event", "actor", "head_sha", "check_suite_id", "created")


def routes() -> list[Route]:
    """The operations; each needs `actions: read`."""
    base, needs = "/repos/{owner}/{repo}/actions", ("actions", "read")
    return [
        Route("GET", f"{base}/runs", list_runs, needs),
        Route("GET", f"{base}/runs/{{run_id}}", get_run, needs),
        Route("GET", f"{base}/runs/{{run_id}}/jobs", list_jobs, needs),
        Route("GET", f"{base}/runs/{{run_id}}/attempts/{{attempt}}/jobs", list_attempt_jobs, needs),
        Route("GET", f"{base}/jobs/{{job_id}}", get_job, needs),
    ]


def list_runs(call: Call) -> Reply:
    """List the runs of a repository, newest first, filtered as asked."""
    query = call.query
    status, within = query.get("status"), _within(query.get("created"))
    bodies = [
        call.core.payloads.run(run)
        for run in reversed(call.core.state.runs_of(call.scope.name))
        if within(datetime.fromtimestamp(int(run.created_at), UTC)) and status in (None, run.status, run.conclusion)
    ]
    if any(name in query for name in _FILTERS):
        bodies = [
            body
            for body in bodies
            if query.get("branch") in (None, body["head_branch"])
            and query.get("event") in (None, body["event"])
            and query.get("actor") in (None, body["actor"]["login"])
            and query.get("head_sha") in (None, body["head_sha"])
            and query.get("check_suite_id") in (None, str(body["check_suite_id"]))
        ][:MOST_FILTERED]
    page, headers = page_of(call, bodies)
    return Reply({"total_count": len(bodies), "workflow_runs": list(page)}, headers=headers)


def get_run(call: Call) -> Reply:
    """Return one run."""
    return Reply(call.core.payloads.run(_run(call)))


def list_jobs(call: Call) -> Reply:
    """List the jobs of the latest attempt of a run, or of all attempts."""
    run = _run(call)
    return _jobs(call, run, run.jobs if call.query.get("filter") == "all" else run.latest)


def list_attempt_jobs(call: Call) -> Reply:
    """List the jobs of one attempt of a run."""
    run, attempt = _run(call), call.number("attempt")
    if not 1 <= attempt <= run.attempt:
        raise Refusal(404, "Not Found")
    return _jobs(call, run, [job for job in run.jobs if job.run_attempt == attempt])


def get_job(call: Call) -> Reply:
    """Return one job."""
    job = call.core.state.job(call.number("job_id"))
    run = call.core.state.run(job.run_id)
    if not _belongs(call, run):
        raise Refusal(404, "Not Found")
    return Reply(call.core.payloads.job(job, run))


def _jobs(call: Call, run: Run, jobs: Iterable[Job]) -> Reply:
    bodies = [call.core.payloads.job(job, run) for job in jobs]
    page, headers = page_of(call, bodies)
    return Reply({"total_count": len(bodies), "jobs": list(page)}, headers=headers)


def _run(call: Call) -> Run:
    run = call.core.state.run(call.number("run_id"))
    if not _belongs(call, run):
        raise Refusal(404, "Not Found")
    return run


def _belongs(call: Call, run: Run) -> bool:
    return call.scope.covers(run.repository)


def _within(created: str | None) -> Callable[[datetime], bool]:
    """Read GitHub's date search syntax: `>=2026-01-01`, `<2026-01-01T08:00:00Z`, `A..B` or one day."""
    if created is None:
        return lambda _at: True
    first, dots, last = created.partition("..")
    if dots:
        return lambda at: _date(first) <= at <= _date(last)
    for sign, test in (
        (">=", datetime.__ge__), ("<=", datetime.__le__), (">", datetime.__gt__), ("<", datetime.__lt__),
    ):  # fmt: skip
        if created.startswith(sign):
            bound = _date(created.removeprefix(sign))
            return lambda at: bool(test(at, bound))
    return lambda at: at.date() == _date(created).date()


def _date(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(422, "Validation Failed") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
