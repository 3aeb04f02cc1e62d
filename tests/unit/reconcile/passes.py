"""Passes over a GitHub and a Batch that are made up."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.at_once import AtOnce
from orchestrator.reconcile.findings import Findings
from orchestrator.reconcile.job_search import JobSearch, QueuedJobs
from orchestrator.reconcile.progress import Progress
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.time_left import TimeLeft
from orchestrator.runners.notes import Origin
from orchestrator.runners.task import TaskState, task_id
from tests.builders import queued_job, settings, task_state
from tests.fakes import Immediately, ManualClock
from tests.unit.reconcile.fakes import FakeUpstream

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LABELS = frozenset({"self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"})


def event(
    number: int, full_name: str = "acme/app", queued_at: str = "2026-11-25T11:50:00Z", **changes: Any
) -> WorkflowJobEvent:
    """Return a job that was queued ten minutes ago, or at another time."""
    owner, name = full_name.split("/")
    job = queued_job()["workflow_job"] | {"id": number, "created_at": queued_at}
    about = {
        "workflow_job": job,
        "repository": queued_job()["repository"] | {"name": name, "full_name": full_name, "owner": {"login": owner}},
        "organization": {"login": owner},
    }
    return workflow_job_event(json.dumps(queued_job(**about | changes)).encode())


def task(number: int, state: Any = "waiting", repository: str = "acme/app", **changes: Any) -> TaskState:
    """Return a task of ten minutes' age."""
    about = event(number, repository)
    at = NOW - timedelta(minutes=10)
    values: dict[str, Any] = {
        "ended_at": at if state == "finished" else None,
        "origin": Origin(event=about, profile="ubuntu-latest"),
        "url": f"https://github.com/{repository.split('/', maxsplit=1)[0]}",
        "labels": tuple(LABELS),
    }
    return task_state(task_id(about.workflow_job), "batchLinux", state, at, **values | changes)


def reconciler(
    configured: Settings,
    upstream: FakeUpstream,
    queued_jobs: QueuedJobs,
    clock: ManualClock,
    sleep: Callable[[float], None],
    *,
    app: bool = False,
    **options: Any,
) -> Reconciler:
    """Return what makes passes, one thing after another; unless the options say otherwise, without quotas."""
    options = {
        "within_quota": lambda _event, _profile, start: start(),
        "held": lambda _event, _profile: None,
        "requests_left": lambda: None,
    } | options
    at_once, time_left = AtOnce(Immediately(), 1), TimeLeft(clock, sleep)
    search = JobSearch(
        configured,
        queued_jobs=queued_jobs,
        boundary=upstream,
        installations=upstream.installations if app else None,
        lists=upstream,
        at_once=at_once,
        time_left=time_left,
    )
    return Reconciler(
        configured,
        tasks=upstream,
        search_jobs=search.run,
        runners=upstream,
        start=upstream.start,
        accounts=upstream,
        retention=timedelta(days=7),
        clock=clock,
        time_left=time_left,
        at_once=at_once,
        **options,
    )


class FakePasses:
    """Passes over a GitHub and a Batch that are made up.

    Attributes:
        progress: how far they have come.
        slept: the seconds that were waited for.
    """

    def __init__(self, configured: Settings | None = None, *, app: bool = False, **options: Any) -> None:
        self.clock = ManualClock(NOW)
        self.upstream = FakeUpstream(self.clock)
        self.progress = Progress()
        self.slept: list[float] = []
        self.reconciler = reconciler(
            configured or settings(), self.upstream, self.upstream.queued, self.clock, self.sleep, app=app, **options
        )

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))

    def run(self, *tasks: TaskState) -> Findings:
        """Make a pass, and return what it found."""
        return self.reconciler.run(tasks, self.clock(), self.progress)
