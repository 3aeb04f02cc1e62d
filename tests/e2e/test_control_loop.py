"""The nets behind the webhook, on the deployed shape: passes of the timer function mend what deliveries missed."""

from collections.abc import Iterator

import pytest

from orchestrator.azure.batch_jobs import job_id
from sandbox.batch.model import Pool
from sandbox.deployment import REPOSITORY, Deployment
from sandbox.faults import Fault
from sandbox.github.model import Job
from tests.e2e.helpers import all_done, answers, lines, pass_over
from tests.waiting import until

LABELS = ("self-hosted", "ubuntu-latest")
# Long enough ago for a job to count as forgotten by its delivery.
LAG = 301.0
IN_VIEW = {"ReconcileRepositories": REPOSITORY}


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Return a deployment that knows its repository by its settings."""
    with Deployment(settings=IN_VIEW, lag=LAG) as deployment:
        yield deployment


def full() -> list[Pool]:
    """Return pools without a machine, where every task waits."""
    return [Pool("batchLinux", "linux", scale="fixed"), Pool("batchWindows", "windows", scale="fixed")]


def silently(deployment: Deployment) -> Job:
    """Queue a job whose delivery never comes."""
    (hook,) = deployment.github.hooks.all
    deployment.github.hooks.remove(hook.id)
    job = deployment.github.queue_job(REPOSITORY, LABELS)
    deployment.connect_hook()
    return job


def test_a_delivery_that_never_came(deployment: Deployment) -> None:
    """A job that nobody told of gets its runner from a pass, and the next pass finds nothing to do."""
    job = silently(deployment)
    found = pass_over(deployment)
    assert [(line["action"], line["job"]) for line in found if "action" in line] == [("start runner", job.id)]
    until(lambda: all_done(deployment))
    until(lambda: {task["state"] for task in deployment.batch.task_bodies().values()} == {"completed"})
    assert pass_over(deployment)[-1]["actions"] == {}
    assert list(deployment.batch.task_bodies()) == [f"runner-{job.id}-1"]


def test_a_delivery_that_failed(deployment: Deployment) -> None:
    """What GitHub could not deliver while the function was down is sent again, once, and starts the runner."""
    deployment.github.queue_job(REPOSITORY, LABELS)  # the webhook is known from the task of an earlier job
    until(lambda: answers(deployment, "in_progress") and answers(deployment, "completed"))  # nothing else fails
    deployment.stop_host()
    deployment.github.queue_job(REPOSITORY, LABELS)
    until(lambda: [code for code, _ in answers(deployment)] == [502, 201])
    deployment.start_host()
    deployment.github.faults.add(
        Fault("status", "GET /repos/*/actions/runs", times=None, status=502)
    )  # no other net helps
    pass_over(deployment)
    until(lambda: all_done(deployment))
    until(lambda: [code for code, _ in answers(deployment)] == [201, 502, 201])
    pass_over(deployment)  # GitHub lists the attempt that succeeded: there is nothing more to do
    assert [line["result"] for line in lines(deployment, "redelivery")] == ["redelivered"]


def test_github_does_not_tell(deployment: Deployment) -> None:
    """While GitHub's lists fail, a pass decides nothing and says so; the next one does its work."""
    silently(deployment)
    deployment.github.faults.add(Fault("status", "GET /repos/*", status=502))
    found = pass_over(deployment)
    assert (found[0]["result"], found[0]["repository"]) == ("skipped", REPOSITORY)
    assert deployment.batch.task_bodies() == {}
    pass_over(deployment)
    until(lambda: all_done(deployment))


def test_the_batch_job_is_gone() -> None:
    """If somebody deletes the Batch job with all its tasks, the jobs that wait get new ones."""
    with Deployment(settings=IN_VIEW, pools=full(), lag=LAG) as deployment:
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(deployment.batch.task_bodies)
        deployment.batch.end_job(job_id("batchLinux", "acme", "normal"), delete_after=0.1)
        until(lambda: not deployment.batch.task_bodies())
        pass_over(deployment)
        assert list(deployment.batch.task_bodies()) == [f"runner-{job.id}-1"]


def test_a_runner_that_never_came() -> None:
    """A task that ends without a job is replaced while its job waits."""
    with Deployment(settings=IN_VIEW, lag=LAG) as deployment:
        deployment.github.faults.add(Fault("status", "POST /_runner/register", status=503))
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: {task["state"] for task in deployment.batch.task_bodies().values()} == {"completed"})
        (start, _) = pass_over(deployment)
        assert start["reason"].startswith("its runner ended without a job (exit code 75")
        until(lambda: all_done(deployment))
        assert sorted(deployment.batch.task_bodies()) == [f"runner-{job.id}-1", f"runner-{job.id}-1-r1"]


def test_a_registration_about_to_expire() -> None:
    """A task that waited for almost an hour is replaced by one with a fresh token: never two wait, and never none."""
    with Deployment(settings=IN_VIEW, pools=full(), lag=3600 - LAG) as deployment:
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(deployment.batch.task_bodies)
        (replace, _) = pass_over(deployment)
        assert (replace["action"], replace["result"]) == ("replace task", "replaced")
        states = {name: task["state"] for name, task in deployment.batch.task_bodies().items()}
        assert states == {f"runner-{job.id}-1": "completed", f"runner-{job.id}-1-r1": "active"}


def test_a_cancelled_job() -> None:
    """Where the delivery of a cancellation is lost too, the waiting task that nobody needs is ended by a pass."""
    with Deployment(settings=IN_VIEW, pools=full(), lag=LAG) as deployment:
        job = deployment.github.queue_job(REPOSITORY, LABELS)
        until(deployment.batch.task_bodies)
        (hook,) = deployment.github.hooks.all
        deployment.github.hooks.remove(hook.id)
        deployment.github.cancel_job(job.id)
        assert pass_over(deployment)[-1]["actions"] == {"end task": 1}
        assert deployment.batch.task_bodies()[f"runner-{job.id}-1"]["state"] == "completed"
