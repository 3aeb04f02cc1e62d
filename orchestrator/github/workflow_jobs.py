"""The jobs of a repository that wait for a runner, as GitHub's API lists them; webhooks may have missed some.

Source: GitHub REST API, "Workflow runs" and "Workflow jobs".
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import expecting, text
from orchestrator.github.session import PAGE_SIZE, GitHubSession
from orchestrator.jobs.event import Installation, Owner, Repository, WorkflowJob, WorkflowJobEvent
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runtime import MakeLock

# A run that has jobs in progress, or one that waits for an approval, may have other jobs that are queued. A job that
# still says "queued" in a run that has ended never runs, so ended runs are not read.
UNFINISHED_STATUSES = ("queued", "in_progress", "waiting")
# A look back over so long begins on a Monday, a shorter one at the beginning of a day. So the question stays the same
# for a week or a day, and GitHub answers "not modified" in between.
_WEEK = timedelta(days=7)
# GitHub lists no more runs of one status than this, and does not say that there are others.
MOST_RUNS_LISTED = 1000
# Of so many runs that only wait for an approval it is remembered that they have no queued job.
REMEMBERED_RUNS = 10_000
# Characters of an ETag that is kept. GitHub's have 68.
_LONGEST_ETAG = 100


class WorkflowJobs:
    """The workflow jobs of any repository that the session's credential reaches (permission *Actions*: read).

    Safe under threads, if no two of them look into one repository.

    Args:
        session: makes the calls.
        most_runs: a list of so many runs may not be complete.
        remembered_runs: see `REMEMBERED_RUNS`.
        lock: makes a lock.
    """

    def __init__(
        self,
        session: GitHubSession,
        *,
        most_runs: int = MOST_RUNS_LISTED,
        remembered_runs: int = REMEMBERED_RUNS,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._session = session
        self._most_runs = most_runs
        self._remembered_runs = remembered_runs
        self._lock = lock()
        # Where the last look into a repository that was not finished had come to: the run's id.
        self._reached: dict[str, int] = {}
        # The repositories whose runs did not fit on a page, each with how far the look went back.
        self._with_many: set[tuple[str, timedelta]] = set()
        # The runs that wait for an approval and have no queued job, each with the `updated_at` of that time.
        self._without_queued: OrderedDict[int, str] = OrderedDict()

    def queued(
        self,
        repository: str,
        installation: int | None,
        *,
        look_back: timedelta | None = None,
        etags: MutableMapping[str, str] | None = None,
    ) -> Iterator[Sequence[WorkflowJobEvent]]:
        """Yield the queued jobs of a repository's unfinished runs, each as the event that its webhook delivers.

        Each step is one call to GitHub. Whoever takes the steps may stop after any of them: the next look then begins
        with the run after the one where this one had come to. It does so after an error, too.

        Args:
            repository: `owner/name`.
            installation: the App's installation, where it is known.
            look_back: a run that was created longer ago may be overlooked. Then one call lists the unfinished runs
                instead of three, if a page holds all runs of this time; None to overlook nothing.
            etags: of that call's answer while no run is unfinished, by what it asked for; it is brought up to date.
                Whoever keeps it spares the next process a call that GitHub counts.

        Raises:
            UpstreamError: GitHub does not list them, or not all of them.
        """
        access = ScopeAccess(Scope("repository", repository), installation)
        path = f"/repos/{repository}/actions/runs"
        runs: dict[int, _Run] = {}
        is_cut_off = False
        is_listed = look_back is not None and (repository, look_back) not in self._with_many
        if look_back is not None and is_listed:
            page = self._created_since(self._session.clock() - look_back, path, access, {} if etags is None else etags)
            runs = dict(run for run in page if run is not None)
            is_listed = len(page) < PAGE_SIZE
            if not is_listed:
                self._with_many.add((repository, look_back))
            yield ()
        for status in () if is_listed else UNFINISHED_STATUSES:
            found: dict[int, _Run] = {}
            pages = self._session.pages(
                path, access, _run, key="workflow_runs", params={"status": status}, remembered=True
            )
            for each in pages:
                found |= each
                yield ()
            is_cut_off = is_cut_off or len(found) >= self._most_runs
            runs |= found
        for number in self._in_turn(repository, runs):
            self._reached[repository] = number
            has_queued = False
            for events in self._queued_of(access, number, runs[number]):
                has_queued = has_queued or bool(events)
                yield events
            if runs[number].waits and not has_queued:
                self._remember(number, runs[number])
        self._reached.pop(repository, None)
        if is_cut_off:
            raise TransientError(f"{repository} has more unfinished runs than GitHub lists")

    def _created_since(
        self, moment: datetime, path: str, access: ScopeAccess, etags: MutableMapping[str, str]
    ) -> Sequence[tuple[int, "_Run"] | None]:
        """Return the newest runs, None for each that has ended; a page of them."""
        if self._session.clock() - moment >= _WEEK:
            moment -= timedelta(days=moment.weekday())
        created = f">={moment:%Y-%m-%d}"
        page = self._session.first_page(
            path,
            access,
            _run_if_unfinished,
            key="workflow_runs",
            params={"created": created},
            empty=etags.get(created, ""),
        )
        etags.clear()
        if not any(page.entries) and len(page.entries) < PAGE_SIZE and 0 < len(page.etag) <= _LONGEST_ETAG:
            etags[created] = page.etag
        return page.entries

    def _in_turn(self, repository: str, runs: "Mapping[int, _Run]") -> Iterable[int]:
        """Return the runs to look into, the oldest first, but begin after the one that the last look had come to."""
        reached = self._reached.get(repository, 0)
        with self._lock:
            unknown = [n for n, run in runs.items() if not run.waits or self._without_queued.get(n) != run.updated_at]
        return sorted(unknown, key=lambda number: (number <= reached, number))

    def _remember(self, number: int, run: "_Run") -> None:
        with self._lock:
            self._without_queued.pop(number, None)
            self._without_queued[number] = run.updated_at
            if len(self._without_queued) > self._remembered_runs:
                self._without_queued.popitem(last=False)

    def is_queued(self, event: WorkflowJobEvent) -> bool | None:
        """Return whether an event's job waits for a runner now; None if the credentials may not see the job.

        A job that still says "queued" although its run has ended does not wait, and neither does one that GitHub does
        not find among the jobs that the credentials may see: its run was deleted.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        repository = event.repository.full_name
        access = ScopeAccess(Scope("repository", repository), event.installation_id)
        job = f"/repos/{repository}/actions/jobs/{event.workflow_job.id}"
        run = f"/repos/{repository}/actions/runs/{event.workflow_job.run_id}"
        try:
            return self._status(job, access) == "queued" and self._status(run, access) != "completed"
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND and self._may_see_jobs(access):
                return False
            if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                return None
            raise

    def current(self, event: WorkflowJobEvent) -> WorkflowJob:
        """Return an event's job as it is now, in one call.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        access = ScopeAccess(Scope("repository", event.repository.full_name), event.installation_id)
        path = f"{access.scope.api_path}/actions/jobs/{event.workflow_job.id}"
        response = self._session.call("GET", path, access)
        with expecting(f"GitHub's answer to GET {path} is no job"):
            return WorkflowJob.model_validate(response.json)

    def _may_see_jobs(self, access: ScopeAccess) -> bool:
        """Return whether the credentials may see a repository's jobs; GitHub answers 404 for what they may not see."""
        try:
            self._session.call("GET", f"{access.scope.api_path}/actions/runs", access, params={"per_page": "1"})
        except GitHubRefused:
            return False
        return True

    def _status(self, path: str, access: ScopeAccess) -> str:
        response = self._session.call("GET", path, access)
        with expecting(f"GitHub's answer to GET {path} has no status"):
            return text(response.json["status"])

    def _queued_of(self, access: ScopeAccess, number: int, run: "_Run") -> Iterator[list[WorkflowJobEvent]]:
        path = f"{access.scope.api_path}/actions/runs/{number}/jobs"
        installation = Installation(id=access.installation) if access.installation else None
        for page in self._session.pages(path, access, _job, key="jobs", params={"filter": "latest"}, remembered=True):
            yield [
                WorkflowJobEvent(
                    action="queued",
                    workflow_job=job,
                    repository=run.repository,
                    organization=run.organization,
                    installation=installation,
                )
                for job in page
                if job is not None
            ]


class _Run(NamedTuple):
    """What is read of a run.

    Attributes:
        repository: its repository.
        organization: the repository's owner, if that is one.
        waits: whether it waits for an approval.
        updated_at: when it changed last, as GitHub writes it; empty where GitHub does not say.
    """

    repository: Repository
    organization: Owner | None
    waits: bool
    updated_at: str


def _run(entry: Any) -> tuple[int, _Run]:
    repository = entry["repository"]
    owner = repository["owner"]
    organization = Owner(login=owner["login"]) if owner.get("type") == "Organization" else None
    updated_at = str(entry.get("updated_at") or "")
    waits = entry.get("status") == "waiting" and updated_at != ""
    return int(entry["id"]), _Run(Repository.model_validate(repository), organization, waits, updated_at)


def _run_if_unfinished(entry: Any) -> tuple[int, _Run] | None:
    return _run(entry) if entry["status"] in UNFINISHED_STATUSES else None


def _job(entry: Any) -> WorkflowJob | None:
    """Read a queued job; None for any other job."""
    return WorkflowJob.model_validate(entry) if entry["status"] == "queued" else None
