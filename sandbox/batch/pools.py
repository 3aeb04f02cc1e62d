"""What Azure Batch does with jobs, tasks and nodes: a state machine without sockets, processes or a clock of its own.

Every method takes the time. Those that leave something to do in the world return commands: start this run of a task, or
stop it.
"""

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Mapping

from sandbox.batch.model import BatchRefusal, Command, Job, Json, Node, Pool, Task, TaskRun


class BatchPools:
    """One account's pools, jobs and tasks. Not safe under threads: its owner holds the lock."""

    def __init__(self, account: str, pools: Iterable[Pool] = ()) -> None:
        self._account = account
        self._serials = itertools.count(1)
        self._draws = itertools.count(1)
        self.pools: dict[str, Pool] = {pool.id: pool for pool in pools}
        self.nodes: dict[str, Node] = {}
        self.jobs: dict[str, Job] = {}

    # Jobs and tasks --------------------------------------------------------------------------------------------------

    def add_job(self, body: Json, now: float) -> None:
        """Create a job. A pool that does not exist is no reason to refuse it (as in the service).

        Raises:
            BatchRefusal: There is one of this id.
        """
        key = str(body["id"]).lower()
        existing = self.jobs.get(key)
        if existing is not None:
            raise BatchRefusal("JobBeingDeleted" if existing.state == "deleting" else "JobExists")
        self.jobs[key] = Job(next(self._serials), body, now, now)

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            BatchRefusal: There is none.
        """
        job = self.jobs.get(job_id.lower())
        if job is None:
            raise BatchRefusal("JobNotFound")
        return job

    def end_job(self, job_id: str, now: float, *, delete_at: float | None = None) -> list[Command]:
        """Terminate a job, with all of its tasks; or delete it, which takes until `delete_at`."""
        job = self.job(job_id)
        commands = [c for task in list(job.unfinished.values()) for c in self._end(task, now, "TaskEnded")]
        job.state, job.changed_at = "completed" if delete_at is None else "deleting", now
        job.ended_at = now if delete_at is None else delete_at
        return commands

    def add_task(self, job_id: str, body: Json, now: float) -> None:
        """Create a task; it starts with the next `step`.

        Raises:
            BatchRefusal: The job takes none, there is one of this id, or it does not fit the pool.
        """
        job = self.job(job_id)
        refusals = {"completed": "JobCompleted", "deleting": "JobBeingDeleted"}
        if job.state in refusals:
            raise BatchRefusal(refusals[job.state])
        key = str(body["id"]).lower()
        if key in job.tasks:
            raise BatchRefusal("TaskExists")
        pool = self.pools.get(job.pool_id)
        if pool is not None:
            _check(pool, body)
        job.tasks[key] = job.unfinished[key] = Task(next(self._serials), job.id, body, now, now)
        job.version += 1

    def task(self, job_id: str, task_id: str) -> Task:
        """Return a task.

        Raises:
            BatchRefusal: There is none.
        """
        task = self.job(job_id).tasks.get(task_id.lower())
        if task is None:
            raise BatchRefusal("TaskNotFound")
        return task

    def terminate_task(self, job_id: str, task_id: str, now: float) -> list[Command]:
        """End a task, whether it runs or waits.

        Raises:
            BatchRefusal: It has ended already.
        """
        task = self.task(job_id, task_id)
        if task.state == "completed":
            raise BatchRefusal("TaskCompleted")
        return self._end(task, now, "TaskEnded")

    def delete_task(self, job_id: str, task_id: str, now: float) -> list[Command]:
        """Delete a task, ending it first."""
        commands = self._end(self.task(job_id, task_id), now, "TaskEnded")
        del self.job(job_id).tasks[task_id.lower()]
        return commands

    # Time ------------------------------------------------------------------------------------------------------------

    def step(self, now: float) -> list[Command]:
        """Do what is due: forget deleted jobs, enforce time limits, scale pools, start waiting tasks.

        A finished task stays for as long as its job does: its retention time is about its folder on the node.
        """
        commands: list[Command] = []
        for key, job in list(self.jobs.items()):
            if job.state == "deleting" and job.ended_at is not None and now >= job.ended_at:
                del self.jobs[key]
                continue
            for task in list(job.unfinished.values()):
                limit = _seconds(task.body.get("constraints", {}).get("maxWallClockTime"))
                if task.state == "running" and now - (task.started_at or now) >= limit:
                    commands += self._end(task, now, "TaskEnded", code="TimeLimit")
        for pool in self.pools.values():
            self._scale(pool, now)
            commands += self._place(pool, now)
        return commands

    def is_running(self, run: TaskRun) -> bool:
        """Whether this run of a task is under way: it was not stopped, and its node is there."""
        job = self.jobs.get(run.job_id.lower())
        task = job.tasks.get(run.task_id.lower()) if job else None
        return task is not None and task.state == "running" and task.attempt == run.attempt

    def finished(self, run: TaskRun, exit_code: int, now: float, failed_upload: str | None = None) -> None:
        """Take note that a run of a task has ended by itself (one that was stopped has no more to say).

        Args:
            run: the run.
            exit_code: its own.
            now: epoch seconds.
            failed_upload: why its output could not be uploaded.
        """
        if not self.is_running(run):
            return
        task = self.task(run.job_id, run.task_id)
        task.exit_code = exit_code
        failure = None if exit_code == 0 else ("FailureExitCode", "The task exited with code")
        self._complete(task, now, ("FileUploadMiscError", failed_upload) if failed_upload else failure)

    def fail(self, job_id: str, task_id: str, failure: tuple[str, str], details: Mapping[str, str], now: float) -> None:
        """End a task that could not be started on its node, with a code and a message."""
        task = self.task(job_id, task_id)
        self._complete(task, now, failure)
        task.failure = {
            **(task.failure or {}), "details": [{"name": name, "value": value} for name, value in details.items()],
        }  # fmt: skip

    def preempt(self, node_id: str, now: float) -> list[Command]:
        """Take a node away, as Azure takes back Spot machines: its tasks wait again."""
        commands: list[Command] = []
        for task in self._unfinished():
            if task.node_id == node_id and task.state == "running":
                commands.append(Command("stop", self._run(task)))
                _change(task, "active", now)
                task.node_id, task.started_at = None, None
                task.requeues += 1
        self.nodes.pop(node_id, None)
        return commands

    # Inside ----------------------------------------------------------------------------------------------------------

    def _unfinished(self, pool_id: str | None = None) -> list[Task]:
        """All tasks that wait or run, oldest first."""
        jobs = (job for job in self.jobs.values() if pool_id in (None, job.pool_id))
        return sorted((task for job in jobs for task in job.unfinished.values()), key=lambda task: task.serial)

    def _scale(self, pool: Pool, now: float) -> None:
        own = [node for node in self.nodes.values() if node.pool_id == pool.id]
        slots = sum(task.slots for task in self._unfinished(pool.id))
        if pool.autoscale and now - pool.evaluated_at >= pool.evaluation_s:
            pool.evaluated_at = now
            if pool.formula_error is None:
                pool.target = max(pool.nodes, min(pool.max_nodes, -(-slots // pool.slots_per_node)))
                pool.spot_target = 0
        for spot, wanted in ((False, pool.target), (True, pool.spot_target)):
            alike = [node for node in own if node.spot == spot]
            for _ in range(wanted - len(alike) if pool.resize_error is None else 0):
                node_id = f"tvm-{pool.id}-{next(self._serials)}"
                node = Node(node_id, pool.id, now, now + pool.start_delay_s, changed_at=now, spot=spot)
                self.nodes[node.id] = node
            spare = len(alike) - wanted
            for node in alike:
                idle_for = pool.idle_s if pool.autoscale else 0
                if spare > 0 and node.slots_used == 0 and node.state == "idle" and now - node.changed_at >= idle_for:
                    del self.nodes[node.id]
                    spare -= 1
        for node in own:
            if node.state == "starting" and now >= node.ready_at:
                node.state = "idle" if pool.start_task_error is None else "startTaskFailed"
                node.changed_at = now

    def _place(self, pool: Pool, now: float) -> list[Command]:
        """Start waiting tasks: of the jobs of the highest priority first, and of these by turns."""
        waiting = {
            job.serial: deque(
                sorted((t for t in job.unfinished.values() if t.state == "active"), key=lambda task: task.serial)
            )
            for job in self.jobs.values()
            if job.pool_id == pool.id and job.state == "active"
        }
        jobs = [job for job in self.jobs.values() if waiting.get(job.serial)]
        commands = []
        too_many = float("inf")  # slots that no node has free
        while jobs and too_many > 1:
            job = min(jobs, key=lambda job: (-job.priority, job.drawn_at, job.serial))
            task = waiting[job.serial].popleft()
            if not waiting[job.serial]:
                jobs.remove(job)
            node = self._free_node(pool, task.slots) if task.slots < too_many else None
            if node is None:
                too_many = min(too_many, task.slots)
                continue
            job.drawn_at = next(self._draws)
            node.slots_used += task.slots
            node.state, node.changed_at = "running", now
            _change(task, "running", now)
            task.node_id, task.started_at = node.id, now
            task.attempt += 1
            commands.append(Command("start", self._run(task)))
        return commands

    def _free_node(self, pool: Pool, slots: int) -> Node | None:
        nodes = (node for node in self.nodes.values() if node.pool_id == pool.id and node.state in {"idle", "running"})
        return next((node for node in nodes if node.slots_used + slots <= pool.slots_per_node), None)

    def _run(self, task: Task) -> TaskRun:
        job = self.jobs[task.job_id.lower()]
        container = task.body.get("containerSettings", {})
        given = {entry["name"]: entry.get("value", "") for entry in task.body.get("environmentSettings", ())}
        node = task.node_id or ""
        own = {
            "AZ_BATCH_ACCOUNT_NAME": self._account,
            "AZ_BATCH_POOL_ID": job.pool_id,
            "AZ_BATCH_NODE_ID": node,
            "AZ_BATCH_JOB_ID": job.id,
            "AZ_BATCH_TASK_ID": task.id,
        }
        return TaskRun(
            job.id, task.id, task.attempt, job.pool_id, node, self.pools[job.pool_id].os, container.get("imageName"),
            container.get("containerRunOptions", ""), task.body["commandLine"], given | own,
            task.body.get("outputFiles", ()),
        )  # fmt: skip

    def _end(self, task: Task, now: float, category: str, code: str = "TaskEnded") -> list[Command]:
        if task.state == "completed":
            return []
        commands = [Command("stop", self._run(task))] if task.state == "running" else []
        self._complete(task, now, failure=(code, f"{category} by request or limit"))
        return commands

    def _complete(self, task: Task, now: float, failure: tuple[str, str] | None) -> None:
        node = self.nodes.get(task.node_id or "")
        if node is not None and task.state == "running":
            node.slots_used -= task.slots
            if node.slots_used == 0:
                node.state, node.changed_at = "idle", now
        _change(task, "completed", now)
        self.job(task.job_id).unfinished.pop(task.id.lower(), None)
        task.ended_at = now
        task.result = "success" if failure is None else "failure"
        task.failure = failure and {"category": "usererror", "code": failure[0], "message": failure[1]}


def _change(task: Task, state: str, now: float) -> None:
    task.state = state  # type: ignore[assignment]  # one of the three
    task.changed_at = now
    task.version += 1


def _check(pool: Pool, body: Json) -> None:
    """Refuse what the service refuses for this pool."""
    container = "containerSettings" in body
    if pool.container != container:
        reason = "requires" if pool.container else "does not support"
        raise BatchRefusal(
            "InvalidPropertyValue", PropertyName="containerSettings", Reason=f"the pool {reason} containers"
        )
    user = body.get("userIdentity", {}).get("autoUser", {})
    if container and pool.os == "windows" and user.get("elevationLevel") != "admin":
        raise BatchRefusal(
            "InvalidPropertyValue", PropertyName="userIdentity", Reason="Windows containers run as admin"
        )


@functools.cache
def _seconds(duration: str | None) -> float:
    """Read an ISO 8601 duration of days, hours, minutes and seconds; none is for ever."""
    if duration is None:
        return float("inf")
    total, number = 0.0, ""
    units = {"D": 86_400, "H": 3_600, "M": 60, "S": 1}
    for character in duration:
        if character in units:
            total += float(number) * units[character]
            number = ""
        elif character.isdigit() or character == ".":
            number += character
    return total
