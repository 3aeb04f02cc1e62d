"""A limit on the runners of a repository, on the deployed shape."""

from collections.abc import Iterator

import pytest

from sandbox.batch.model import Pool
from sandbox.deployment import REPOSITORY, Deployment
from tests.e2e.helpers import answers
from tests.waiting import until

LABELS = ("self-hosted", "ubuntu-latest")
LIMITED = {"RunnerScope": "repository", "MaxRunnersPerRepository": "1"}


@pytest.fixture
def pools() -> list[Pool]:
    """Return pools without a machine, where every task waits."""
    return [Pool("batchLinux", "linux", scale="fixed"), Pool("batchWindows", "windows", scale="fixed")]


@pytest.fixture
def deployment(pools: list[Pool]) -> Iterator[Deployment]:
    """Return a deployment where each repository has one runner."""
    with Deployment(settings=LIMITED, pools=pools) as deployment:
        until(lambda: deployment.github.deliveries and deployment.github.deliveries[0].answer)
        yield deployment


def test_a_held_job_starts_when_another_ends(deployment: Deployment) -> None:
    """A job beyond the limit is answered with who has the slots, and starts by itself as soon as a slot is free."""
    first = deployment.github.queue_job(REPOSITORY, LABELS)
    until(lambda: len(answers(deployment)) == 1)
    second = deployment.github.queue_job(REPOSITORY, LABELS)
    until(lambda: len(answers(deployment)) == 2)
    status, answer = answers(deployment)[0]
    assert (status, answer["result"]) == (202, "waits")
    assert answer["reason"] == f"{REPOSITORY} has 1 of 1 runners (MaxRunnersPerRepository): runner-{first.id}-1"
    assert list(deployment.batch.task_bodies()) == [f"runner-{first.id}-1"]
    deployment.github.cancel_job(first.id)
    until(lambda: f"runner-{second.id}-1" in deployment.batch.task_bodies())
    assert deployment.batch.task_bodies()[f"runner-{first.id}-1"]["state"] == "completed"


def test_a_limit_without_effect(pools: list[Pool]) -> None:
    """Where other repositories may take the runners, the log says at the start that a limit does nothing."""
    with Deployment(settings={"MaxRunnersPerRepository": "1"}, pools=pools) as deployment:
        for _ in range(2):
            deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: len(answers(deployment)) == 2)
        assert [status for status, _ in answers(deployment)] == [201, 201]
        assert all("MaxRunnersPerRepository takes no effect" in answer["reason"] for _, answer in answers(deployment))
        assert "MaxRunnersPerRepository of profile ubuntu-latest takes no effect" in deployment.host.logs
