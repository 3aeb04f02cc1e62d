"""The whole application in one process, wired as in Azure, between the stand-ins."""

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from orchestrator.application import Application
from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.request_queue import POISON, REQUESTS
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.delivery.answer import Answer
from orchestrator.quotas import held_jobs
from orchestrator.reconcile.memory import decode
from orchestrator.result import Result
from orchestrator.runners.notes import TaskNotes
from orchestrator.runtime import Runtime
from sandbox.batch import Batch
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Scope as StandInScope
from sandbox.storage_queue import QueueService
from tests.builders import SECRET, delivery, queued_job
from tests.logs import lines
from tests.waiting import until

GPU = {"name": "gpu", "labels": ["gpu"], "pool": "still", "image": "gpu:1", "maxRunners": 1}

type Make = Callable[..., Application]

REGISTRATION = "POST /orgs/acme/actions/runners/registration-token"
TASK = "runner-29679449526-1"
TASK_JOB = job_id("still", "acme", "normal")


@pytest.fixture
def own_settings() -> dict[str, str]:
    """Return the settings of these applications."""
    return {
        "UbuntuPool": "still",
        "WindowsPool": "",
        "AllowedSources": "140.82.112.0/20",
    }


def receive(application: Application, **headers: Any) -> Answer:
    """Deliver a queued job."""
    return asyncio.run(application.receive(*delivery(queued_job(), **headers)))


def notes(batch: Batch) -> TaskNotes:
    """Return the notes of the job's task."""
    settings = batch.task_bodies()[TASK]["environmentSettings"]
    return TaskNotes.read({setting["name"]: setting["value"] for setting in settings})


@pytest.mark.parametrize("registration", ["token", "jit"])
def test_a_delivery(make: Make, batch: Batch, registration: str) -> None:
    """A queued job gets a task, with the registration that the settings ask for."""
    answer = receive(make(RunnerRegistration=registration))
    assert (answer.status, answer.body["task"]) == (201, TASK)
    assert notes(batch).registration == registration


def test_an_app(make: Make, github: GitHub, batch: Batch, app_keys: tuple[str, str]) -> None:
    """A GitHub App registers runners, and the control loop asks where it is installed."""
    private, public = app_keys
    app = github.add_app(public)
    github.install(app, "acme")
    application = make(GithubToken="", GithubAppId=str(app.id), GithubAppPrivateKey=private)
    assert receive(application).status == 201
    assert TASK in batch.task_bodies()
    application.reconcile()
    assert any(call.startswith("GET /app/installations") for call in github.recorder.calls)


def test_current_hook_ranges(make: Make, github: GitHub, batch: Batch) -> None:
    """A delivery from an address that GitHub publishes, and the release does not know, is served."""
    github.hook_ranges = ("203.0.113.0/24",)
    answer = receive(make(AllowedSources="github"), x_forwarded_for="203.0.113.9:1")
    assert answer.status == 201
    assert TASK in batch.task_bodies()


def test_kept_retried_given_up_and_revived(
    make: Make, github: GitHub, batch: Batch, queue: QueueService, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that GitHub cannot serve is kept; refused for good it is given up; put back, it gets its runner."""
    application = make()
    github.faults.add(
        Fault("status", REGISTRATION, status=503), Fault("status", REGISTRATION, status=422, body='{"message": "no"}')
    )
    assert receive(application).body["result"] == Result.KEPT
    (message,) = queue.texts(REQUESTS)
    application.retry(base64.b64decode(message))
    assert [line["result"] for level, line in lines(caplog) if level == "CRITICAL"] == [Result.GIVEN_UP]
    assert len(queue.texts(POISON)) == 1
    revived = asyncio.run(application.revive({}))
    assert (revived.status, revived.body) == (200, {"result": Result.REVIVED, "requests": 1, "left": 0})
    application.retry(base64.b64decode(queue.texts(REQUESTS)[-1]))
    assert TASK in batch.task_bodies()


def test_operators_call_from_their_network(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """With `OperatorSources` an operator's call from elsewhere is refused, whatever key it has, and logged."""
    application = make(OperatorSources="10.1.0.0/16, 192.0.2.7", TrustedProxies="10.0.0.4")
    for forwarded, status in {
        "10.1.2.3:5000": 200,
        "192.0.2.7:1, 10.0.0.4:2": 200,
        "10.1.2.3, 192.0.2.8:1": 403,
        "10.0.0.4:2": 403,
        "": 403,
    }.items():
        answer = asyncio.run(application.revive({"x-forwarded-for": forwarded}))
        assert answer.status == status, forwarded
    refused = [line for level, line in lines(caplog) if level == "WARNING"]
    assert [line["forwarded_for"] for line in refused] == ["10.1.2.3, 192.0.2.8:1", "10.0.0.4:2", ""]
    assert {line["reason"] for line in refused} == {"the caller's address is not among OperatorSources"}
    assert asyncio.run(make(OperatorSources="0.0.0.0/0").revive({})).status == 200


def test_nothing_can_be_revived_without_the_queue(make: Make, queue: QueueService) -> None:
    """While the queue does not answer, the operator is told so."""
    queue.faults.add(Fault("status", times=None, status=503))
    answer = asyncio.run(make().revive({}))
    assert (answer.status, answer.body["result"]) == (503, Result.FAILED)


def test_a_boost(make: Make, batch: Batch) -> None:
    """With `PoolBoost` the pool of a job that waits is enlarged at the next look."""
    application = make(PoolBoost="resize", UbuntuPool="linux")
    before = len(batch.recorder.calls)
    application.tend_pools()
    assert any("/pools/linux" in call for call in batch.recorder.calls[before:])


def finished_job(make: Make, **settings: str) -> Application:
    """Return an application that has started a runner, whose task is over, and has made a pass."""
    application = make(**settings)
    assert receive(application).status == 201
    RunnerTasks(BatchAccount.of(application._settings)).end("still", TASK)
    application.reconcile()
    return application


def environments_read(batch: Batch) -> list[str]:
    """Return the questions about finished tasks, since the last time, that were answered with environments."""
    urls = [unquote(call["url"]) for call in batch.recorder.exchanges if call["path"].endswith("/tasks")]
    batch.recorder.clear()
    return [url for url in urls if "environmentSettings" in url and ("completed" in url or "id eq" in url)]


@pytest.mark.parametrize("registration", ["token", "jit"])
def test_a_new_process_goes_on(
    make: Make, batch: Batch, queue: QueueService, registration: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What one process has learned of finished tasks the next one need not ask for; no secret is kept."""
    application = finished_job(make, RunnerRegistration=registration)
    assert len(environments_read(batch)) == 1
    application.reconcile()
    assert environments_read(batch) == []
    make(RunnerRegistration=registration).reconcile()
    questions = [unquote(call["url"]) for call in batch.recorder.exchanges]
    assert environments_read(batch) == []
    (since,) = [re.findall(r"ge DateTime'([^']+)'", url)[0] for url in questions if "stateTransitionTime ge" in url]
    assert datetime.now(UTC) - datetime.fromisoformat(since) < timedelta(hours=1)
    (content,) = queue.blobs.contents.values()
    (task,) = decode(content).finished.merged([], [TASK_JOB], datetime.now(UTC))
    assert (task.task_id, task.repository, task.notes.url.rpartition("/")[2]) == (TASK, "acme/app", "acme")
    text = gzip.decompress(content).decode()
    kept = {s["name"]: s["value"] for s in batch.task_bodies()[TASK]["environmentSettings"]}
    secrets = [kept.get("GHR_TOKEN"), kept.get("GHR_JITCONFIG"), "ghp_sandbox", SECRET, batch.key, queue.key]
    assert not any(secret in text for secret in secrets if secret)
    assert [line for level, line in lines(caplog) if level != "INFO"] == []


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_a_memory_that_is_gone(
    make: Make, batch: Batch, queue: QueueService, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """If the blob is deleted or garbage, the next process asks for everything once more and writes it anew."""
    finished_job(make)
    environments_read(batch)
    (name,) = queue.blobs.contents
    if content is None:
        queue.blobs.contents.clear()
    else:
        queue.blobs.contents[name] = content
    make().reconcile()
    assert len(environments_read(batch)) == 1
    warnings = [line for level, line in lines(caplog) if level == "WARNING"]
    assert [line["what"] for line in warnings] == ([] if content is None else ["the memory of earlier passes"])
    (task,) = decode(queue.blobs.contents[name]).finished.merged([], [TASK_JOB], datetime.now(UTC))
    assert task.task_id == TASK


def test_two_passes_at_once(make: Make, batch: Batch, queue: QueueService) -> None:
    """Two processes that make passes by turns each go on from what the other has written."""
    one, other = finished_job(make), make()
    for application in (other, one, other, one):
        application.reconcile()
    assert len(environments_read(batch)) == 1
    (content,) = queue.blobs.contents.values()
    assert len(decode(content).finished.merged([], [TASK_JOB], datetime.now(UTC))) == 1


def deliver(application: Application, number: int, name: str, *labels: str, **changes: Any) -> Answer:
    """Deliver a job of one of the organization's repositories; `changes` are those of the job, `action` apart."""
    action = changes.pop("action", "queued")
    job = queued_job(*labels)["workflow_job"] | {"id": number} | changes
    repository = queued_job()["repository"] | {"name": name, "full_name": f"acme/{name}"}
    payload = queued_job(action=action, workflow_job=job, repository=repository)
    return asyncio.run(application.receive(*delivery(payload)))


def test_a_share_of_the_registrations(make: Make, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside another one, no repository takes more than half of what GitHub registers in a minute; the rest is kept."""
    monkeypatch.setattr("orchestrator.upstream.POINTS_PER_MINUTE", 4 * 5)
    github.add_repository("acme/lib")
    application = make(RunnerRegistration="jit")
    assert deliver(application, 1, "lib").status == 201
    assert [deliver(application, number, "app").status for number in (2, 3)] == [201, 201]
    kept = deliver(application, 4, "app")
    assert (kept.status, kept.body["result"]) == (202, Result.KEPT)
    assert "half of this minute's registrations" in str(kept.body["reason"])
    assert deliver(application, 5, "lib").status == 201


def test_a_pass_within_the_quota(
    make: Make, github: GitHub, batch: Batch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before it starts a runner, a pass counts once more: deliveries may have used up the quota since it decided."""
    monkeypatch.setattr("orchestrator.reconcile.plan.DELIVERY_EXPECTED_WITHIN", timedelta())
    monkeypatch.setattr("orchestrator.reconcile.reconciler.select", lambda decided, *_: list(decided))
    for _ in range(2):
        github.queue_job("acme/app", ("self-hosted", "ubuntu-latest"))
    make(RunnerScope="repository", MaxRunnersPerRepository="1", ReconcileRepositories="acme/app").reconcile()
    assert len(batch.task_bodies()) == 1
    (line,) = [line for _, line in lines(caplog) if line.get("result") == Result.FAILED]
    assert "1 of 1 runners" in line["reason"]


def test_a_job_that_a_pass_found_held(
    make: Make, github: GitHub, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held job that only a pass knows of starts when a job of another repository frees the profile's slot."""
    monkeypatch.setattr("orchestrator.reconcile.plan.DELIVERY_EXPECTED_WITHIN", timedelta())
    monkeypatch.setattr(held_jobs, "LOOK_AFTER", 0.0)
    application = make(
        RunnerScope="repository", RunnerProfiles=json.dumps([GPU]), ReconcileRepositories="acme/app,acme/lib"
    )
    assert deliver(application, 1, "app", "self-hosted", "gpu").status == 201
    github.add_repository("acme/lib")
    held = github.queue_job("acme/lib", ("self-hosted", "gpu"))
    application.reconcile()
    assert list(batch.task_bodies()) == ["runner-1-1"]
    over = {"conclusion": "success", "runner_id": 1, "runner_name": "runner-1-1"}
    assert deliver(application, 1, "app", "self-hosted", "gpu", action="completed", **over).status == 200
    until(lambda: f"runner-{held.id}-1" in batch.task_bodies())


def test_a_group_of_chosen_repositories(make: Make, github: GitHub, caplog: pytest.LogCaptureFixture) -> None:
    """A pass warns of a runner group that was given a repository which the settings refuse."""
    github.add_repository("acme/untrusted")
    chosen = ["acme/app", "acme/untrusted"]
    github.add_runner_group(StandInScope("organization", "acme"), "Batch", public=False, repositories=chosen)
    application = make(RunnerGroup="Batch", AllowedRepositories="acme/app")
    assert receive(application).status == 201
    application.reconcile()
    (message,) = [line["message"] for _, line in lines(caplog) if "Batch of organization" in line.get("message", "")]
    assert "AllowedRepositories does not name, such as acme/untrusted" in message


class NoThreads(Executor):
    """Threads that are all busy."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        """Begin nothing."""
        return Future()


class TestExplain:
    """`explain`: why a job waits."""

    @pytest.mark.parametrize("accept", ["application/json", "*/*"])
    def test_told(self, make: Make, github: GitHub, accept: str) -> None:
        """The report is JSON for whoever asks for it, else text."""
        job = github.queue_job("acme/app", ["self-hosted", "ubuntu-latest"])
        address = f"{github.url}/acme/app/actions/runs/{job.run_id}/job/{job.id}"
        answer = asyncio.run(make().explain({"accept": accept}, address))
        assert answer.status == 200
        assert answer.body["verdict"] == "cannot-tell"  # no webhook leads here
        if accept == "*/*":
            assert answer.media_type == "text/plain"
            assert answer.text.startswith("cannot-tell: ")
        else:
            assert json.loads(answer.text) == answer.body

    def test_misconfigured(self, make: Make) -> None:
        """Wrong settings are a verdict."""
        answer = asyncio.run(make(GithubToken="").explain({}, ""))
        assert answer.status == 200
        assert answer.text.startswith("misconfigured: ")

    def test_who_may_ask(self, make: Make) -> None:
        """Nobody is told anything from elsewhere than `OperatorSources`."""
        application = make(OperatorSources="192.0.2.0/24")
        answer = asyncio.run(application.explain({"x-forwarded-for": "198.51.100.7:1"}, "7"))
        assert (answer.status, answer.body["result"]) == (403, Result.REFUSED)
        answer = asyncio.run(application.explain({"x-forwarded-for": "192.0.2.7:1"}, "nothing"))
        assert answer.status == 400
        assert answer.text.startswith("expected the address of a job")

    def test_no_thread(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where too many ask, one is told to come again."""
        monkeypatch.setattr("orchestrator.application.EXPLAIN_DEADLINE", 0.01)
        application = make(runtime=Runtime(explain_threads=NoThreads()))
        answer = asyncio.run(application.explain({"accept": "application/json"}, "7"))
        assert (answer.status, answer.body["result"]) == (503, Result.FAILED)
