"""The deployed shape: GitHub's webhook to the Functions runtime, the real SDKs, a task on Batch, a runner at work."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from orchestrator.azure.batch_jobs import job_id
from sandbox.batch.model import Pool
from sandbox.deployment import GITHUB_ADDRESS, REPOSITORY, TASK_LOGS, Deployment
from sandbox.faults import Fault
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.functions.process import MASTER_KEY
from sandbox.github.hooks import Delivery
from sandbox.github.model import Scope
from tests.e2e.helpers import all_done, answers
from tests.schemas import validate_workflow_job
from tests.waiting import until

REGISTRATION = "POST /orgs/acme/actions/runners/registration-token"
BATCH_JOB = job_id("batchLinux", "acme", "normal")
ADD_TASK = f"POST /jobs/{BATCH_JOB}/tasks"


def rest_calls(deployment: Deployment) -> list[str]:
    """Return the calls to GitHub's REST API; what runners say to GitHub is not among them."""
    return [call for call in deployment.github.recorder.calls if "/_runner/" not in call]


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Return a deployment of its own, with its webhook in place."""
    with Deployment() as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        yield deployment


def test_three_jobs_get_three_runners(deployment: Deployment) -> None:
    """Three jobs each run, on the right pool with the right image; every delivery is GitHub's shape."""
    jobs = {
        label: deployment.github.queue_job(REPOSITORY, ("self-hosted", label))
        for label in ("ubuntu-18.04", "ubuntu-latest", "windows-latest")
    }
    until(lambda: all_done(deployment))
    tasks = deployment.batch.task_bodies()
    found = {
        label: (tasks[f"runner-{job.id}-1"]["poolId"], tasks[f"runner-{job.id}-1"]["containerSettings"]["imageName"])
        for label, job in jobs.items()
    }
    image = "acme.azurecr.io/githubactions-runner"
    assert found == {
        "ubuntu-18.04": ("batchLinux", f"{image}:ubuntu-18.04-actionsrunner"),
        "ubuntu-latest": ("batchLinux", f"{image}:ubuntu-24.04-actionsrunner"),
        "windows-latest": ("batchWindows", f"{image}:windows-core-ltsc2022-actionsrunner"),
    }
    until(lambda: {task["exitCode"] for task in deployment.batch.task_bodies().values()} == {0})
    assert deployment.github.runners == []
    until(lambda: len([d for d in deployment.github.deliveries if d.action == "completed" and d.answer]) == 3)
    assert {code for code, _ in answers(deployment)} == {201}
    assert {code for action in ("in_progress", "completed") for code, _ in answers(deployment, action)} == {200}
    for delivery in deployment.github.deliveries:
        if delivery.event == "workflow_job":
            validate_workflow_job(dict(delivery.payload))


def test_windows_without_a_container_pool() -> None:
    """On a plain Windows pool a job gets its runner all the same: its task calls Docker."""
    pools = [Pool("batchWindows", "windows", container=False)]
    with Deployment(settings={"WindowsLaunch": "docker", "UbuntuPool": ""}, pools=pools) as deployment:
        job = deployment.github.queue_job(REPOSITORY, ("self-hosted", "windows-latest"))
        until(lambda: all_done(deployment))
        task = deployment.batch.task_bodies()[f"runner-{job.id}-1"]
        assert task["commandLine"].startswith(f"docker run --rm --name runner-{job.id}-1 -e GHR_URL ")
        assert task["commandLine"].endswith(" acme.azurecr.io/githubactions-runner:windows-core-ltsc2022-actionsrunner")
        assert "containerSettings" not in task


@pytest.mark.parametrize("launch", ["batch", "docker"])
def test_the_output_outlives_the_node(launch: str) -> None:
    """Whoever started the container: when its node is gone, what the entrypoint said is kept, without its secret."""
    pools = [Pool("batchWindows", "windows", container=launch == "batch")]
    with Deployment(settings={"WindowsLaunch": launch, "UbuntuPool": ""}, pools=pools) as deployment:
        job = deployment.github.queue_job(REPOSITORY, ("self-hosted", "windows-latest"))
        name = f"runner-{job.id}-1"
        until(lambda: deployment.batch.task_bodies().get(name, {}).get("state") == "completed")
        for node in deployment.batch.node_ids("batchWindows"):
            deployment.batch.preempt(node)
        task = deployment.batch.task_bodies()[name]
        folder = f"{TASK_LOGS}/{task['jobId']}/{name}".lower()
        kept = deployment.queue.blobs.contents
        said = kept[f"{folder}/stdout.txt"].decode()
        assert "ghr: " in said
        assert f"{folder}/stderr.txt" in kept
        (secret,) = [one["value"] for one in task["environmentSettings"] if one["name"] == "GHR_JITCONFIG"]
        assert secret not in said
        assert (task["exitCode"], task["result"]) == (0, "success")


def test_one_upstream_call_per_job(deployment: Deployment) -> None:
    """Once a registration token is cached, a queued job costs one call: the task."""
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    deployment.github.recorder.clear()
    deployment.batch.recorder.clear()
    for _ in range(5):
        deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    assert rest_calls(deployment) == []
    assert deployment.batch.recorder.calls == [f"{ADD_TASK} -> 201"] * 5


def test_the_same_delivery_twice_makes_one_task(deployment: Deployment) -> None:
    """A redelivery finds the task that is there, whether it runs or has ended."""
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    queued = next(d for d in deployment.github.deliveries if d.action == "queued")
    deployment.github.redeliver(queued)
    until(lambda: len(answers(deployment)) == 2)
    assert [code for code, _ in answers(deployment)] == [200, 201]
    assert answers(deployment)[0][1]["result"] == "exists"
    assert len(deployment.batch.task_bodies()) == 1


def test_a_redelivery_after_the_runner_died(deployment: Deployment) -> None:
    """If the job's task ended without a job, a redelivery by hand starts the next one, and its answer says why."""
    deployment.github.faults.add(Fault("status", "POST /_runner/register", status=503))
    job = deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: {task["state"] for task in deployment.batch.task_bodies().values()} == {"completed"})
    queued = next(d for d in deployment.github.deliveries if d.action == "queued")
    deployment.github.redeliver(queued)
    until(lambda: all_done(deployment))
    code, body = answers(deployment)[0]
    assert (code, body["result"], body["task"]) == (201, "created", f"runner-{job.id}-1-r1")
    assert body["reason"] == f"runner-{job.id}-1 ended without a job: exit code 75"


def test_github_down(deployment: Deployment) -> None:
    """While GitHub's API fails the job is kept with 202, and its runner appears when GitHub is back."""
    deployment.github.faults.add(Fault("status", REGISTRATION, times=None, status=503))
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: answers(deployment))
    ((code, body),) = answers(deployment)
    assert (code, body["result"]) == (202, "kept")
    assert "503" in body["reason"]
    deployment.skip(body["next_try_in_s"] + 1)
    until(lambda: rest_calls(deployment).count(f"{REGISTRATION} -> 503") == 2)
    assert deployment.batch.task_bodies() == {}
    deployment.github.faults.clear()
    until(lambda: '"attempt": 2,' in deployment.host.logs)
    deployment.skip(60)
    until(lambda: all_done(deployment))
    assert len(deployment.batch.task_bodies()) == 1
    until(lambda: deployment.queue.texts("runner-requests") == [])
    assert '"task": "runner-30000000001-1"' in deployment.host.logs


def test_given_up_and_revived(deployment: Deployment) -> None:
    """A request that cannot be served is put aside with an alert; an operator's one call puts it back."""
    deployment.github.faults.add(
        Fault("status", REGISTRATION, status=503),
        Fault("status", REGISTRATION, status=422, body='{"message": "no"}'),
    )
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: answers(deployment))
    deployment.skip(30)
    until(lambda: deployment.queue.texts("runner-requests-poison"))
    until(lambda: "CRITICAL" in deployment.host.logs)
    url = f"{deployment.host.url}/api/ReviveRequests"
    assert requests.post(url, headers={"x-functions-key": deployment.key}, timeout=30).status_code == 401
    answer = requests.post(url, headers={"x-functions-key": MASTER_KEY}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"result": "revived", "requests": 1, "left": 0})
    deployment.skip(5)
    until(lambda: all_done(deployment))
    assert deployment.queue.texts("runner-requests-poison") == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", ADD_TASK, status=503),
        Fault("status", ADD_TASK, status=429, headers={"Retry-After": "7"}),
        Fault("drop", ADD_TASK, times=2),
    ],
)
def test_batch_down(deployment: Deployment, fault: Fault) -> None:
    """While Batch is down or busy the job is kept, and its runner appears when Batch is back."""
    deployment.batch.faults.add(fault)
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: answers(deployment))
    ((code, body),) = answers(deployment)
    assert code == 202
    assert body["next_try_in_s"] == (pytest.approx(7.9, abs=1.1) if fault.headers else pytest.approx(11.2, abs=1.4))
    deployment.skip(30)
    until(lambda: all_done(deployment))
    assert len(deployment.batch.task_bodies()) == 1


def test_cancelled_before_pick_up() -> None:
    """A job that is cancelled while its task waits leaves no task waiting, and a late redelivery brings none back."""
    with Deployment(pools=[Pool("batchLinux", scale="fixed"), Pool("batchWindows", "windows")]) as deployment:
        stays = deployment.github.queue_job(REPOSITORY, ("self-hosted",))
        goes = deployment.github.queue_job(REPOSITORY, ("self-hosted",))
        until(lambda: len(deployment.batch.task_bodies()) == 2)
        deployment.github.cancel_job(goes.id)
        until(lambda: answers(deployment, "completed"))
        assert answers(deployment, "completed")[0][1]["result"] == "removed"
        states = {name: task["state"] for name, task in deployment.batch.task_bodies().items()}
        assert states == {f"runner-{stays.id}-1": "active", f"runner-{goes.id}-1": "completed"}
        queued = next(
            d
            for d in deployment.github.deliveries
            if d.action == "queued" and d.payload["workflow_job"]["id"] == goes.id
        )
        deployment.github.redeliver(queued)
        until(lambda: len(answers(deployment)) == 3)
        assert answers(deployment)[0][1]["result"] == "ignored"
        assert len(deployment.batch.task_bodies()) == 2


def test_a_batch_job_that_somebody_ended(deployment: Deployment) -> None:
    """A Batch job that was ended from outside is made anew, and the requests that came meanwhile get their runners."""
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    deployment.batch.end_job(BATCH_JOB)
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: len(answers(deployment)) == 2)
    assert (answers(deployment)[0][0], "made anew" in answers(deployment)[0][1]["reason"]) == (202, True)
    until(lambda: deployment.batch.task_bodies() == {})
    deployment.skip(30)
    until(lambda: all_done(deployment))


def test_a_lost_answer(deployment: Deployment) -> None:
    """If Batch took the task and its answer was lost, the job is served by that one task."""
    deployment.batch.faults.add(Fault("lost_answer", ADD_TASK, skip=1))
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: all_done(deployment))
    assert len(deployment.batch.task_bodies()) == 1
    assert answers(deployment)[0][0] == 201


def test_not_even_the_queue(deployment: Deployment) -> None:
    """If the queue refuses too, GitHub sees a failed delivery: 503."""
    deployment.github.faults.add(Fault("status", REGISTRATION, status=500))
    deployment.queue.faults.add(Fault("status", "POST *", times=None, status=503))
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: answers(deployment))
    assert answers(deployment)[0][0] == 503


def test_a_slow_github(deployment: Deployment) -> None:
    """A GitHub that takes longer than the deadline is answered before it gives up on the delivery, after 10 s."""
    deployment.github.faults.add(Fault("latency", REGISTRATION, seconds=12))
    deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: answers(deployment))
    ((code, body),) = answers(deployment)
    assert (code, body["result"]) == (202, "kept")
    deployment.skip(30)
    until(lambda: all_done(deployment))


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Deployment]:
    """Return a deployment that is told of jobs by hand; so far nobody was asked anything."""
    with Deployment() as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        deployment.github.recorder.clear()
        yield deployment


class TestRefused:
    """What must leave no task, no call to GitHub and no message."""

    def payload(self, deployment: Deployment, *, private: bool = True) -> dict[str, Any]:
        """Return the payload of a queued job that no webhook tells of."""
        repository = "other/private" if private else "other/public"
        deployment.github.add_repository(repository, private=private)
        events: list[Any] = []
        end = deployment.github.subscribe(events.append)
        job = deployment.github.queue_job(repository, ("self-hosted",))
        end()
        return deployment.github.payloads.workflow_job(events[0], deployment.github.state.run(job.run_id), None)

    def deliver(self, deployment: Deployment, body: bytes, **changes: str | None) -> requests.Response:
        """Deliver a body, signed with the webhook's secret unless the headers say otherwise."""
        digest = hmac.new(deployment.secret.encode(), body, hashlib.sha256).hexdigest()
        headers: dict[str, str | None] = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "workflow_job",
            "X-GitHub-Delivery": "by-hand",
            "X-Hub-Signature-256": f"sha256={digest}",
            CLIENT_ADDRESS: GITHUB_ADDRESS,
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        return requests.post(deployment.webhook_url, data=body, headers=headers, timeout=30)

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401),
            ({"X_Hub_Signature_256": None}, 401),
            ({CLIENT_ADDRESS: "203.0.113.7"}, 403),
            ({CLIENT_ADDRESS: "203.0.113.7", "X_Forwarded_For": GITHUB_ADDRESS}, 403),
            ({"X_GitHub_Event": None}, 400),
            ({"Content_Type": "text/plain"}, 415),
        ],
    )
    def test_headers(self, by_hand: Deployment, headers: dict[str, str | None], status: int) -> None:
        """A forged signature, a foreign or forged address and wrong headers are refused."""
        answer = self.deliver(by_hand, json.dumps(self.payload(by_hand)).encode(), **headers)
        assert (answer.status_code, answer.json()["result"]) == (status, "refused")
        self.assert_untouched(by_hand)

    def test_public_repository(self, by_hand: Deployment) -> None:
        """A public repository gets no runner."""
        payload = self.payload(by_hand, private=False)
        assert payload["repository"]["private"] is False
        answer = self.deliver(by_hand, json.dumps(payload).encode())
        assert (answer.status_code, "AllowPublicRepositories" in answer.text) == (403, True)
        self.assert_untouched(by_hand)

    def test_too_large(self, by_hand: Deployment) -> None:
        """A body over the limit is refused before anything else is looked at."""
        answer = self.deliver(by_hand, b"x" * 2_000_000, X_Hub_Signature_256=None)
        assert answer.status_code == 413
        self.assert_untouched(by_hand)

    def test_without_key(self, by_hand: Deployment) -> None:
        """Without the function's key not even the function is reached."""
        url = by_hand.webhook_url.partition("?")[0]
        assert requests.post(url, data=b"{}", timeout=30).status_code == 401
        self.assert_untouched(by_hand)

    def assert_untouched(self, deployment: Deployment) -> None:
        """Check that nobody was asked anything and nothing was left."""
        assert rest_calls(deployment) == []
        assert deployment.batch.recorder.calls == []
        assert deployment.queue.texts("runner-requests") == []


def test_form_deliveries() -> None:
    """A webhook that sends forms works as well."""
    with Deployment(connect_hook=False) as deployment:
        deployment.github.add_hook(
            deployment.webhook_url, deployment.secret, scope=Scope("organization", "acme"), content_type="form",
            headers={CLIENT_ADDRESS: GITHUB_ADDRESS},
        )  # fmt: skip
        deployment.github.queue_job(REPOSITORY, ("self-hosted",))
        until(lambda: all_done(deployment))
        sent: Delivery = next(d for d in deployment.github.deliveries if d.action == "queued")
        assert sent.body.startswith(b"payload=%7B")


def test_jit_with_an_app(app_keys: tuple[str, str]) -> None:
    """With a GitHub App and JIT configurations a job runs; in the steady state that takes two calls."""
    private, public = app_keys
    settings = {"GithubToken": "", "GithubAppId": "4711", "GithubAppPrivateKey": private, "RunnerRegistration": "jit"}
    with Deployment(settings=settings) as deployment:
        app = deployment.github.add_app(public, app_id=4711)
        deployment.github.install(app, "acme")
        deployment.github.queue_job(REPOSITORY, ("self-hosted",))
        until(lambda: all_done(deployment))
        deployment.github.recorder.clear()
        deployment.batch.recorder.clear()
        deployment.github.queue_job(REPOSITORY, ("self-hosted", "ubuntu-22.04"))
        until(lambda: all_done(deployment))
        assert rest_calls(deployment) == ["POST /orgs/acme/actions/runners/generate-jitconfig -> 201"]
        assert deployment.batch.recorder.calls == [f"{ADD_TASK} -> 201"]
        environments = [task["environmentSettings"] for task in deployment.batch.task_bodies().values()]
        assert all({"GHR_JITCONFIG"} <= {e["name"] for e in environment} for environment in environments)
        assert not any({"GHR_TOKEN"} & {e["name"] for e in environment} for environment in environments)


def test_misconfigured() -> None:
    """Without a webhook secret the function answers 500 that names the setting, and so does the log."""
    with Deployment(settings={"GithubWebhookSecret": ""}) as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        answer = deployment.github.deliveries[0].answer
        assert answer is not None
        assert answer.code == 500
        assert json.loads(answer.body)["settings"] == [{"setting": "GithubWebhookSecret", "problem": "is missing"}]
        assert "CRITICAL" in deployment.host.logs
        assert "GithubWebhookSecret" in deployment.host.logs


def test_no_secret_in_any_log(deployment: Deployment) -> None:
    """Neither keys nor tokens nor signatures are logged, whether all goes well or not."""
    deployment.github.faults.add(Fault("status", REGISTRATION, status=500))
    deployment.batch.faults.add(Fault("status", ADD_TASK, status=400, body='{"code": "InvalidPropertyValue"}'))
    for _ in range(3):
        deployment.github.queue_job(REPOSITORY, ("self-hosted",))
    until(lambda: len(answers(deployment)) == 3)
    deployment.skip(60)
    until(lambda: len(deployment.batch.task_bodies()) == 2)
    assert {code for code, _ in answers(deployment)} == {201, 202, 500}
    environment = {
        entry["name"]: entry["value"]
        for task in deployment.batch.task_bodies().values()
        for entry in task["environmentSettings"]
    }
    secrets = [deployment.secret, deployment.key, "ghp_sandbox", deployment.batch.key, deployment.queue.key]
    for secret in [*secrets, *([environment["GHR_TOKEN"]] if environment else [])]:
        assert secret not in deployment.host.logs
        assert not any(secret in (d.answer.body if d.answer else "") for d in deployment.github.deliveries)
