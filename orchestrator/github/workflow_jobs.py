"""The jobs of a repository that wait for a runner, as GitHub's API lists them; webhooks may have missed some.

Source: GitHub REST API, "Workflow runs" and "Workflow jobs".
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import expecting
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.event import Installation, Owner, Repository, WorkflowJob, WorkflowJobEvent
from orchestrator.runners.scope import Scope, ScopeAccess

# A run that has jobs in progress, or one that waits for an approval, may have other jobs that are queued. A job that
# still says "queued" in a run that has ended never runs, so ended runs are not read.
UNFINISHED_STATUSES = ("queued", "in_progress", "waiting")
# GitHub lists no more runs of one status than this, and does not say that there are others.
MOST_RUNS_LISTED = 1000


class WorkflowJobs:
    """The workflow jobs of any repository that the session's credential reaches (permission *Actions*: read).

    Args:
        session: makes the calls.
        most_runs: a list of so many runs may not be complete.
    """

    def __init__(self, session: GitHubSession, *, most_runs: int = MOST_RUNS_LISTED) -> None:
        self._session = session
        self._most_runs = most_runs

    def queued(self, repository: str, installation: int | None) -> list[WorkflowJobEvent]:
        """Return the queued jobs of a repository's unfinished runs, each as the event that its webhook delivers.

        Args:
            repository: `owner/name`.
            installation: the App's installation, where it is known.

        Raises:
            UpstreamError: GitHub does not list them, or not all of them.
        """
        access = ScopeAccess(Scope("repository", repository), installation)
        runs: dict[int, _Run] = {}
        for status in UNFINISHED_STATUSES:
            path = f"/repos/{repository}/actions/runs"
            found = dict(self._session.listing(path, access, "workflow_runs", _run, params={"status": status}))
            if len(found) >= self._most_runs:
                raise TransientError(f"{repository} has more unfinished runs than GitHub lists")
            runs |= found
        return [event for number, run in runs.items() for event in self._queued_of(access, number, run)]

    def is_queued(self, event: WorkflowJobEvent) -> bool | None:
        """Return whether an event's job waits for a runner now; None if the credentials may not see the job.

        A job that still says "queued" although its run has ended does not wait.

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
            if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                return None
            raise

    def _status(self, path: str, access: ScopeAccess) -> str:
        response = self._session.call("GET", path, access)
        with expecting(f"GitHub's answer to GET {path} has no status"):
            return str(response.json["status"])

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
    """Read a queued job; None for any other job."""
    return WorkflowJob.model_validate(entry) if entry["status"] == "queued" else None
