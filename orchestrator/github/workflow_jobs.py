"""The jobs of a repository that wait for a runner: GitHub's own truth, beside what its webhooks tell.

Source: GitHub REST API, "Workflow runs" and "Workflow jobs".
"""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import understanding
from orchestrator.github.session import FORBIDDEN, NOT_FOUND, GitHubSession
from orchestrator.jobs.event import Installation, Owner, Repository, WorkflowJob, WorkflowJobEvent
from orchestrator.runners.scope import Scope, ScopeAccess

# A run that works on some jobs, or waits for the approval of one, may have others that are queued. The jobs of a run
# that has ended are not looked at: one that still says "queued" there will never run.
UNFINISHED = ("queued", "in_progress", "waiting")
# GitHub lists no more runs of one status, and does not say that there are others.
MOST_RUNS = 1000


class WorkflowJobs:
    """The workflow jobs of any repository that the session's credential reaches (permission *Actions*: read)."""

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def queued(self, repository: str, installation: int | None) -> list[WorkflowJobEvent]:
        """Return the queued jobs of a repository's unfinished runs, each as its webhook would have told of it.

        Args:
            repository: `owner/name`.
            installation: the App's installation, where it is known.

        Raises:
            UpstreamError: GitHub does not tell, or not all.
        """
        access = ScopeAccess(Scope("repository", repository), installation)
        runs: dict[int, _Run] = {}
        for status in UNFINISHED:
            path = f"/repos/{repository}/actions/runs"
            found = dict(self._session.listing(path, access, "workflow_runs", _run, params={"status": status}))
            if len(found) >= MOST_RUNS:
                raise TransientError(f"{repository} has more unfinished runs than GitHub lists")
            runs |= found
        return [event for number, run in runs.items() for event in self._queued_of(access, number, run)]

    def is_queued(self, event: WorkflowJobEvent) -> bool | None:
        """Return whether a job of an event waits for a runner now; None where the credentials may not know.

        A job that still says "queued" although its run has ended does not.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        repository = event.repository.full_name
        access = ScopeAccess(Scope("repository", repository), event.installation.id if event.installation else None)
        job = f"/repos/{repository}/actions/jobs/{event.workflow_job.id}"
        run = f"/repos/{repository}/actions/runs/{event.workflow_job.run_id}"
        try:
            return self._status(job, access) == "queued" and self._status(run, access) != "completed"
        except GitHubRefused as error:
            if error.status in (FORBIDDEN, NOT_FOUND):
                return None
            raise

    def _status(self, path: str, access: ScopeAccess) -> str:
        answer = self._session.call("GET", path, access)
        with understanding(f"GitHub's answer to GET {path} has no status"):
            return str(answer.json["status"])

    def _queued_of(self, access: ScopeAccess, run: int, about: "_Run") -> Iterator[WorkflowJobEvent]:
        path = f"{access.scope.api_path}/actions/runs/{run}/jobs"
        repository, organization = about
        installation = Installation(id=access.installation) if access.installation else None
        for job in self._session.listing(path, access, "jobs", _job, params={"filter": "latest"}):
            if job is not None:
                yield WorkflowJobEvent(
                    action="queued",
                    workflow_job=job,
                    repository=repository,
                    organization=organization,
                    installation=installation,
                )


type _Run = tuple[Repository, Owner | None]


def _run(entry: Any) -> tuple[int, _Run]:
    repository = entry["repository"]
    owner = repository["owner"]
    organization = Owner(login=owner["login"]) if owner.get("type") == "Organization" else None
    return int(entry["id"]), (Repository.model_validate(repository), organization)


def _job(entry: Any) -> WorkflowJob | None:
    """Read a queued job; None for any other, and for one whose delivery would not be taken either."""
    if entry["status"] != "queued":
        return None
    try:
        return WorkflowJob.model_validate(entry)
    except ValidationError as error:
        # Whoever writes a workflow chooses its names and labels, and must not hide the jobs of others by them.
        if {problem["type"] for problem in error.errors()} <= {"string_too_long", "too_long"}:
            return None
        raise
