"""One repository with many runs beside another one, in passes that ask the GitHub stand-in for jobs."""

from datetime import UTC, datetime, timedelta

from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import PersonalToken
from orchestrator.github.session import GitHubSession
from orchestrator.github.workflow_jobs import WorkflowJobs
from orchestrator.reconcile.job_search import CALLS_PER_REPOSITORY
from orchestrator.reconcile.progress import Progress
from sandbox.github import GitHub
from tests.builders import settings
from tests.fakes import ManualClock
from tests.unit.reconcile.fakes import FakeUpstream
from tests.unit.reconcile.passes import reconciler

LABELS = ("self-hosted", "ubuntu-latest")


def no_time(_seconds: float) -> None:
    """Wait for nothing: the clock stands still."""
    raise AssertionError


def test_many_runs(github: GitHub, github_url: str) -> None:
    """A repository with more runs than a minute has calls delays no other one, and the next pass goes on with it."""
    for name in ("acme/evil", "acme/app"):
        github.add_repository(name)
    labels_of_nobody = ("self-hosted", "nobody")
    oldest = [github.queue_job("acme/evil", labels_of_nobody) for _ in range(CALLS_PER_REPOSITORY)]
    own = github.queue_job("acme/evil", LABELS)
    for _ in range(460 - len(oldest)):
        github.queue_job("acme/evil", labels_of_nobody)
    missed = github.queue_job("acme/app", LABELS)
    clock = ManualClock(datetime.fromtimestamp(github.clock(), UTC) + timedelta(minutes=10))
    session = GitHubSession(GitHubClient(github_url, clock), PersonalToken("ghp_sandbox"), background=True)
    upstream, progress = FakeUpstream(clock), Progress()
    make = reconciler(
        settings(ReconcileRepositories="acme/evil,acme/app"), upstream, WorkflowJobs(session).queued, clock, no_time
    )
    make.run((), clock(), progress)
    assert upstream.done == [f"start runner-{missed.id}-1"]
    assert len(github.recorder.calls) <= CALLS_PER_REPOSITORY + 1 + 4
    clock.advance(timedelta(minutes=5))
    make.run((), clock(), progress)
    assert f"start runner-{own.id}-1" in upstream.done
