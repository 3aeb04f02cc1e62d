"""One Batch job for each pool, account and priority, against a Batch that answers over a socket."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch.models import BatchJobCreateOptions, BatchPoolInfo, BatchTaskContainerSettings, BatchTaskCreateOptions

from orchestrator.azure import tasks as tasks_module
from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import former_job_id, job_id
from orchestrator.azure.pools import PoolClient
from orchestrator.azure.tasks import LISTED_WITHIN_FOR_ADD, LISTED_WITHIN_FOR_LIVE, SETTLED_AFTER, RunnerTasks
from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.reconcile.finished_tasks import FinishedTasks
from sandbox.batch import Batch
from sandbox.faults import Fault
from tests.batch_tasks import task
from tests.fakes import ManualClock
from tests.waiting import until

JOB = job_id("still", "acme", "normal")
ADD = f"POST /jobs/{JOB}/tasks"
LIST = "GET /jobs -> 200"


@pytest.fixture
def clock() -> ManualClock:
    """Return the process's clock."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def tasks(batch_account: BatchAccount, clock: ManualClock) -> RunnerTasks:
    """Return the tasks as a process sees them that has just begun."""
    return RunnerTasks(batch_account, clock)


@pytest.fixture
def another(batch_account: BatchAccount) -> RunnerTasks:
    """Return the tasks as another process sees them."""
    return RunnerTasks(batch_account)


def still(task_id: str = "runner-1-1", **changes: Any) -> Any:
    """Return a task for a pool that never has a node."""
    return task(task_id=task_id, pool="still", **changes)


def add_former(tasks: RunnerTasks, batch: Batch, *names: str, pool: str = "still") -> str:
    """Create tasks in the one Batch job that the pool had in earlier versions; return the job's id."""
    job = former_job_id(pool)
    tasks._client.create_job(BatchJobCreateOptions(id=job, pool_info=BatchPoolInfo(pool_id=pool)))
    for name in names:
        container = BatchTaskContainerSettings(image_name="acme.azurecr.io/githubactions-runner:x")
        tasks._client.create_task(job, BatchTaskCreateOptions(id=name, command_line="", container_settings=container))
    batch.recorder.clear()
    return job


class TestLive:
    """`RunnerTasks.live`, which quotas count."""

    def test_of_another_process(self, tasks: RunnerTasks, another: RunnerTasks, clock: ManualClock) -> None:
        """A process that has just begun sees what others have created, and soon also what they create from then on."""
        another.add(still("runner-1-1"))
        assert [one.task_id for one in tasks.live("still")] == ["runner-1-1"]
        another.add(still("runner-2-1", account="other"))
        clock.advance(LISTED_WITHIN_FOR_LIVE + timedelta(seconds=1))
        assert sorted(one.task_id for one in tasks.live("still")) == ["runner-1-1", "runner-2-1"]

    def test_trouble(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If Batch does not list its jobs, nothing is counted."""
        batch.faults.add(Fault("status", "GET /jobs", status=503))
        with pytest.raises(TransientError, match="list the Batch jobs"):
            tasks.live("still")


class TestJobs:
    """The Batch jobs that are made."""

    def test_one_for_each(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Pool, account and priority each have a Batch job of their own, with Batch's number for the priority."""
        for number, changes in enumerate(
            ({}, {"account": "ACME"}, {"account": "other"}, {"priority": "low"}, {"priority": "high"})
        ):
            assert tasks.add(still(f"runner-{number}-1", **changes))
        found = {name: (body["priority"], body["poolInfo"]) for name, body in batch.job_bodies().items()}
        pool = {"poolId": "still"}
        assert found == {
            JOB: (0, pool),
            job_id("still", "other", "normal"): (0, pool),
            job_id("still", "acme", "low"): (-500, pool),
            job_id("still", "acme", "high"): (500, pool),
        }
        assert {name: body["jobId"] for name, body in batch.task_bodies().items()}["runner-1-1"] == JOB

    def test_slots_wanted(self, tasks: RunnerTasks, batch: Batch, batch_account: BatchAccount) -> None:
        """A boost counts the slots of all Batch jobs of a pool, those of earlier versions too, and no other pool's."""
        add_former(tasks, batch, "runner-9-1")
        tasks.add(still(slots=2))
        tasks.add(still("runner-2-1", account="other", slots=4))
        tasks.add(task(task_id="runner-3-1", slots=8))
        pools = PoolClient(batch_account)
        assert pools.slots_wanted("still") == 7
        batch.faults.add(Fault("status", "GET */taskcounts", status=404, body='{"code": "JobNotFound"}', headers=JSON))
        assert pools.slots_wanted("still") == 6

    def test_foreign_jobs(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Batch jobs of others, and those of other pools, are never looked into."""
        for name, pool in (("nightly", "still"), ("github-runner-othersPool", "othersPool")):
            tasks._client.create_job(BatchJobCreateOptions(id=name, pool_info=BatchPoolInfo(pool_id=pool)))
        assert list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks())) == []
        assert [call for call in batch.recorder.calls if "/tasks" in call] == []


JSON = {"Content-Type": "application/json;odata=minimalmetadata"}


class TestTwice:
    """A workflow job has one task of its id in all of its pool's Batch jobs."""

    def test_of_an_earlier_version(self, batch: Batch, tasks: RunnerTasks) -> None:
        """After an update, a redelivery finds the task that the version before created."""
        add_former(tasks, batch, "runner-1-1")
        assert not tasks.add(still(queued_at=None))
        assert batch.recorder.calls == [LIST, f"GET /jobs/{former_job_id('still')}/tasks/runner-1-1 -> 200"]
        assert not tasks.add(still(queued_at=None))
        assert tasks.add(still("runner-2-1", queued_at=None))

    @pytest.mark.parametrize("priority", ["low", "high"])
    def test_of_another_priority(self, tasks: RunnerTasks, another: RunnerTasks, priority: str) -> None:
        """A profile's new priority starts no second runner for a job that has one."""
        assert another.add(still(priority=priority))
        assert not tasks.add(still(queued_at=datetime.now(UTC) - timedelta(hours=1)))

    def test_of_a_renamed_account(self, tasks: RunnerTasks, another: RunnerTasks) -> None:
        """A task that this process has listed is recognised, whatever the account was called."""
        another.add(still(account="old-name"))
        assert len(list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks()))) == 1
        assert not tasks.add(still(account="new-name"))
        tasks.delete("still", "runner-1-1")
        assert tasks.add(still(account="new-name"))

    def test_young_jobs_cost_one_call(self, batch: Batch, tasks: RunnerTasks, clock: ManualClock) -> None:
        """A job that was queued after all processes had today's settings is not looked for."""
        add_former(tasks, batch, "runner-1-1")
        tasks.add(still("runner-2-1"))
        batch.recorder.clear()
        began = clock()
        assert tasks.add(still("runner-3-1", queued_at=began + SETTLED_AFTER))
        assert batch.recorder.calls == [f"{ADD} -> 201"]
        assert not tasks.add(still(queued_at=began + SETTLED_AFTER - timedelta(seconds=1)))

    def test_the_list_of_jobs_is_kept(self, batch: Batch, tasks: RunnerTasks, clock: ManualClock) -> None:
        """The Batch jobs are listed once in five minutes, and those of other accounts are never asked for a task."""
        tasks.add(still("runner-9-1", account="other"))
        tasks.add(still("runner-8-1"))
        batch.recorder.clear()
        for number in (1, 2):
            tasks.add(still(f"runner-{number}-1", queued_at=None))
        clock.advance(LISTED_WITHIN_FOR_ADD + timedelta(seconds=1))
        tasks.add(still("runner-3-1", queued_at=None))
        add = f"{ADD} -> 201"
        assert batch.recorder.calls == [LIST, add, add, LIST, add]

    @pytest.mark.parametrize("body", ["null", "[]", "{}", '{"id": "runner-2-1"}'])
    def test_an_answer_of_another_shape(self, batch: Batch, tasks: RunnerTasks, body: str) -> None:
        """What names no task, or another one, is not taken for the job's task."""
        tasks.add(still("runner-9-1", priority="low"))
        headers = {"Content-Type": "application/json"}
        batch.faults.add(Fault("status", "GET */tasks/runner-1-1", status=200, body=body, headers=headers))
        with pytest.raises(TransientError):
            tasks.add(still("runner-1-1", queued_at=None))
        assert tasks.add(still("runner-1-1", queued_at=None))

    def test_trouble(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If Batch does not tell whether there is a task, none is created."""
        batch.faults.add(Fault("status", "GET /jobs", status=503))
        with pytest.raises(TransientError, match="look for a task now: 503"):
            tasks.add(still(queued_at=None))
        assert batch.task_bodies() == {}

    def test_two_of_one_id(self, tasks: RunnerTasks, another: RunnerTasks) -> None:
        """If there are two all the same, both are listed, and each can be ended by its Batch job."""
        tasks.add(still())
        another.add(still(account="renamed"))
        found = list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks()))
        assert len({one.key for one in found}) == 2
        for one in found:
            assert tasks.end_waiting("still", one.task_id, one.batch_job)
        assert {one.state for one in tasks.listed(["still"], datetime.now(UTC), FinishedTasks())} == {"finished"}


class TestAllJobs:
    """A pool's tasks are found in all of its Batch jobs."""

    @pytest.fixture
    def spread(self, batch: Batch, tasks: RunnerTasks, another: RunnerTasks) -> RunnerTasks:
        """Return the tasks as a process sees them that has created none of them."""
        add_former(another, batch, "runner-1-1")
        another.add(still("runner-2-1", account="other"))
        another.add(still("runner-3-1", priority="low"))
        return tasks

    def test_seen(self, spread: RunnerTasks) -> None:
        """They are listed and looked up with the Batch job that holds them."""
        jobs = {
            "runner-1-1": former_job_id("still"),
            "runner-2-1": job_id("still", "other", "normal"),
            "runner-3-1": job_id("still", "acme", "low"),
        }
        assert {name: getattr(spread.state("still", name), "batch_job", None) for name in jobs} == jobs
        assert {
            one.task_id: one.batch_job for one in spread.listed(["still"], datetime.now(UTC), FinishedTasks())
        } == jobs
        assert spread.state("still", "runner-4-1") is None

    def test_ended_and_deleted(self, spread: RunnerTasks) -> None:
        """They are ended and deleted, in a Batch job of an earlier version too, until nothing is left in it."""
        assert spread.end_waiting("still", "runner-1-1")
        spread.end("still", "runner-2-1")
        spread.end("still", "runner-3-1")
        states = {one.task_id: one.state for one in spread.listed(["still"], datetime.now(UTC), FinishedTasks())}
        assert states == dict.fromkeys(("runner-1-1", "runner-2-1", "runner-3-1"), "finished")
        for name in states:
            spread.delete("still", name)
        assert list(spread.listed(["still"], datetime.now(UTC), FinishedTasks())) == []

    def test_a_known_task_costs_no_search(self, batch: Batch, spread: RunnerTasks) -> None:
        """Where a task was listed, what is done with it goes straight to its Batch job."""
        assert len(list(spread.listed(["still"], datetime.now(UTC), FinishedTasks()))) == 3
        batch.recorder.clear()
        assert spread.end_waiting("still", "runner-3-1")
        task_path = f"/jobs/{job_id('still', 'acme', 'low')}/tasks/runner-3-1"
        assert batch.recorder.calls == [f"GET {task_path} -> 200", f"POST {task_path}/terminate -> 204"]

    def test_of_an_account(self, batch: Batch, spread: RunnerTasks, another: RunnerTasks) -> None:
        """A task of a known account is looked for in that account's Batch jobs, however many others the pool has."""
        for number in range(10, 20):
            another.add(still(f"runner-{number}-1", account=f"other-{number}"))
        batch.recorder.clear()
        assert spread.state("still", "runner-1-1", account="acme")  # in a Batch job of an earlier version
        assert spread.state("still", "runner-3-1", account="ACME")
        assert not spread.state("still", "runner-2-1", account="acme")
        assert spread.end_waiting("still", "runner-2-1", account="other")
        assert not spread.end_waiting("still", "runner-9-1", account="acme")
        looked = {call.split("/")[2] for call in batch.recorder.calls if "/tasks/" in call}
        assert looked == {
            former_job_id("still"), job_id("still", "acme", "low"), job_id("still", "other", "normal"),
        }  # fmt: skip

    def test_a_known_task_that_moved(self, spread: RunnerTasks, another: RunnerTasks) -> None:
        """What is remembered is only where to look first."""
        assert spread.state("still", "runner-3-1")
        another.delete("still", "runner-3-1")
        another.add(still("runner-3-1", account="other"))
        found = spread.state("still", "runner-3-1")
        assert found is not None
        assert found.batch_job == job_id("still", "other", "normal")

    def test_memory_is_bounded(self, batch: Batch, spread: RunnerTasks, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oldest tasks are forgotten; they are found again by a search."""
        monkeypatch.setattr(tasks_module, "REMEMBERED_TASKS", 1)
        for name in ("runner-2-1", "runner-3-1"):
            assert spread.state("still", name)
        batch.recorder.clear()
        assert spread.state("still", "runner-2-1")
        assert len(batch.recorder.calls) > 1

    def test_a_job_that_was_deleted_meanwhile(self, batch: Batch, spread: RunnerTasks) -> None:
        """A Batch job that disappears between the two lists holds no tasks."""
        batch.faults.add(
            Fault("status", "GET */tasks", times=4, status=404, body='{"code": "JobNotFound"}', headers=JSON)
        )
        assert len(list(spread.listed(["still"], datetime.now(UTC), FinishedTasks()))) == 2

    def test_trouble_with_the_list(self, batch: Batch, spread: RunnerTasks) -> None:
        """If Batch does not list its jobs, that is trouble and not an empty pool."""
        batch.faults.add(Fault("status", "GET /jobs", times=2, status=503))
        with pytest.raises(TransientError, match="list the Batch jobs"):
            list(spread.listed(["still"], datetime.now(UTC), FinishedTasks()))
        with pytest.raises(TransientError, match="look for a task"):
            spread.state("still", "runner-1-1")


class TestReasons:
    """What Batch says of a task that does not become a runner."""

    def test_an_image_that_cannot_be_pulled(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Code, message and details of the failure reach whoever asks for the task."""
        tasks.add(still())
        batch.fail_task(JOB, "runner-1-1", "ContainerInvalidImage", "The image is invalid.", Error="denied")
        found = tasks.state("still", "runner-1-1")
        assert found is not None
        assert found.failed
        assert found.ending == (
            "the image cannot be pulled: ContainerInvalidImage: The image is invalid.; Error: denied"
        )

    def test_slots(self, tasks: RunnerTasks) -> None:
        """A task tells how many slots it takes, and its pool how many a node has."""
        tasks.add(still(slots=4))
        found = tasks.state("still", "runner-1-1")
        assert found is not None
        assert (found.slots, tasks.slots_per_node("still")) == (4, 1)

    def test_slots_of_no_pool(self, tasks: RunnerTasks) -> None:
        """A pool that does not exist is an error with Batch's own word."""
        with pytest.raises(UpstreamRefused, match=r"look at a pool: 404 PoolNotFound"):
            tasks.slots_per_node("nowhere")

    def test_run_again(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task that Batch ran again after its node was lost says so."""
        tasks.add(task())
        until(lambda: batch.task_bodies()["runner-1-1"]["state"] == "running")
        before = tasks.state("linux", "runner-1-1")
        batch.preempt(batch.node_ids("linux")[0])
        after = tasks.state("linux", "runner-1-1")
        assert before is not None
        assert after is not None
        assert (before.runs_before, after.runs_before) == (0, 1)
