"""GitHub's word on one workflow job: the job, its run, and its runner.

Source: GitHub REST API, "Workflow jobs", "Workflow runs", "Self-hosted runners".
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from orchestrator.clock import moment_of
from orchestrator.errors import GitHubRefused
from orchestrator.explain.facts import JobFacts
from orchestrator.github.client import expecting
from orchestrator.github.runners import Runners
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.event import Owner, Repository, WorkflowJob, WorkflowJobEvent
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess


class JobStatus:
    """Asks GitHub about single jobs.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session
        self._runners = Runners(session)

    def job(self, repository: str, job_id: int) -> JobFacts | None:
        """Return what GitHub says of a job and its run; None if it does not find the job.

        Args:
            repository: `owner/name`.
            job_id: the job's id.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        access = ScopeAccess(Scope("repository", repository), None)
        base = f"{access.scope.api_path}/actions"
        try:
            about = self._session.call("GET", f"{base}/jobs/{job_id}", access).json
            with expecting(f"GitHub's answer to GET {base}/jobs/{job_id} is no job"):
                job = WorkflowJob.model_validate(about)
                status = str(about["status"])
                # GitHub gives a job that nothing has started a start, too: when it was queued.
                started_at = None if status == "queued" else _moment(about.get("started_at"))
                completed_at = _moment(about.get("completed_at"))
            answer = self._session.call("GET", f"{base}/runs/{job.run_id}", access)
            run = answer.json
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        with expecting(f"GitHub's answer to GET {base}/runs/{job.run_id} is no run"):
            owner = run["repository"]["owner"]
            event = WorkflowJobEvent(
                action="completed" if status == "completed" else "queued",
                workflow_job=job,
                repository=Repository.model_validate(run["repository"]),
                organization=Owner(login=owner["login"]) if owner.get("type") == "Organization" else None,
            )
            return JobFacts(
                event,
                status,
                str(run["status"]),
                started_at,
                completed_at,
                repository_id=int(run["repository"]["id"]),
                points_left=_number(answer.headers.get("x-ratelimit-remaining", "")),
            )

    def runner(self, access: ScopeAccess, name: str) -> Runner | None:
        """Return the runner of a name; None if there is none.

        Args:
            access: where it registers.
            name: its name.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        return next(iter(self._runners.named(access, [name])), None)


def _moment(value: Any) -> datetime | None:
    return None if value is None else moment_of(value)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
