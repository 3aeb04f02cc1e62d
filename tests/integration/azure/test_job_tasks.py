"""The tasks of one job, against a Batch that answers over a socket."""

from typing import Any

import pytest

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.job_tasks import JobTasks
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.config.profiles import Profile
from orchestrator.errors import TransientError, UpstreamRefused
from sandbox.batch import Batch
from sandbox.faults import Fault
from tests.batch_tasks import task
from tests.builders import settings

OWN = job_id("linux", "acme", "normal")


@pytest.fixture
def profile() -> Profile:
    """Return the profile of the jobs."""
    return settings(UbuntuPool="linux").profiles[0]


@pytest.fixture
def job_tasks(batch_account: BatchAccount) -> JobTasks:
    """Return the client."""
    return JobTasks(batch_account)


def ids(found: Any) -> list[str]:
    """Return the ids of tasks."""
    return [state.task_id for state in found]


def test_one_call(batch: Batch, tasks: RunnerTasks, job_tasks: JobTasks, profile: Profile) -> None:
    """All tasks of the job, and no other's, are found in one call where its account's tasks are now."""
    for name in ("runner-1-1", "runner-1-1-r1", "runner-1-2", "runner-11-1", "runner-1-1-x"):
        tasks.add(task(task_id=name))
    batch.recorder.clear()
    found = job_tasks.of_job(profile, "acme", 1)
    assert sorted(ids(found)) == ["runner-1-1", "runner-1-1-r1", "runner-1-2"]
    assert {state.batch_job for state in found} == {OWN}
    assert batch.recorder.calls == [f"GET /jobs/{OWN}/tasks -> 200"]


def test_another_priority(batch: Batch, tasks: RunnerTasks, job_tasks: JobTasks, profile: Profile) -> None:
    """A task that was created while the profile had another priority is found as well."""
    tasks.add(task(priority="high"))
    tasks.add(task(account="other"))
    batch.recorder.clear()
    assert ids(job_tasks.of_job(profile, "acme", 1)) == ["runner-1-1"]
    assert len(batch.recorder.calls) == 3


def test_no_task(batch: Batch, tasks: RunnerTasks, job_tasks: JobTasks, profile: Profile) -> None:
    """That there is no task is said after four calls at most; with more Batch jobs it is not said."""
    assert job_tasks.of_job(profile, "acme", 2) == ()
    for priority in ("low", "high", "normal"):
        tasks.add(task(priority=priority, task_id=f"runner-{len(priority)}-1"))
    batch.recorder.clear()
    assert job_tasks.of_job(profile, "acme", 2) == ()
    assert len(batch.recorder.calls) == 4
    tasks.add(task(account="other"))
    with pytest.raises(TransientError, match="4 Batch jobs may hold its tasks, and only 3 are looked into"):
        job_tasks.find(2)


def test_a_number_alone(batch: Batch, tasks: RunnerTasks, job_tasks: JobTasks) -> None:
    """The tasks of a job are found in whatever pool, in four calls at most."""
    tasks.add(task(task_id="runner-5-1"))
    tasks.add(task(pool="still"))
    batch.recorder.clear()
    assert ids(job_tasks.find(1)) == ["runner-1-1"]
    assert len(batch.recorder.calls) == 3
    assert job_tasks.find(9) == ()


def test_trouble(batch: Batch, job_tasks: JobTasks, profile: Profile) -> None:
    """Silence is transient; a refusal is told as one."""
    batch.faults.add(Fault("status", status=503))
    with pytest.raises(TransientError):
        job_tasks.find(1)
    body = '{"code": "AuthorizationFailure"}'
    batch.faults.add(Fault("status", status=403, body=body, headers={"Content-Type": "application/json"}))
    with pytest.raises(UpstreamRefused, match="has the identity a role"):
        job_tasks.of_job(profile, "acme", 1)


def test_examples(batch: Batch, tasks: RunnerTasks, job_tasks: JobTasks) -> None:
    """Some tasks of a few Batch jobs are read, a page of each."""
    assert job_tasks.examples() == []
    for number in range(30):
        tasks.add(task(task_id=f"runner-{number}-1"))
    tasks.add(task(task_id="runner-99-1", account="other"))
    batch.recorder.clear()
    found = job_tasks.examples()
    assert (len(found), len({state.batch_job for state in found})) == (21, 2)
    assert len(batch.recorder.calls) == 3
