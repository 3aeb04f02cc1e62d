"""The queued jobs of a repository, as GitHub lists them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.session import GitHubSession
from orchestrator.github.workflow_jobs import WorkflowJobs
from orchestrator.jobs.admission import Ignored, admit
from orchestrator.jobs.event import WorkflowJobEvent
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Job, JobPlan
from sandbox.github.state import Limits
from tests.builders import queued_job, settings
from tests.fakes import ManualClock

REPOSITORY = "acme/app"
LABELS = ("self-hosted", "linux")
DAY = timedelta(days=1)


@pytest.fixture
def jobs(session: GitHubSession) -> WorkflowJobs:
    """Return the workflow jobs that it reaches."""
    return WorkflowJobs(session)


def queued(jobs: WorkflowJobs, repository: str = REPOSITORY, installation: int | None = None) -> list[WorkflowJobEvent]:
    """Return the queued jobs of all steps."""
    return [event for events in jobs.queued(repository, installation) for event in events]


def looked_into(github: GitHub) -> list[int]:
    """Return the runs whose jobs were asked for since the last time, and forget the calls."""
    calls = [call.split()[1].split("/") for call in github.recorder.calls]
    github.recorder.clear()
    return [int(parts[6]) for parts in calls if parts[-1].partition("?")[0] == "jobs"]


def event_of(job: Job, **changes: Any) -> WorkflowJobEvent:
    """Return the delivery of a job."""
    about = {"id": job.id, "run_id": job.run_id, "labels": list(job.labels)}
    return workflow_job_event(json.dumps({**queued_job(), "workflow_job": about, **changes}).encode())


class TestQueuedJobs:
    """`WorkflowJobs.queued`."""

    def test_of_unfinished_runs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Queued jobs are found in runs that are queued, in progress, or waiting for an approval; no others."""
        alone = github.queue_job(REPOSITORY, LABELS)
        started = github.queue_run(REPOSITORY, [JobPlan(LABELS, name="done"), JobPlan(LABELS, name="open")])
        github.cancel_job(started.jobs[0].id)
        held = github.queue_run(
            REPOSITORY, [JobPlan(LABELS, name="held", environment="production"), JobPlan(LABELS, name="free")]
        )
        github.queue_job(REPOSITORY, LABELS, environment="production")
        github.cancel_job(github.queue_job(REPOSITORY, LABELS).id)
        github.queue_job("acme/other", LABELS)
        found = {event.workflow_job.id for event in queued(jobs)}
        assert found == {alone.id, started.jobs[1].id, held.jobs[1].id}

    def test_beside_one_that_waits(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A queued job of a run that GitHub calls waiting is found."""
        run = github.queue_run(REPOSITORY, [JobPlan(LABELS, name="a"), JobPlan(LABELS, name="b")])
        whole = json.dumps({"total_count": 1, "workflow_runs": [github.payloads.run(run)]})
        github.faults.add(
            Fault("status", "GET */actions/runs", times=2, status=200, body='{"total_count": 0, "workflow_runs": []}'),
            Fault("status", "GET */actions/runs", status=200, body=whole),
        )
        assert len(queued(jobs)) == 2
        assert [e["url"].rpartition("status=")[2].partition("&")[0] for e in github.recorder.exchanges[:3]] == [
            "queued",
            "in_progress",
            "waiting",
        ]

    def test_as_the_webhook_tells(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """An event from the list holds what the delivery of the same job holds."""
        job = github.queue_job(REPOSITORY, LABELS, name="build (1)")
        (event,) = queued(jobs, installation=77)
        assert (event.action, event.workflow_job.id, event.workflow_job.run_attempt) == ("queued", job.id, 1)
        assert (event.workflow_job.name, event.workflow_job.labels) == ("build (1)", LABELS)
        assert event.workflow_job.created_at is not None
        assert (event.repository.full_name, event.repository.is_public) == (REPOSITORY, False)
        assert event.organization is not None
        assert event.organization.login == "acme"
        assert event.installation is not None
        assert event.installation.id == 77

    def test_of_a_user(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A user's repository has no organization, and one that is public is told as such."""
        github.add_repository("mona/app", owner_type="User", private=False)
        github.queue_job("mona/app", LABELS)
        (event,) = queued(jobs, "mona/app")
        assert (event.organization, event.installation, event.repository.is_public) == (None, None, True)

    def test_many_runs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Runs are read over all pages, each run's jobs once."""
        for _ in range(120):
            github.queue_job(REPOSITORY, LABELS)
        assert len(queued(jobs)) == 120
        assert len(github.recorder.calls) == 2 + 1 + 1 + 120

    def test_many_jobs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run's jobs are read over all pages."""
        github.queue_run(REPOSITORY, [JobPlan(LABELS, name=f"build ({number})") for number in range(250)])
        assert len(queued(jobs)) == 250

    def test_latest_attempt(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Of a run that was started again only the last attempt counts."""
        job = github.queue_job(REPOSITORY, LABELS)
        github.cancel_job(job.id)
        again = github.rerun(job.run_id)
        (event,) = queued(jobs)
        assert (event.workflow_job.id, event.workflow_job.run_attempt) == (again.latest[0].id, 2)

    def test_zombie(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A job that still says queued in a run that has ended is not demand, wherever it is asked about."""
        job = zombie(github)
        assert github.job(job.id).status == "queued"
        assert queued(jobs) == []
        assert jobs.is_queued(event_of(job)) is False

    def test_trouble_with_one_run(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """When one run's jobs cannot be read, there is an error and no shorter list."""
        for _ in range(3):
            github.queue_job(REPOSITORY, LABELS)
        github.faults.add(Fault("status", "GET */jobs", skip=1, status=502))
        with pytest.raises(TransientError, match="502"):
            queued(jobs)

    def test_endless_names(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Neither a long name nor odd labels leave a job out, or hide the others."""
        odd = [("self-hosted", "x" * 300), LABELS, [f"label-{number}" for number in range(150)], LABELS]
        made = [github.queue_job(REPOSITORY, labels, name="x" * 2000) for labels in odd]
        assert {event.workflow_job.id for event in queued(jobs)} == {job.id for job in made}

    @pytest.mark.parametrize("labels", ["null", "[null, 7]", '["self-hosted", "\\ud800"]'])
    def test_odd_labels(self, github: GitHub, jobs: WorkflowJobs, labels: str) -> None:
        """A job whose labels cannot be read is told with labels that no profile serves."""
        github.queue_job(REPOSITORY, LABELS)
        entry = f'{{"status": "queued", "id": 1, "run_id": 1, "labels": {labels}}}'
        github.faults.add(Fault("status", "GET */jobs", status=200, body=f'{{"jobs": [{entry}]}}'))
        (event,) = queued(jobs)
        assert isinstance(admit(event, settings()), Ignored)

    @pytest.mark.parametrize(
        "entry", ['{"status": "queued"}', '{"status": "queued", "id": 0, "run_id": 1, "labels": []}', "{}", "1"]
    )
    def test_another_shape(self, github: GitHub, jobs: WorkflowJobs, entry: str) -> None:
        """A job of another shape is transient trouble, and not left out."""
        github.queue_job(REPOSITORY, LABELS)
        github.faults.add(Fault("status", "GET */jobs", status=200, body=f'{{"jobs": [{entry}]}}'))
        with pytest.raises(TransientError, match="holds no jobs"):
            queued(jobs)

    @pytest.mark.parametrize("permissions", [{}, {"metadata": "read"}])
    def test_no_permission(self, github: GitHub, github_url: str, permissions: dict[str, str]) -> None:
        """Without *Actions: read* the error says what to look at, and the token is not tried again."""
        github.add_token("ghp_few", permissions=permissions)
        session = GitHubSession(GitHubClient(github_url), PersonalToken("ghp_few"))
        with pytest.raises(GitHubRefused, match="may the credentials do that for repository acme/app"):
            queued(WorkflowJobs(session))
        assert github.recorder.statuses == [403]

    def test_more_than_github_lists(self, github: GitHub, session: GitHubSession) -> None:
        """Where GitHub may have cut off its list, the jobs of the listed runs are told, and then the trouble."""
        jobs = WorkflowJobs(session, most_runs=2)
        github.queue_job(REPOSITORY, LABELS)
        assert len(queued(jobs)) == 1
        github.queue_job(REPOSITORY, LABELS)
        steps = jobs.queued(REPOSITORY, None)
        assert [len(next(steps)) for _ in range(5)] == [0, 0, 0, 1, 1]
        with pytest.raises(TransientError, match="more unfinished runs than GitHub lists"):
            next(steps)

    def test_each_step_is_one_call(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Whoever counts the steps counts the calls, pages included."""
        github.queue_run(REPOSITORY, [JobPlan(LABELS, name=f"build ({number})") for number in range(150)])
        for number, _ in enumerate(jobs.queued(REPOSITORY, None), start=1):
            assert len(github.recorder.calls) == number
        assert len(github.recorder.calls) == 5

    def test_looks_that_are_not_finished(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A look begins after the run that the last one had come to; after a whole look it begins with the oldest."""
        runs = [github.queue_job(REPOSITORY, LABELS).run_id for _ in range(5)]
        for expected in (runs[:2], runs[2:4], [runs[4], runs[0]]):
            assert len(list(islice(jobs.queued(REPOSITORY, None), 3 + 2))) == 5
            assert looked_into(github) == expected
        assert len(queued(jobs)) == 5
        assert looked_into(github) == [*runs[1:], runs[0]]
        assert len(queued(jobs)) == 5
        assert looked_into(github) == runs

    def test_trouble_moves_on(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run that cannot be read is not the first one of the next look."""
        runs = [github.queue_job(REPOSITORY, LABELS).run_id for _ in range(2)]
        github.faults.add(Fault("status", "GET */jobs", status=502))
        with pytest.raises(TransientError):
            queued(jobs)
        assert looked_into(github) == runs[:1]
        assert len(queued(jobs)) == 2
        assert looked_into(github) == [runs[1], runs[0]]

    def test_runs_that_wait_for_an_approval(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run that only waits for an approval is looked into once, and again when it has changed."""
        held = [github.queue_job(REPOSITORY, LABELS, environment="production") for _ in range(3)]
        assert queued(jobs) == []
        assert looked_into(github) == [job.run_id for job in held]
        github.approve(held[1].id)
        assert [event.workflow_job.id for event in queued(jobs)] == [held[1].id]
        assert looked_into(github) == [held[1].run_id]

    def test_a_change_of_a_run_that_waits(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run that GitHub still calls waiting is looked into when `updated_at` is another, or is not there."""
        job = github.queue_job(REPOSITORY, LABELS, environment="production")
        queued(jobs)
        run = github.payloads.run(github.state.run(job.run_id))
        nothing = Fault("status", "GET */actions/runs", times=2, status=200, body='{"workflow_runs": []}')
        for updated_at, looks in (("2026-11-25T12:00:00Z", 1), ("2026-11-25T12:00:00Z", 0), (None, 1), (None, 1)):
            body = json.dumps({"workflow_runs": [run | {"updated_at": updated_at}]})
            github.faults.add(replace(nothing), Fault("status", "GET */actions/runs", status=200, body=body))
            looked_into(github)
            queued(jobs)
            assert looked_into(github) == [job.run_id] * looks

    def test_a_run_that_waits_beside_a_queued_job(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run that GitHub calls waiting is looked into in each pass for as long as it has a queued job."""
        run = github.queue_run(REPOSITORY, [JobPlan(LABELS, name="a"), JobPlan(LABELS, name="b")])
        whole = json.dumps({"workflow_runs": [github.payloads.run(run) | {"status": "waiting"}]})
        for _ in range(2):
            github.faults.add(Fault("status", "GET */actions/runs", times=2, status=200, body='{"workflow_runs": []}'),
                              Fault("status", "GET */actions/runs", status=200, body=whole))  # fmt: skip
            assert len(queued(jobs)) == 2

    def test_memory_of_waiting_runs(self, github: GitHub, session: GitHubSession) -> None:
        """Of more runs than may be remembered, those that were looked into long ago are forgotten."""
        jobs = WorkflowJobs(session, remembered_runs=2)
        held = [github.queue_job(REPOSITORY, LABELS, environment="production").run_id for _ in range(3)]
        queued(jobs)
        looked_into(github)
        queued(jobs)
        assert looked_into(github) == held[:1]


class TestLookBack:
    """`WorkflowJobs.queued` where old runs may be overlooked."""

    def test_one_call(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Where nothing has run since yesterday it takes one call, which costs nothing when it is made again."""
        for _ in range(2):
            assert list(jobs.queued(REPOSITORY, None, look_back=DAY)) == [()]
        assert github.recorder.statuses == [200, 304]

    def test_new_runs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """The queued jobs of new runs are found, and only unfinished runs are looked into."""
        done = github.queue_job(REPOSITORY, LABELS)
        github.cancel_job(done.id)
        job = github.queue_job(REPOSITORY, LABELS)
        events = [event for page in jobs.queued(REPOSITORY, None, look_back=DAY) for event in page]
        assert [event.workflow_job.id for event in events] == [job.id]
        assert len(github.recorder.calls) == 2

    def test_old_runs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A run that was created before yesterday is overlooked."""
        now = github.clock()
        github.state.limits = Limits(queued=4 * 86_400)
        github.clock = lambda: now - 3 * 86_400
        github.queue_job(REPOSITORY, LABELS)
        github.clock = lambda: now
        assert list(jobs.queued(REPOSITORY, None, look_back=DAY)) == [()]
        assert len(queued(jobs)) == 1

    def test_five_weeks(self, github: GitHub, session: GitHubSession) -> None:
        """A look over five weeks finds what a day's overlooks, and asks the same question for a week."""
        monday = datetime(2027, 1, 11, tzinfo=UTC)
        jobs, clock = WorkflowJobs(session), ManualClock(monday - timedelta(days=20))
        session.clock = clock
        github.clock = lambda: clock().timestamp()
        github.state.limits = Limits(queued=50 * 86_400)
        github.queue_job(REPOSITORY, LABELS)
        clock.advance(timedelta(days=20))
        for pause in (0, 6, 1):
            clock.advance(timedelta(days=pause))
            found = [event for page in jobs.queued(REPOSITORY, None, look_back=timedelta(days=35)) for event in page]
            assert len(found) == 1
        assert github.recorder.statuses == [200, 200, 304, 304, 200, 304]

    def test_another_process(self, github: GitHub, github_url: str, session: GitHubSession) -> None:
        """With the ETag that one process was given, the next one's call costs nothing while no run is unfinished."""
        github.cancel_job(github.queue_job(REPOSITORY, LABELS).id)
        etags: dict[str, str] = {}
        list(WorkflowJobs(session).queued(REPOSITORY, None, look_back=DAY, etags=etags))
        (kept,) = etags.values()
        other = WorkflowJobs(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_sandbox")))
        for _ in range(2):
            assert list(other.queued(REPOSITORY, None, look_back=DAY, etags=etags)) == [()]
            assert list(etags.values()) == [kept]
        assert github.recorder.statuses == [200, 304, 304]
        job = github.queue_job(REPOSITORY, LABELS)
        events = [event for page in other.queued(REPOSITORY, None, look_back=DAY, etags=etags) for event in page]
        assert [event.workflow_job.id for event in events] == [job.id]
        assert not etags, "what it lists is needed"

    def test_kept_for_another_day(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """An ETag counts for the question that it answered, and for no other."""
        etags = {">=2026-01-01": 'W/"other"'}
        list(jobs.queued(REPOSITORY, None, look_back=DAY, etags=etags))
        assert github.recorder.statuses == [200]
        assert len(etags) == 1
        assert ">=2026-01-01" not in etags

    def test_too_many_runs(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Where more runs are new than a page holds, the unfinished ones are asked for instead."""
        oldest = github.queue_job(REPOSITORY, LABELS)
        for _ in range(100):
            github.cancel_job(github.queue_job(REPOSITORY, LABELS).id)
        etags: dict[str, str] = {}
        events = [event for page in jobs.queued(REPOSITORY, None, look_back=DAY, etags=etags) for event in page]
        assert [event.workflow_job.id for event in events] == [oldest.id]
        assert len(github.recorder.calls) == 1 + 3 + 1
        assert not etags
        list(jobs.queued(REPOSITORY, None, look_back=DAY))
        assert len(github.recorder.calls) == 5 + 3 + 1, "the list that was too long is not read again"


class TestCurrent:
    """`WorkflowJobs.current`."""

    def test_one_call(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """What became of a job is told by one call."""
        job = github.queue_job(REPOSITORY, LABELS)
        assert jobs.current(event_of(job)).conclusion is None
        github.cancel_job(job.id)
        github.recorder.clear()
        found = jobs.current(event_of(job))
        assert (found.id, found.conclusion, found.had_runner) == (job.id, "cancelled", False)
        assert github.recorder.calls == [f"GET /repos/{REPOSITORY}/actions/jobs/{job.id} -> 200"]

    def test_trouble(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """A job that GitHub does not find, or an answer that is none, is an error and no job."""
        job = github.queue_job(REPOSITORY, LABELS)
        with pytest.raises(GitHubRefused, match="404"):
            jobs.current(event_of(replace(job, id=4711)))
        for fault in (Fault("status", status=502), Fault("status", status=200, body="[]")):
            github.faults.add(fault)
            with pytest.raises(TransientError):
                jobs.current(event_of(job))


class TestIsQueued:
    """`WorkflowJobs.is_queued`."""

    def test_while_it_is(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """True while the job waits, false once it has ended."""
        job = github.queue_job(REPOSITORY, LABELS)
        assert jobs.is_queued(event_of(job)) is True
        github.cancel_job(job.id)
        assert jobs.is_queued(event_of(job)) is False

    def test_deleted(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """False for a job that is not there, although the credentials may see the repository's jobs."""
        job = github.queue_job(REPOSITORY, LABELS)
        assert jobs.is_queued(event_of(replace(job, id=4711))) is False

    def test_unseen(self, github: GitHub, github_url: str, jobs: WorkflowJobs) -> None:
        """None where the credentials may not see the job, and where GitHub hides the whole repository."""
        job = github.queue_job(REPOSITORY, LABELS)
        github.faults.add(Fault("status", times=2, status=404, body='{"message": "Not Found"}'))
        assert jobs.is_queued(event_of(job)) is None
        github.add_token("ghp_few", permissions={})
        assert (
            WorkflowJobs(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_few"))).is_queued(event_of(job))
            is None
        )

    def test_of_an_installation(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """The installation that the delivery names is used, without looking it up."""
        app = github.add_app(app_keys[1])
        installation = github.install(app, "acme")
        client = GitHubClient(github_url)
        jobs = WorkflowJobs(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
        job = github.queue_job(REPOSITORY, LABELS)
        assert jobs.is_queued(event_of(job, installation={"id": installation.id})) is True
        assert github.recorder.calls[0] == f"POST /app/installations/{installation.id}/access_tokens -> 201"

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("status", status=502),
            Fault("status", status=200, body="[]"),
            Fault("status", status=200, body='{"status": null}'),
        ],
    )
    def test_trouble(self, github: GitHub, jobs: WorkflowJobs, fault: Fault) -> None:
        """Trouble is no answer."""
        job = github.queue_job(REPOSITORY, LABELS)
        github.faults.add(replace(fault))
        with pytest.raises(TransientError):
            jobs.is_queued(event_of(job))

    def test_refused(self, github: GitHub, jobs: WorkflowJobs) -> None:
        """Another refusal is reported as it is."""
        github.faults.add(Fault("status", status=451, body='{"message": "no"}'))
        with pytest.raises(GitHubRefused, match="451"):
            jobs.is_queued(event_of(github.queue_job(REPOSITORY, LABELS)))


def zombie(github: GitHub) -> Job:
    """Return a job that is queued for ever in a run that has ended."""
    job = github.queue_job(REPOSITORY, LABELS)
    with github.lock:
        run = github.state.run(job.run_id)
        run.jobs.append(replace(run.jobs[0], id=999_999_999, run_attempt=2, status="completed", conclusion="failure"))
        run.attempt = 2
    return job
