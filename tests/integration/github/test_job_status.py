"""What GitHub says of one workflow job."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.explain.facts import DeliveryFacts, DeliverySearch, JobFacts
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.job_delivery import MOST_CALLS, JobDelivery
from orchestrator.github.job_status import JobStatus
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.hooks import HookResponse
from sandbox.github.model import Job
from sandbox.github.model import Scope as HookScope

REPOSITORY = "acme/app"
LABELS = ("self-hosted", "linux")
ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)
URL = "http://x/api/ProvideActionsRunner?code=secret"


class Receiver:
    """Where the hooks point: it answers as told."""

    def __init__(self) -> None:
        self.answer = HookResponse("OK", 201, body='{"result": "created"}')

    def __call__(self, _url: str, _headers: Mapping[str, str], _body: bytes, _timeout: float) -> HookResponse:
        """Take one delivery."""
        return self.answer


@pytest.fixture
def receiver() -> Receiver:
    """Return a receiver that takes everything."""
    return Receiver()


@pytest.fixture
def clock() -> list[float]:
    """Return the time, to be set by hand."""
    return [1_790_000_000.0]


@pytest.fixture
def github(receiver: Receiver, clock: list[float]) -> GitHub:
    """Return a GitHub that delivers at once, in the thread that causes the event."""
    github = GitHub(clock=lambda: clock[0], deliver=lambda _, attempt: attempt(), send=receiver)
    github.add_repository(REPOSITORY)
    github.add_repository("acme/other")
    return github


@pytest.fixture
def status(session: GitHubSession) -> JobStatus:
    """Return what asks about jobs, with a token."""
    return JobStatus(session)


@pytest.fixture
def search(session: GitHubSession) -> JobDelivery:
    """Return what looks for deliveries, with a token."""
    return JobDelivery(session, app=False)


def known(status: JobStatus, job: Job) -> JobFacts:
    """Return what GitHub says of a job that it knows."""
    facts = status.job(REPOSITORY, job.id)
    assert facts is not None
    return facts


class TestJob:
    """`JobStatus.job`."""

    def test_queued(self, github: GitHub, status: JobStatus, clock: list[float]) -> None:
        """A queued job is told with its run and repository, in two calls."""
        job = github.queue_job(REPOSITORY, LABELS)
        facts = known(status, job)
        assert (facts.status, facts.run_status, facts.started_at, facts.completed_at) == (
            "queued",
            "queued",
            None,
            None,
        )
        event = facts.event
        assert (event.action, event.workflow_job.id, event.workflow_job.labels) == ("queued", job.id, LABELS)
        assert (event.repository.full_name, event.repository.is_public) == (REPOSITORY, False)
        assert event.organization is not None
        assert event.workflow_job.created_at == datetime.fromtimestamp(clock[0], UTC)
        assert len(github.recorder.calls) == 2

    def test_ended(self, github: GitHub, status: JobStatus) -> None:
        """A job that has ended is told with how."""
        job = github.queue_job(REPOSITORY, LABELS)
        github.cancel_job(job.id)
        facts = known(status, job)
        assert (facts.status, facts.event.action, facts.event.workflow_job.conclusion) == (
            "completed", "completed", "cancelled",
        )  # fmt: skip
        assert facts.completed_at is not None

    def test_unknown(self, github: GitHub, status: JobStatus) -> None:
        """None for a job that is not there; any other refusal is raised."""
        assert status.job(REPOSITORY, 4711) is None
        github.faults.add(Fault("status", status=403, body='{"message": "no"}'))
        with pytest.raises(GitHubRefused, match="403"):
            status.job(REPOSITORY, 4711)

    @pytest.mark.parametrize("calls", [1, 2])
    def test_odd_answers(self, github: GitHub, status: JobStatus, calls: int) -> None:
        """An answer of another shape is no answer."""
        job = github.queue_job(REPOSITORY, LABELS)
        path = ("*/jobs/*", "*/runs/*")[calls - 1]
        github.faults.add(Fault("status", f"GET {path}", status=200, body="[]"))
        with pytest.raises(TransientError):
            status.job(REPOSITORY, job.id)


class TestRunner:
    """`JobStatus.runner`."""

    def test_by_name(self, status: JobStatus, session: GitHubSession) -> None:
        """The runner of a name is found, and no other one."""
        for name in ("runner-1-1", "runner-1-1-r1"):
            body = {"name": name, "runner_group_id": 1, "labels": ["self-hosted"]}
            session.call("POST", "/orgs/acme/actions/runners/generate-jitconfig", ORGANIZATION, json=body)
        runner = status.runner(ORGANIZATION, "runner-1-1")
        assert runner is not None
        assert (runner.name, runner.online) == ("runner-1-1", False)
        assert status.runner(ORGANIZATION, "runner-2-1") is None


class TestDelivery:
    """`JobDelivery.search`."""

    @pytest.mark.parametrize("kind", ["organization", "repository", "app"])
    def test_answered(
        self, github: GitHub, github_url: str, app_keys: tuple[str, str], clock: list[float], kind: Any
    ) -> None:
        """The delivery of the job is found among those of its neighbours, whoever has the webhook."""
        client = GitHubClient(github_url, lambda: datetime.fromtimestamp(clock[0], UTC))
        if kind == "app":
            app = github.add_app(app_keys[1])
            github.install(app, "acme")
            github.add_hook(URL, None, app=app)
            session = GitHubSession(client, AppCredential(client, str(app.id), app_keys[0]))
        else:
            session = GitHubSession(client, PersonalToken("ghp_sandbox"))
            name = "acme" if kind == "organization" else REPOSITORY
            github.add_hook(URL, None, scope=HookScope(kind, name))
            github.add_hook("http://x/elsewhere", None, scope=HookScope(kind, name))
        github.queue_job("acme/other", LABELS)
        before, job, after = (github.queue_job(REPOSITORY, LABELS) for _ in range(3))
        github.cancel_job(after.id)
        found = JobDelivery(session, app=kind == "app").search(known(JobStatus(session), job))
        moment = datetime.fromtimestamp(clock[0], UTC)
        assert found == DeliverySearch(DeliveryFacts(moment, 201, "created"), complete=True)
        assert before.id != job.id

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (HookResponse("OK", 202, body='{"result": "kept", "reason": "GitHub does not answer"}'),
             (202, "kept", "GitHub does not answer")),
            (HookResponse("timed out", 504), (504, None, None)),
            (HookResponse("x", 502, body="<html>"), (502, None, None)),
            (HookResponse("x", 200, body="[1]"), (200, None, None)),
            (HookResponse("x", 200, body='{"result": 1, "reason": 2}'), (200, None, None)),
        ],
    )  # fmt: skip
    def test_answers(
        self, github: GitHub, status: JobStatus, search: JobDelivery, receiver: Receiver, answer: HookResponse,
        expected: tuple[int, str | None, str | None],
    ) -> None:  # fmt: skip
        """What the function answered is told; what something else answered only by its status."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        receiver.answer = answer
        found = search.search(known(status, github.queue_job(REPOSITORY, LABELS))).found
        assert found is not None
        assert (found.status, found.result, found.reason) == expected

    def test_redelivered(
        self, github: GitHub, status: JobStatus, search: JobDelivery, receiver: Receiver, clock: list[float]
    ) -> None:
        """The latest attempt counts."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        receiver.answer = HookResponse("x", 502)
        job = github.queue_job(REPOSITORY, LABELS)
        clock[0] += 60
        receiver.answer = HookResponse("OK", 201, body='{"result": "created"}')
        github.redeliver(github.deliveries[0])
        found = search.search(known(status, job)).found
        assert found is not None
        assert (found.status, found.result) == (201, "created")

    def test_no_webhook(self, github: GitHub, status: JobStatus, search: JobDelivery) -> None:
        """Where no webhook leads to the function, the search is not complete."""
        github.add_hook("http://x/elsewhere", None, scope=HookScope("organization", "acme"))
        job = github.queue_job(REPOSITORY, LABELS)
        assert search.search(known(status, job)) == DeliverySearch(None, complete=False)

    def test_no_right(self, github: GitHub, github_url: str, status: JobStatus, clock: list[float]) -> None:
        """Where the credentials may not list webhooks, the search is not complete."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        facts = known(status, github.queue_job(REPOSITORY, LABELS))
        github.add_token("ghp_few", permissions={"actions": "read"})
        client = GitHubClient(github_url, lambda: datetime.fromtimestamp(clock[0], UTC))
        few = JobDelivery(GitHubSession(client, PersonalToken("ghp_few")), app=False)
        assert few.search(facts) == DeliverySearch(None, complete=False)

    def test_of_a_user(self, github: GitHub, status: JobStatus, search: JobDelivery) -> None:
        """Where there is no organization, only the repository's webhooks are looked at."""
        facts = known(status, github.queue_job(REPOSITORY, LABELS))
        alone = replace(facts, event=facts.event.model_copy(update={"organization": None}))
        github.recorder.clear()
        assert search.search(alone) == DeliverySearch(None, complete=False)
        assert github.recorder.calls == ["GET /repos/acme/app/hooks -> 200"]

    def test_none(self, github: GitHub, status: JobStatus, search: JobDelivery, clock: list[float]) -> None:
        """Where the list reaches back to the job and nothing is about it, there was no delivery."""
        job = github.queue_job(REPOSITORY, LABELS)
        clock[0] += 30
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        for _ in range(2):
            github.queue_job(REPOSITORY, LABELS)
        assert search.search(known(status, job)) == DeliverySearch(None, complete=True)

    def test_too_many(self, github: GitHub, status: JobStatus, search: JobDelivery, clock: list[float]) -> None:
        """Of many deliveries only some are opened, and then the search is not complete."""
        job = github.queue_job(REPOSITORY, LABELS)
        clock[0] += 30
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        for _ in range(MOST_CALLS):
            github.queue_job(REPOSITORY, LABELS)
        facts = known(status, job)
        github.recorder.clear()
        assert search.search(facts) == DeliverySearch(None, complete=False)
        assert len(github.recorder.calls) == 2 + MOST_CALLS - 1

    @pytest.mark.parametrize("number", [0, 13, 59])
    def test_a_burst(self, github: GitHub, status: JobStatus, search: JobDelivery, number: int) -> None:
        """A job's delivery is found in a burst of sixty at the same second."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        jobs = [github.queue_job(REPOSITORY, LABELS) for _ in range(60)]
        facts = known(status, jobs[number])
        github.recorder.clear()
        assert search.search(facts).found is not None
        assert len(github.recorder.calls) <= 2 + MOST_CALLS

    def test_long_lists(self, github: GitHub, status: JobStatus, search: JobDelivery, clock: list[float]) -> None:
        """A list is read back to the job, and no further than some pages."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        for _ in range(150):
            github.queue_job("acme/other", LABELS)
        clock[0] += 600
        job = github.queue_job(REPOSITORY, LABELS)
        facts = known(status, job)
        github.recorder.clear()
        found = search.search(facts)
        assert found.found is not None
        assert found.complete
        assert len([call for call in github.recorder.calls if "/deliveries ->" in call]) == 1
        clock[0] += 600
        for _ in range(500):
            github.queue_job("acme/other", LABELS)
        assert search.search(facts) == DeliverySearch(None, complete=False)

    def test_a_job_without_a_time(self, github: GitHub, status: JobStatus, search: JobDelivery) -> None:
        """Where GitHub does not say when the job was queued, no search is complete."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        facts = known(status, github.queue_job(REPOSITORY, LABELS))
        job = facts.event.workflow_job.model_copy(update={"created_at": None, "id": 4711})
        timeless = JobFacts(facts.event.model_copy(update={"workflow_job": job}), "queued")
        assert search.search(timeless) == DeliverySearch(None, complete=False)

    def test_an_odd_delivery(self, github: GitHub, status: JobStatus, search: JobDelivery) -> None:
        """A delivery of another shape is not the job's."""
        github.add_hook(URL, None, scope=HookScope("organization", "acme"))
        facts = known(status, github.queue_job(REPOSITORY, LABELS))
        github.faults.add(Fault("status", "GET */deliveries/*", status=200, body=json.dumps({"request": None})))
        assert search.search(facts).found is None
