"""Registrations that containers claim: by the image's entrypoint, and by hand where it must not be the entrypoint."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from orchestrator.runners.claim import read, sign
from sandbox.batch.model import Pool, TaskRun
from sandbox.deployment import REPOSITORY, Deployment
from sandbox.faults import Fault
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.gateway import GATEWAY_ADDRESS
from tests.batch_tasks import NoExecutor
from tests.e2e.helpers import all_done
from tests.waiting import until

LABELS = ("self-hosted", "ubuntu-latest")
CLAIM = {"RunnerRegistration": "claim"}
JIT = "*/actions/runners/generate-jitconfig"
NONCE, OTHER_NONCE = "0a" * 32, "0b" * 32


def calls(deployment: Deployment, ending: str) -> list[str]:
    """Return the calls to GitHub's REST API whose path ends so, with their status."""
    return [call for call in deployment.github.recorder.calls if call.partition(" -> ")[0].endswith(ending)]


def connected(deployment: Deployment) -> Deployment:
    """Return a deployment whose webhook is in place: from now on the function knows GitHub's addresses."""
    until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
    return deployment


def claimed(deployment: Deployment) -> list[str]:
    """Return every JIT configuration that a container was given."""
    bodies = [json.loads(each["response_body"] or "{}") for each in deployment.gateway.recorder.exchanges]
    return [body["environment"]["GHR_JITCONFIG"] for body in bodies if "environment" in body]


class TestEveryScope:
    """Whatever runners are registered for, and by which credential."""

    @pytest.fixture(params=["organization by an App", "repository by a token", "enterprise of an Enterprise Server"])
    def deployment(self, request: pytest.FixtureRequest, app_keys: tuple[str, str]) -> Iterator[Deployment]:
        """Return a deployment whose containers claim."""
        private, public = app_keys
        kind, _, credential = request.param.partition(" by ")
        settings = CLAIM | {"RunnerScope": kind.partition(" ")[0]}
        if credential == "an App":
            settings |= {"GithubToken": "", "GithubAppId": "4711", "GithubAppPrivateKey": private}
        is_server = not credential
        settings |= {"GithubEnterprise": "corp"} if is_server else {}
        with Deployment(settings=settings, api_path="/api/v3" if is_server else "") as deployment:
            if is_server:
                deployment.github.add_repository(REPOSITORY, enterprise="corp")
            if credential == "an App":
                deployment.github.install(deployment.github.add_app(public, app_id=4711), "acme")
            self.path = {
                "organization": "/orgs/acme", "repository": "/repos/acme/app", "enterprise": "/api/v3/enterprises/corp",
            }[settings["RunnerScope"]]  # fmt: skip
            yield connected(deployment)

    def test_a_job_on_each_system(self, deployment: Deployment) -> None:
        """Containers of both systems get a runner of their own when they start, and Batch never holds a secret."""
        for label in ("ubuntu-latest", "windows-latest"):
            deployment.github.queue_job(REPOSITORY, ("self-hosted", label))
        until(lambda: all_done(deployment))
        until(lambda: {task["exitCode"] for task in deployment.batch.task_bodies().values()} == {0})
        made = f"POST {self.path}/actions/runners/generate-jitconfig -> 201"
        posts = [call for call in deployment.github.recorder.calls if call.startswith("POST") and "/runners/" in call]
        assert posts == [made, made]
        configurations = claimed(deployment)
        assert len(set(configurations)) == 2
        names = {e["name"] for task in deployment.batch.task_bodies().values() for e in task["environmentSettings"]}
        assert {"GHR_CLAIM", "GHR_CLAIM_URL"} <= names
        assert names.isdisjoint({"GHR_TOKEN", "GHR_JITCONFIG"})
        written = json.dumps(deployment.batch.recorder.exchanges)
        for secret in (*configurations, deployment.claim_key, deployment.secret, "ghp_sandbox"):
            assert secret not in written
            assert secret not in deployment.host.logs


def test_a_container_goes_on_asking() -> None:
    """A lost answer, a function that is down and a GitHub that is busy cost a container time, and nothing is left over.

    The registration whose answer was lost is taken away before there is another one.
    """
    with Deployment(settings=CLAIM) as deployment:
        connected(deployment)
        deployment.gateway.faults.add(Fault("lost_answer"))
        deployment.github.faults.add(Fault("status", f"POST {JIT}", skip=1, status=429, headers={"Retry-After": "1"}))
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: deployment.gateway.recorder.calls)
        deployment.gateway.site = ""  # at once: nothing gets through until the function is back
        deployment.stop_host()
        until(lambda: 502 in deployment.gateway.recorder.statuses)
        deployment.start_host()
        until(lambda: all_done(deployment))
        assert set(deployment.gateway.recorder.statuses) == {200, 502, 503}
        assert [int(call[-3:]) for call in calls(deployment, "/generate-jitconfig")] == [201, 429, 201]
        assert len(claimed(deployment)) == 1
        assert [call for call in deployment.github.recorder.calls if call.startswith("DELETE")] != []
        until(lambda: deployment.batch.task_bodies()[f"runner-{job.id}-1"]["exitCode"] == 0)
        assert deployment.github.runners == []


def test_cancelled_before_it_starts() -> None:
    """The container of a job that was cancelled meanwhile ends at once, and no runner is registered for it."""
    with Deployment(settings=CLAIM, connect_hook=False, lag=150.0) as deployment:
        hook = deployment.connect_hook()
        connected(deployment)
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(deployment.batch.task_bodies)
        deployment.github.hooks.remove(hook.id)  # the function does not hear of it
        deployment.github.cancel_job(job.id)
        until(lambda: deployment.batch.task_bodies()[f"runner-{job.id}-1"]["state"] == "completed")
        assert deployment.batch.task_bodies()[f"runner-{job.id}-1"]["exitCode"] == 69
        assert deployment.gateway.recorder.statuses == [410]
        assert calls(deployment, "/generate-jitconfig") == []


class Site:
    """A deployment whose tasks start and do nothing."""

    def __init__(self, deployment: Deployment, pool: Pool, executor: NoExecutor) -> None:
        self.deployment = deployment
        self.pool = pool
        self.executor = executor

    def started(self) -> TaskRun:
        """Return the run of a new job's task."""
        job = self.deployment.github.queue_job(REPOSITORY, LABELS)
        return self.run_of(f"runner-{job.id}-1")

    def run_of(self, task: str) -> TaskRun:
        """Return the last run of a task, once there is one."""
        until(lambda: any(run.task_id == task for run, _ in self.executor.runs))
        return next(run for run, _ in reversed(self.executor.runs) if run.task_id == task)

    def ask(
        self, run: TaskRun, nonce: str = NONCE, *, claim: str = "", address: str = GATEWAY_ADDRESS
    ) -> requests.Response:
        """Claim as the container of a run does."""
        body = {"claim": claim or run.environment["GHR_CLAIM"], "nonce": nonce}
        url = f"{self.deployment.host.url}/api/ClaimRunner"
        return requests.post(url, json=body, headers={CLIENT_ADDRESS: address}, timeout=30)

    def runner_of(self, answer: requests.Response) -> int:
        """Return the id of the runner that an answer gives."""
        assert answer.status_code == 200, answer.text
        files = json.loads(base64.b64decode(answer.json()["environment"]["GHR_JITCONFIG"]))
        return int(json.loads(base64.b64decode(files[".runner"]))["AgentId"])

    def logs(self) -> list[str]:
        """Return the lines of the function's log."""
        return self.deployment.host.logs.splitlines()

    def runners(self) -> list[int]:
        """Return the ids of all registered runners."""
        return [runner.id for runner in self.deployment.github.runners]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Return a deployment whose tasks start, and do nothing."""
    executor = NoExecutor()
    pool = Pool("batchLinux", slots_per_node=4, nodes=1, start_delay_s=0.0, max_nodes=20)
    with Deployment(settings=CLAIM | {"WindowsPool": ""}, pools=[pool], executor=executor) as deployment:
        yield Site(connected(deployment), pool, executor)


class TestByHand:
    """What no container does, and what it cannot be made to do at the right moment."""

    def test_the_answer_was_lost(self, site: Site) -> None:
        """Whoever asks again with its nonce gets a runner anew; the first one is gone, whose answer nobody has."""
        run = site.started()
        first, second = (site.runner_of(site.ask(run)) for _ in range(2))
        assert first != second
        assert [runner for runner in site.runners() if runner in (first, second)] == [second]

    def test_stolen(self, site: Site) -> None:
        """A claim that was used already gets nothing with another nonce, and the log raises an alarm."""
        run = site.started()
        runner = site.runner_of(site.ask(run))
        answer = site.ask(run, OTHER_NONCE)
        assert (answer.status_code, answer.json()["code"]) == (409, "used")
        assert runner in site.runners()
        until(lambda: any("CRITICAL" in line and run.task_id in line for line in site.logs()))

    def test_from_elsewhere(self, site: Site) -> None:
        """A claim from an address that is not among ClaimSources is refused before anybody is asked."""
        run = site.started()
        answer = site.ask(run, address="203.0.113.9")
        assert (answer.status_code, answer.json()["code"]) == (403, "source")
        assert not any(f"/tasks/{run.task_id}" in call for call in site.deployment.batch.recorder.calls)
        assert site.ask(run).status_code == 200

    def test_ended(self, site: Site) -> None:
        """The claim of a task that is over gets nothing."""
        run = site.started()
        site.executor.end()
        answer = site.ask(run)
        assert (answer.status_code, answer.json()["code"]) == (403, "ended")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"task_id": "frame-1", "batch_job": "nightly-render"}, "no-task"),
            ({"expires_at": datetime(2100, 1, 1, tzinfo=UTC)}, "other-claim"),
        ],
    )
    def test_not_its_own(self, site: Site, changes: Mapping[str, Any], code: str) -> None:
        """Even a claim with a right signature gets nothing unless Batch runs a task that carries it."""
        run = site.started()
        key = site.deployment.claim_key.encode()
        claim = replace(read(run.environment["GHR_CLAIM"], [key], datetime.now(UTC)), **changes)
        answer = site.ask(run, claim=sign(claim, key))
        assert (answer.status_code, answer.json()["code"]) == (403, code)

    def test_not_running_yet(self, site: Site) -> None:
        """While Batch does not tell that the task runs its container is put off; then it gets its runner."""
        site.pool.told_after_s = 3600.0
        run = site.started()
        answer = site.ask(run)
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "not-running", "2")
        site.pool.told_after_s = 0.0
        assert site.ask(run).status_code == 200

    def test_eviction(self, site: Site) -> None:
        """After its node was lost Batch runs the task again: the second container gets a runner of its own."""
        run = site.started()
        first = site.runner_of(site.ask(run))
        site.deployment.batch.preempt(run.node_id)
        until(lambda: site.run_of(run.task_id).attempt == 2)
        again = site.run_of(run.task_id)
        assert again.environment["GHR_CLAIM"] == run.environment["GHR_CLAIM"]
        second = site.runner_of(site.ask(again, OTHER_NONCE))
        assert second != first
        assert site.ask(run).status_code == 409

    def test_github_is_busy(self, site: Site) -> None:
        """What GitHub asks for in seconds is what the container is put off for."""
        run = site.started()
        body = '{"message": "You have exceeded a secondary rate limit"}'
        fault = Fault("status", f"POST {JIT}", status=429, headers={"Retry-After": "1"}, body=body)
        site.deployment.github.faults.add(fault)
        answer = site.ask(run)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
