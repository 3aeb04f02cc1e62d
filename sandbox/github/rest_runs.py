"""GitHub's operations on workflow runs and their jobs."""

from datetime import UTC, datetime

from sandbox.github.model import Refusal, Run
from sandbox.github.rest import Call, Reply, Route, page_of

# How many runs a filtered listing returns at most (documented).
MOST_FILTERED = 1_000


def routes() -> list[Route]:
    """The operations; each needs `actions: read`."""
    base, needs = "/repos/{owner}/{repo}/actions", ("actions", "read")
    return [
        Route("GET", f"{base}/runs", list_runs, needs),
        Route("GET", f"{base}/runs/{{run_id}}", get_run, needs),
        Route("GET", f"{base}/runs/{{run_id}}/jobs", list_jobs, needs),
        Route("GET", f"{base}/jobs/{{job_id}}", get_job, needs),
    ]


def list_runs(call: Call) -> Reply:
    """List the runs of a repository, newest first, filtered as asked."""
    status, created = call.query.get("status"), call.query.get("created")
    since = datetime.min.replace(tzinfo=UTC) if created is None else _date(created.partition(">=")[2])
    bodies = [
        call.core.payloads.run(run)
        for run in reversed(call.core.state.runs_of(call.scope.name))
        if datetime.fromtimestamp(int(run.created_at), UTC) >= since and status in (None, run.status, run.conclusion)
    ]
    if status is not None or created is not None:
        bodies = bodies[:MOST_FILTERED]
    page, headers = page_of(call, bodies)
    return Reply({"total_count": len(bodies), "workflow_runs": list(page)}, headers=headers)


def get_run(call: Call) -> Reply:
    """Return one run."""
    return Reply(call.core.payloads.run(_run(call)))


def list_jobs(call: Call) -> Reply:
    """List the jobs of the latest attempt of a run."""
    run = _run(call)
    bodies = [call.core.payloads.job(job, run) for job in run.latest]
    page, headers = page_of(call, bodies)
    return Reply({"total_count": len(bodies), "jobs": list(page)}, headers=headers)


def get_job(call: Call) -> Reply:
    """Return one job."""
    job = call.core.state.job(call.number("job_id"))
    run = call.core.state.run(job.run_id)
    if not _belongs(call, run):
        raise Refusal(404, "Not Found")
    return Reply(call.core.payloads.job(job, run))


def _run(call: Call) -> Run:
    run = call.core.state.run(call.number("run_id"))
    if not _belongs(call, run):
        raise Refusal(404, "Not Found")
    return run


def _belongs(call: Call, run: Run) -> bool:
    return call.scope.covers(run.repository)


def _date(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(422, "Validation Failed") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
