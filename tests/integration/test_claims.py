"""A container claims its registration: the whole application in one process, between the stand-ins."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.application import Application
from orchestrator.azure.batch_jobs import job_id
from orchestrator.delivery.answer import Answer
from orchestrator.runners.notes import TaskNotes
from orchestrator.runtime import Runtime
from sandbox.batch import Batch
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import JobPlan
from sandbox.storage_queue import QueueService
from tests.batch_tasks import NoExecutor
from tests.builders import SECRET, delivery, queued_job
from tests.logs import lines
from tests.waiting import until

type Make = Callable[..., Application]

KEY = "a-key-of-claims-that-nobody-guesses"
NONCE, OTHER = "0a" * 32, "0b" * 32
ADDRESS = "10.1.2.3:50000"
BATCH_JOB = job_id("linux", "acme", "normal")
REGISTER = "POST /orgs/acme/actions/runners/generate-jitconfig"


@pytest.fixture
def own_settings() -> dict[str, str]:
    """Return the settings of these applications."""
    return {
        "UbuntuPool": "linux",
        "WindowsPool": "",
        "AllowedSources": "140.82.112.0/20",
        "RunnerRegistration": "claim",
        "ClaimKey": KEY,
        "ClaimUrl": "https://runners.example/api/ClaimRunner",
        "ClaimSources": "10.1.0.0/16",
    }


def deliver(application: Application, github: GitHub, *, age: timedelta = timedelta()) -> tuple[int, str]:
    """Queue a job and deliver it; return its id and its task's."""
    now = datetime.now(UTC) - age
    (job,) = github.state.queue_run("acme/app", [JobPlan(("self-hosted", "ubuntu-latest"))], now.timestamp()).jobs
    payload = queued_job()
    payload["workflow_job"] |= {"id": job.id, "run_id": job.run_id, "created_at": now.isoformat()}
    answer = asyncio.run(application.receive(*delivery(payload)))
    assert answer.status == 201, answer.body
    return job.id, str(answer.body["task"])


def variables(batch: Batch, task: str) -> dict[str, str]:
    """Return the environment of a task."""
    return {setting["name"]: setting["value"] for setting in batch.task_bodies()[task]["environmentSettings"]}


def claim(application: Application, text: str, nonce: str = NONCE, address: str = ADDRESS) -> Answer:
    """Claim as a container does."""
    body = json.dumps({"claim": text, "nonce": nonce}).encode()
    return asyncio.run(application.claim({"x-forwarded-for": address}, body))


def running(batch: Batch, task: str) -> None:
    """Wait until Batch has started a task's container."""
    executor = batch.executor
    assert isinstance(executor, NoExecutor)
    until(lambda: any(run.task_id == task for run, _ in executor.runs))


def code(answer: Answer) -> tuple[int, Any]:
    """Return the status and the code of a refusal."""
    return answer.status, answer.body["code"]


def test_from_delivery_to_runner(make: Make, github: GitHub, batch: Batch, caplog: pytest.LogCaptureFixture) -> None:
    """A delivery asks Batch alone and leaves no credential there; the container that runs gets a JIT configuration."""
    caplog.set_level("WARNING", logger="azure")
    caplog.set_level("INFO")
    application = make()
    deliver(application, github)  # which has the looks made that are remembered for an hour
    for recorder in (github.recorder, batch.recorder):
        recorder.clear()
    _, task = deliver(application, github)
    assert github.recorder.calls == []
    assert batch.recorder.calls == [f"POST /jobs/{BATCH_JOB}/tasks -> 201"]
    given = variables(batch, task)
    assert TaskNotes.read(given).registration == "claim"
    assert given["GHR_CLAIM_URL"] == "https://runners.example/api/ClaimRunner"
    assert not {"GHR_TOKEN", "GHR_JITCONFIG", "GHR_EXPIRES_AT"} & set(given)
    running(batch, task)
    answer = claim(application, given["GHR_CLAIM"])
    assert answer.status == 200
    got = answer.body["environment"]
    assert isinstance(got, dict)
    assert (got["GHR_URL"].rpartition("/")[2], got["GHR_NAME"]) == ("acme", task)
    runner = github.state.runner_of_jit(got["GHR_JITCONFIG"])
    assert runner.name == task
    assert github.recorder.calls == [f"{REGISTER} -> 201"]
    level, said = lines(caplog)[-1]
    assert level == "INFO"
    assert (said["status"], said["result"], said["runner"]) == (200, "created", task)
    assert not any(secret in caplog.text for secret in (given["GHR_CLAIM"], NONCE, got["GHR_JITCONFIG"], KEY, SECRET))


@pytest.fixture
def ready(make: Make, github: GitHub, batch: Batch) -> tuple[Application, str, int, str]:
    """Return an application, the claim of a task that runs, its job, which was queued an hour ago, and its id."""
    application = make()
    job, task = deliver(application, github, age=timedelta(hours=1))
    running(batch, task)
    return application, variables(batch, task)["GHR_CLAIM"], job, task


def runners(github: GitHub) -> list[str]:
    """Return the names of the registered runners."""
    return sorted(runner.name for runner in github.state.runners.values())


def test_claimed_twice(
    ready: tuple[Application, str, int, str], github: GitHub, queue: QueueService, caplog: pytest.LogCaptureFixture
) -> None:
    """The same container may ask again, of two processes as well, and has one runner; another one is an alert."""
    application, text, _, task = ready
    first, again = claim(application, text), claim(application, text)
    assert (first.status, again.status) == (200, 200)
    assert len(runners(github)) == 1
    caplog.clear()
    stolen = claim(application, text, OTHER)
    assert code(stolen) == (409, "used")
    assert [(level, line["code"], line["task"]) for level, line in lines(caplog)] == [("CRITICAL", "used", task)]
    assert len(runners(github)) == 1
    (record,) = queue.blobs.contents.values()
    assert not any(secret in record for secret in (text.encode(), NONCE.encode(), b"GHR_"))


def test_cancelled_before_the_start(ready: tuple[Application, str, int, str], github: GitHub) -> None:
    """Where the job was cancelled no runner is registered: one question is all that GitHub hears."""
    application, text, job, _ = ready
    github.cancel_job(job)
    github.recorder.clear()
    assert code(claim(application, text)) == (410, "not-wanted")
    assert github.recorder.calls == [f"GET /repos/acme/app/actions/jobs/{job} -> 200"]
    assert runners(github) == []


def test_another_job_counts_on_it(ready: tuple[Application, str, int, str], github: GitHub) -> None:
    """Where the job was cancelled, and a pass has left another one to this task, its runner is registered."""
    application, text, job, task = ready
    github.cancel_job(job)
    github.queue_job("acme/app", ["self-hosted", "ubuntu-latest"])
    application.reconcile()
    answer = claim(application, text)
    assert (answer.status, runners(github)) == (200, [task])


@pytest.mark.parametrize(("minutes", "status"), [("5", 410), ("10", 200)])
def test_how_long_a_pass_counts(make: Make, github: GitHub, batch: Batch, minutes: str, status: int) -> None:
    """What a pass left to a task counts for two periods of passes, whatever these are."""
    application = make(ReconcileMinutes=minutes)
    job, task = deliver(application, github, age=timedelta(hours=1))
    running(batch, task)
    github.cancel_job(job)
    github.queue_job("acme/app", ["self-hosted", "ubuntu-latest"])
    application.reconcile()
    later = make(Runtime(clock=lambda: datetime.now(UTC) + timedelta(minutes=15)), ReconcileMinutes=minutes)
    assert claim(later, variables(batch, task)["GHR_CLAIM"]).status == status


def test_the_task_has_ended(ready: tuple[Application, str, int, str], batch: Batch, github: GitHub) -> None:
    """A claim is worth nothing when its task is over, and nothing before it runs."""
    application, text, _, _ = ready
    executor = batch.executor
    assert isinstance(executor, NoExecutor)
    executor.end()
    assert code(claim(application, text)) == (403, "ended")
    assert runners(github) == []


def test_not_running_yet(make: Make, github: GitHub, batch: Batch) -> None:
    """A claim of a task that waits for a slot is put off."""
    application = make(UbuntuPool="still")
    _, task = deliver(application, github)
    answer = claim(application, variables(batch, task)["GHR_CLAIM"])
    assert (code(answer), answer.headers) == ((503, "not-running"), {"Retry-After": "2"})


def test_a_task_of_somebody_else(ready: tuple[Application, str, int, str], batch: Batch, make: Make) -> None:
    """A claim that another key has signed, or that the task does not carry, opens nothing."""
    application, text, _, task = ready
    other = make(ClaimKey="another-key-that-signs-other-claims")
    assert code(claim(other, text)) == (401, "key-unknown")
    settings = batch.task_bodies()[task]["environmentSettings"]
    next(setting for setting in settings if setting["name"] == "GHR_CLAIM")["value"] = "v1.another.claim"
    assert code(claim(application, text)) == (403, "other-claim")


def test_services_that_are_silent(
    ready: tuple[Application, str, int, str], github: GitHub, batch: Batch, queue: QueueService
) -> None:
    """The answer says which service is silent, and the next try succeeds; a silent GitHub hides no job."""
    application, text, _, _ = ready
    batch.faults.add(Fault("status", "GET */tasks/*", status=503))
    assert code(claim(application, text)) == (503, "batch")
    queue.faults.add(Fault("status", "PUT */runner-claims/*", status=503))
    assert code(claim(application, text)) == (503, "storage")
    github.faults.add(Fault("status", "GET */actions/jobs/*", status=503), Fault("status", REGISTER, status=502))
    assert code(claim(application, text)) == (503, "github")
    assert claim(application, text).status == 200


def test_from_elsewhere(ready: tuple[Application, str, int, str], make: Make) -> None:
    """Nobody else may knock, and nobody at all where claims are off or settings are wrong."""
    application, text, _, _ = ready
    assert code(claim(application, text, address="203.0.113.9:1")) == (403, "source")
    off = make(RunnerRegistration="token", ClaimKey="", ClaimSources="")
    assert code(claim(off, text)) == (403, "off")
    wrong = make(ClaimSources="")
    answer = claim(wrong, text)
    assert code(answer) == (503, "misconfigured")
    assert "ClaimSources" not in answer.text
