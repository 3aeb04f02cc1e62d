"""The task of a container that claims, against a Batch that answers over a socket."""

import pytest

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.claiming_tasks import ClaimingTasks
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.errors import TransientError
from sandbox.batch import Batch
from sandbox.faults import Fault
from tests.batch_tasks import NoExecutor, task
from tests.waiting import until

JOB = job_id("linux", "acme", "normal")
CLAIM = {"GHR_CLAIM": "v1.payload.mac", "GHR_URL": "https://github.com/acme"}


@pytest.fixture
def claiming(batch_account: BatchAccount) -> ClaimingTasks:
    """Return the client."""
    return ClaimingTasks(batch_account)


def test_from_start_to_end(batch: Batch, tasks: RunnerTasks, claiming: ClaimingTasks) -> None:
    """A task waits, runs since a moment, and has ended; it carries its claim, and one call tells all of it."""
    tasks.add(task(environment=CLAIM))
    tasks.add(task(task_id="runner-2-1", pool="still", environment={}))
    batch.recorder.clear()
    waiting = claiming.look(job_id("still", "acme", "normal"), "runner-2-1")
    assert batch.recorder.calls == [f"GET /jobs/{job_id('still', 'acme', 'normal')}/tasks/runner-2-1 -> 200"]
    assert waiting is not None
    assert (waiting.state, waiting.started_at, waiting.claim) == ("waiting", None, "")
    executor = batch.executor
    assert isinstance(executor, NoExecutor)
    until(lambda: executor.runs)
    running = claiming.look(JOB, "runner-1-1")
    assert running is not None
    assert (running.state, running.claim) == ("running", "v1.payload.mac")
    assert running.started_at is not None
    assert (running.notes.registration, running.notes.url) == ("claim", "https://github.com/acme")
    assert "v1.payload.mac" not in repr(running)
    again = claiming.look(JOB, "runner-1-1")
    assert again is not None
    assert again.started_at == running.started_at
    executor.end()
    ended = claiming.look(JOB, "runner-1-1")
    assert ended is not None
    assert ended.state == "finished"


def test_preparing(batch: Batch, tasks: RunnerTasks, claiming: ClaimingTasks) -> None:
    """A task that Batch still prepares does not run yet."""
    tasks.add(task(environment=CLAIM))
    body = '{"id": "runner-1-1", "state": "preparing", "executionInfo": {"startTime": "2026-11-25T12:00:00Z"}}'
    batch.faults.add(Fault("status", "GET */tasks/runner-1-1", status=200, body=body))
    found = claiming.look(JOB, "runner-1-1")
    assert found is not None
    assert found.state == "waiting"


def test_none(batch: Batch, tasks: RunnerTasks, claiming: ClaimingTasks) -> None:
    """There is no task where there is no Batch job, or none of that id; trouble is no answer."""
    assert claiming.look(JOB, "runner-1-1") is None
    tasks.add(task(environment=CLAIM))
    assert claiming.look(JOB, "runner-2-1") is None
    for fault in (Fault("status", status=503), Fault("drop"), Fault("status", status=200, body="[]")):
        batch.faults.add(fault)
        with pytest.raises(TransientError):
            claiming.look(JOB, "runner-1-1")
