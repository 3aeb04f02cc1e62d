"""Why a job waits: a prepared situation for every verdict, on the deployed shape."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.cli.main import run
from orchestrator.explain.verdict import Verdict
from sandbox.batch.model import Pool, TaskRun
from sandbox.deployment import ORGANIZATION, REPOSITORY, Deployment
from sandbox.faults import Fault
from sandbox.github.model import Job, Label, Registration, Runner, Scope
from tests.contracts import CHECKER, assert_kept
from tests.e2e.helpers import pass_over
from tests.waiting import until

JSON = {"Content-Type": "application/json"}
SCOPE = Scope("organization", ORGANIZATION)
# One profile, with a pool of its own, for each kind of trouble.
POOLS = {
    "ready": Pool("ready", nodes=1, slots_per_node=100),
    "small": Pool("small", nodes=1, scale="fixed"),
    "growing": Pool("growing", start_delay_s=3600),
    "short": Pool("short", resize_error=("AccountCoreQuotaReached", "The core quota is reached")),
    "wrong": Pool("wrong", formula_error=("AutoScalingFormulaEvaluationError", "no such variable")),
    "broken": Pool("broken", start_delay_s=0, start_task_error=("FailureExitCode", "the start task failed")),
    "spot": Pool("spot", nodes=1),
    "narrow": Pool("narrow", nodes=1, scale="fixed"),
    "taken": Pool("taken", nodes=1, slots_per_node=100),
    "limited": Pool("limited", nodes=1, slots_per_node=100),
}
PROFILES = [{"name": name, "labels": [name], "pool": name, "image": "r.example/i"} for name in POOLS] + [
    {"name": "gone", "labels": ["gone"], "pool": "still", "image": "r.example/i"}
]
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "narrow": {"slots": 2},
    "limited": {"maxRunners": 1, "repositories": [f"{ORGANIZATION}/limited"], "runnerGroup": "limited"},
}
SETTINGS = {
    # Neither makes calls of its own beside those that are counted.
    "AzureWebJobs.Reconcile.Disabled": "true",
    "AzureWebJobs.RunnerRequests.Disabled": "true",
    "RunnerProfiles": json.dumps([{**profile, **OPTIONS.get(str(profile["name"]), {})} for profile in PROFILES]),
    "UbuntuPool": "",
    "WindowsPool": "",
    "AllowedRepositories": f"{ORGANIZATION}/app,{ORGANIZATION}/limited,{ORGANIZATION}/outside",
}


class Steered:
    """Tasks that end when a test says so."""

    def __init__(self) -> None:
        self.begun: dict[str, tuple[TaskRun, Callable[[TaskRun, int], None]]] = {}

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Take note of a task."""
        self.begun[run.task_id] = (run, finished)

    def stop(self, run: TaskRun) -> None:
        """Do nothing."""

    def files(self, _task_id: str) -> Mapping[str, bytes]:
        """Return what each of these tasks has written."""
        return {"stdout.txt": b"ghr: what the entrypoint said", "stderr.txt": b""}

    def close(self) -> None:
        """Do nothing."""

    def end(self, task: str, code: int) -> None:
        """End a task."""
        begun, finished = self.begun[task]
        finished(begun, code)


class World:
    """A deployment, and what prepares situations in it."""

    def __init__(self, deployment: Deployment, executor: Steered) -> None:
        self.deployment, self.executor = deployment, executor
        self.github, self.batch = deployment.github, deployment.batch
        if self.github.hooks.all:
            until(lambda: self.github.deliveries and self.github.deliveries[0].answer)  # the ping's

    def queued(self, label: str = "ready", repository: str = REPOSITORY, **options: Any) -> Job:
        """Queue a job; return it when its delivery was answered."""
        before = len(self.github.deliveries)
        job = self.github.queue_job(repository, ["self-hosted", label], **options)
        until(lambda: len(self.github.deliveries) > before and self.github.deliveries[0].answer is not None)
        return job

    def waiting(self, label: str) -> Job:
        """Queue a job; return it when it has a task."""
        job = self.queued(label)
        assert task_of(job) in self.batch.task_bodies()
        self.batch.tick()  # the pool's formula sees it
        return job

    def running(self, label: str = "ready") -> Job:
        """Queue a job; return it when its task runs."""
        job = self.waiting(label)
        until(lambda: task_of(job) in self.executor.begun)
        return job

    def ended(self, code: int) -> Job:
        """Queue a job; return it when its task has ended."""
        job = self.running()
        self.executor.end(task_of(job), code)
        return job

    def online(self, job: Job, *labels: str) -> Runner:
        """Let the runner of a job's task register and listen."""
        with self.github.changing() as now:
            wish = Registration(task_of(job), tuple(map(Label, labels)), ephemeral=True)
            runner = self.github.state.register(SCOPE, wish, now)
            self.github.state.connect(runner, now)
            self.github.state.listen(runner, now)
        return runner

    def taken(self) -> tuple[Job, Runner]:
        """Queue a job; return it when its runner runs it."""
        job = self.running("taken")
        runner = self.online(job, "self-hosted", "taken")
        with self.github.changing() as now:
            self.github.state.start(runner, job.id, now)
        return job, runner

    @contextmanager
    def hook(self, **changes: Any) -> Iterator[None]:
        """Change the webhook for a while."""
        (hook,) = self.github.hooks.all
        self.github.hooks.change(replace(hook, **changes))
        yield
        self.github.hooks.change(hook)

    def unheard(self) -> Job:
        """Queue a job of which no delivery tells."""
        with self.hook(events=frozenset({"ping"})):
            return self.github.queue_job(REPOSITORY, ["self-hosted", "ready"])

    def ask(self, job: Job | str, accept: str = "application/json", **headers: str) -> requests.Response:
        """Ask the function about a job."""
        named = job if isinstance(job, str) else address(self, job)
        sent = {"Accept": accept, "x-functions-key": self.deployment.key, **headers}
        url = f"{self.deployment.host.url}/api/explain"
        return requests.get(url, params={"job": named}, headers=sent, timeout=60)

    def explained(self, job: Job) -> Mapping[str, Any]:
        """Return the report on a job; it costs few calls."""
        self.github.recorder.clear()
        self.batch.recorder.clear()
        answer = self.ask(job)
        assert answer.status_code == 200, answer.text
        assert len(self.github.recorder.calls) <= 15, self.github.recorder.calls
        assert len(self.batch.recorder.calls) <= 6, self.batch.recorder.calls
        assert {call.split()[0] for call in [*self.github.recorder.calls, *self.batch.recorder.calls]} <= {"GET"}
        report: Mapping[str, Any] = answer.json()
        return report


def task_of(job: Job) -> str:
    """Return the id of a job's first task."""
    return f"runner-{job.id}-1"


def address(world: World, job: Job) -> str:
    """Return a job's address in a browser."""
    return f"{world.github.url}/{job.repository.full_name}/actions/runs/{job.run_id}/job/{job.id}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Return a deployment that makes no passes, so that each situation stays as it was prepared."""
    executor = Steered()
    with Deployment(settings=SETTINGS, pools=[*POOLS.values(), Pool("still", scale="fixed")], executor=executor) as it:
        world = World(it, executor)
        for name in ("limited", "outside", "forbidden"):
            world.github.add_repository(f"{ORGANIZATION}/{name}")
        admitted = [REPOSITORY, f"{ORGANIZATION}/limited"]
        world.github.add_runner_group(SCOPE, "Default", repositories=admitted)
        world.github.add_runner_group(SCOPE, "limited", repositories=[f"{ORGANIZATION}/limited"])
        yield world


def completed(world: World) -> Job:
    """A runner ran the job to its end."""
    job, runner = world.taken()
    with world.github.changing() as now:
        world.github.state.finish(runner, job.id, "success", now)
    return job


def cancelled(world: World) -> Job:
    """Somebody cancelled the job."""
    job = world.waiting("growing")
    world.github.cancel_job(job.id)
    until(lambda: (last := world.github.deliveries[0]).action == "completed" and last.answer is not None)
    return job


def full(world: World) -> Job:
    """Another job's task has the only slot."""
    world.running("small")
    return world.waiting("small")


def evicted(world: World) -> Job:
    """The task's node was taken away, and there is no other."""
    job = world.running("spot")
    POOLS["spot"].resize_error = ("AllocationFailed", "no Spot capacity")
    world.batch.preempt(world.batch.node_ids("spot")[0])
    return job


def broken(world: World) -> Job:
    """The start task failed on every node."""
    job = world.waiting("broken")
    until(lambda: set(world.batch.node_states("broken")) == {"startTaskFailed"})
    return job


def no_pool(world: World) -> Job:
    """Somebody deleted the pool."""
    job = world.waiting("gone")
    body = '{"code": "PoolNotFound", "message": {"lang": "en-US", "value": "The specified pool does not exist."}}'
    world.batch.faults.add(Fault("status", "GET /pools/still", status=404, body=body, headers=JSON))
    return job


def no_image(world: World) -> Job:
    """The image could not be pulled."""
    job = world.running()
    body = world.batch.task_bodies()[task_of(job)]
    world.batch.fail_task(str(body["jobId"]), task_of(job), "ContainerInvalidImage", "no such image")
    return job


def over_quota(world: World) -> Job:
    """Another job of the profile has its only runner."""
    world.queued("limited", f"{ORGANIZATION}/limited")
    return world.queued("limited", f"{ORGANIZATION}/limited")


def kept(world: World) -> Job:
    """Batch takes no task."""
    world.batch.faults.add(Fault("status", "POST /jobs/*", status=503))
    return world.queued()


def not_answered(world: World) -> Job:
    """GitHub reaches nobody."""
    with world.hook(url="http://127.0.0.1:9/api/ProvideActionsRunner"):
        return world.queued()


def refused(world: World) -> Job:
    """The webhook has another secret."""
    with world.hook(secret="another"):
        return world.queued()


def silent(world: World) -> Job:
    """GitHub does not answer about a job that has no task."""
    job = world.unheard()
    world.github.faults.add(Fault("status", f"GET /repos/*/actions/jobs/{job.id}"))
    return job


def forbidden(world: World) -> Job:
    """Batch refuses to list tasks."""
    job = world.waiting("growing")
    body = '{"code": "AuthorizationPermissionMismatch"}'
    world.batch.faults.add(Fault("status", "GET /jobs/*/tasks", status=403, body=body, headers=JSON))
    return job


def idle(world: World) -> Job:
    """The runner has other labels than the job."""
    job = world.running()
    world.online(job, "self-hosted")
    return job


SITUATIONS: Mapping[Verdict, Callable[[World], Job]] = {
    Verdict.NOT_OURS: lambda world: world.queued("unheard-of"),
    Verdict.NOT_ALLOWED: lambda world: world.queued(repository=f"{ORGANIZATION}/forbidden"),
    Verdict.RUNNER_NOT_ADMITTED: lambda world: world.queued(repository=f"{ORGANIZATION}/outside"),
    Verdict.UPSTREAM_REFUSED: forbidden,
    Verdict.DELIVERY_FAILED: not_answered,
    Verdict.DELIVERY_REFUSED: refused,
    Verdict.NO_DELIVERY: World.unheard,
    Verdict.KEPT: kept,
    Verdict.OVER_QUOTA: over_quota,
    Verdict.STARTS_NEXT_PASS: lambda world: world.ended(69),
    Verdict.POOL_MISSING: no_pool,
    Verdict.POOL_GROWING: lambda world: world.waiting("growing"),
    Verdict.POOL_FULL: full,
    Verdict.POOL_CANNOT_GROW: lambda world: world.waiting("short"),
    Verdict.NEVER_FITS: lambda world: world.waiting("narrow"),
    Verdict.NODE_BROKEN: broken,
    Verdict.NODE_LOST: evicted,
    Verdict.IMAGE_NOT_PULLED: no_image,
    Verdict.RUNNER_FAILED: lambda world: world.ended(75),
    Verdict.RUNNER_VERSION_REFUSED: lambda world: world.ended(7),
    Verdict.RUNNER_STARTING: World.running,
    Verdict.RUNNER_IDLE: idle,
    Verdict.TAKEN_BY_OTHER: lambda world: world.ended(0),
    Verdict.WAITING_AT_GITHUB: lambda world: world.github.queue_job(
        REPOSITORY, ["self-hosted", "ready"], environment="production"
    ),
    Verdict.RUNNING: lambda world: world.taken()[0],
    Verdict.COMPLETED: completed,
    Verdict.CANCELLED: cancelled,
    Verdict.CANNOT_TELL: silent,
}


@pytest.mark.parametrize("verdict", SITUATIONS)
def test_verdict(world: World, verdict: Verdict) -> None:
    """Each situation gets its verdict, within fifteen calls to GitHub and six to Batch, and changes nothing."""
    job = SITUATIONS[verdict](world)
    report = world.explained(job)
    assert report["verdict"] == verdict, report


def test_output(world: World) -> None:
    """What the task of a failed runner has written is shown, from where it outlives the node."""
    report = world.explained(world.ended(75))
    (output,) = [fact for fact in report["facts"] if fact["about"] == "output"]
    assert output["lines"] == ["ghr: what the entrypoint said"]
    assert output["says"] == f"all of it: {output['place']}"


def test_not_found(world: World) -> None:
    """A job that GitHub does not know is told as such, by its address and by its number."""
    unknown = f"{world.github.url}/{REPOSITORY}/actions/runs/1/job/99"
    assert [world.ask(named).json()["verdict"] for named in (unknown, "98")] == ["not-found", "cannot-tell"]


def test_a_failed_formula(world: World) -> None:
    """Why the pool's formula cannot be evaluated is in the sentence and among the facts."""
    report = world.explained(world.waiting("wrong"))
    assert report["verdict"] == "pool-cannot-grow"
    assert "AutoScalingFormulaEvaluationError: no such variable" in report["sentence"]
    assert [fact for fact in report["facts"] if fact.get("code") == "AutoScalingFormulaEvaluationError"]


def test_github_is_away(world: World) -> None:
    """While GitHub does not answer, the job's task tells what it waits for, and the rest is called not known."""
    job = world.waiting("growing")
    world.github.faults.add(Fault("status", f"GET /repos/*/actions/jobs/{job.id}"))
    report = world.explained(job)
    assert report["verdict"] == "pool-growing"
    assert str(report["facts"][0]["says"]).startswith("not known: ")


def test_a_slow_service(world: World) -> None:
    """What a service does not tell in time is not known, and the rest is told."""
    job = world.waiting("growing")
    world.batch.faults.add(Fault("latency", "GET /pools/growing", seconds=8))
    report = world.explained(job)
    assert report["verdict"] == "cannot-tell"
    assert "what Batch says of the pool growing" in report["sentence"]
    assert [fact["says"] for fact in report["facts"] if fact.get("profile")] == [
        "growing: pool growing, image r.example/i"
    ]


def test_two_operators(world: World) -> None:
    """Who asks again within fifteen seconds costs nobody a call, in whatever form he reads it; text is the default."""
    job = world.waiting("growing")
    report = world.explained(job)
    before = len(world.github.recorder.calls), len(world.batch.recorder.calls)
    answer = world.ask(job, "*/*")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text.startswith(f"pool-growing: {report['sentence']}\nWhat to do: ")
    assert (len(world.github.recorder.calls), len(world.batch.recorder.calls)) == before


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("", "expected the address of a job"),
        ("https://gitlab.com/a/b/actions/runs/1/job/2", "the job is not at "),
        ("https://[", "expected the address of a job"),
    ],
)
def test_a_bad_reference(world: World, job: str, reason: str) -> None:
    """What names no job is refused with a sentence, as text and as JSON."""
    for accept in ("application/json", "text/plain"):
        answer = world.ask(job, accept)
        assert answer.status_code == 400
        assert reason in answer.text


def test_a_wrong_key(world: World) -> None:
    """Without the key nobody is told anything."""
    answer = world.ask("7", **{"x-functions-key": "wrong"})
    assert (answer.status_code, answer.text) == (401, "")


def test_no_secret_is_shown(world: World) -> None:
    """Neither the registration in a task, nor the webhook's address with its key, nor any credential is shown."""
    shown = [
        world.ask(job, accept).text for job in (idle(world), refused(world)) for accept in ("*/*", "application/json")
    ]
    body = json.dumps(world.batch.task_bodies())
    assert "GHR_TOKEN" in body
    for text in shown:
        for secret in ("GHR_TOKEN", world.deployment.key, world.deployment.secret, "ghp_sandbox", "code="):
            assert secret not in text


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command(
    world: World, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command asks the function, and from inside the network GitHub and Batch; both say the same."""
    job = world.waiting("short")
    monkeypatch.setenv("OPERATOR_KEY", world.deployment.key)
    assert run(["explain", address(world, job), "--url", world.deployment.host.url, *options]) == 1
    over_http = capsys.readouterr().out
    for name, value in world.deployment.settings().items():
        monkeypatch.setenv(name, value)
    assert run(["explain", address(world, job), *options]) == 1
    directly = capsys.readouterr().out
    assert "pool-cannot-grow" in directly
    assert directly.splitlines()[:3] == over_http.splitlines()[:3]


def test_a_quota_from_here(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that has counted no runners tells of a quota by the delivery's answer."""
    job = over_quota(world)
    for name, value in world.deployment.settings().items():
        monkeypatch.setenv(name, value)
    assert run(["explain", address(world, job)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("over-quota: the job's delivery was answered with 202 waits: ")
    assert "not known: no delivery was held against it here" in printed


def test_an_old_runner() -> None:
    """A container that has run for ten minutes without an online runner is told; so is when the last pass was."""
    executor = Steered()
    with Deployment(settings=SETTINGS, pools=[Pool("ready", nodes=1)], executor=executor, lag=700) as deployment:
        world = World(deployment, executor)
        report = world.explained(world.running())
        pass_over(deployment)
        until(lambda: deployment.queue.blobs.contents)  # what the pass remembers is written at its very end
        after = world.explained(world.queued())
    assert report["verdict"] == Verdict.RUNNER_OFFLINE
    assert "the last one ended at" not in report["next"]
    assert "the last one ended at" in after["next"]


def test_misconfigured() -> None:
    """While app settings are wrong, whoever asks is told which."""
    with Deployment(settings={"GithubToken": ""}, connect_hook=False) as deployment:
        answer = World(deployment, Steered()).ask("7")
    assert answer.status_code == 200
    assert (answer.json()["verdict"], answer.json()["facts"]) == (Verdict.MISCONFIGURED, [])
    assert "GithubToken" in answer.json()["sentence"]


def test_every_verdict_is_prepared() -> None:
    """No verdict is without its situation."""
    elsewhere = {Verdict.NOT_FOUND, Verdict.RUNNER_OFFLINE, Verdict.MISCONFIGURED}
    assert set(SITUATIONS) | elsewhere == set(Verdict)


@pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")
def test_contract(world: World, tmp_path: Path) -> None:
    """What is asked, and what the stand-ins answer, is as the schemas of GitHub and of Batch have it."""
    exchanges = []
    for prepare in (idle, World.unheard, broken, World.running):
        world.explained(prepare(world))
        exchanges += [*world.github.recorder.exchanges, *world.batch.recorder.exchanges]
    # The checker's schema has no lists of webhooks.
    assert_kept([exchange for exchange in exchanges if not exchange["path"].endswith("/hooks")], tmp_path)
