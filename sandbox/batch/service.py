"""An Azure Batch account that `azure-batch` talks to: the wire format of 2025-06-01 over `BatchPools`.

Source: Azure Batch service REST API. What is not among the operations below is answered with 405.
"""

import asyncio
import base64
import contextlib
import fnmatch
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from aiohttp import web

from sandbox.batch import scaling
from sandbox.batch.auth import shared_key_error
from sandbox.batch.executor import Executor, ProcessExecutor
from sandbox.batch.model import BatchRefusal, Command, Job, Json, Node, Pool, Task, TaskRun
from sandbox.batch.pools import BatchPools
from sandbox.batch.wire import (
    error_answer,
    etag,
    json_answer,
    page,
    read_body,
    root,
    stamps,
    timestamp,
    validate,
)
from sandbox.faults import FaultPlan
from sandbox.recording import Recorder

VERSION = "2025-06-01"
TICK = 0.05
DELETION = 1.0  # seconds that a job takes to be gone

_COMMON_FIELDS = frozenset({"id", "displayName", "constraints"})
_JOB_FIELDS = _COMMON_FIELDS | {
    "priority", "allowTaskPreemption", "maxParallelTasks", "commonEnvironmentSettings", "poolInfo", "metadata",
    "onAllTasksComplete", "onTaskFailure", "networkConfiguration", "usesTaskDependencies",
}  # fmt: skip
_TASK_FIELDS = _COMMON_FIELDS | {
    "exitConditions", "commandLine", "containerSettings", "resourceFiles", "outputFiles", "environmentSettings",
    "affinityInfo", "requiredSlots", "userIdentity", "dependsOn",
}  # fmt: skip

# Given a container's URL, a path in it, and the content.
type Upload = Callable[[str, str, bytes], None]
type Operation = Callable[[web.Request, Json], web.Response]


class Batch:
    """A Batch account; serve it with `Server(batch.application)`. Every method may be called from any thread.

    Args:
        pools: its pools.
        executor: runs the tasks; processes that play the runner container without one.
        clock: epoch seconds.
        upload: writes a blob, named by its container's URL and its path there; raises an error if it cannot.

    Attributes:
        account: the account's name.
        key: the account's key.
        faults: what goes wrong on the way to it.
        recorder: what passed over the wire.
    """

    def __init__(
        self,
        pools: Iterable[Pool] = (),
        *,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.time,
        upload: Upload | None = None,
    ) -> None:
        self.account = "sandboxbatch"
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.faults = FaultPlan()
        self.recorder = Recorder("batch")
        self.executor = executor or ProcessExecutor()
        self._clock = clock
        self._upload = upload
        self._lock = threading.RLock()
        self._state = BatchPools(self.account, pools)

    @property
    def application(self) -> web.Application:
        """A new aiohttp application that serves this account."""
        application = web.Application(
            middlewares=[self.recorder.middleware, self.faults.middleware], client_max_size=16 * 1024 * 1024
        )
        job, task, pool = "/jobs/{job}", "/jobs/{job}/tasks/{task}", "/pools/{pool}"
        application.add_routes(
            [
                web.post("/jobs", self._answering(self._add_job)),
                web.get("/jobs", self._answering(self._list_jobs)),
                web.get(job, self._answering(self._get_job)),
                web.delete(job, self._answering(self._delete_job)),
                web.post(f"{job}/tasks", self._answering(self._add_task)),
                web.get(f"{job}/tasks", self._answering(self._list_tasks)),
                web.get(task, self._answering(self._get_task)),
                web.post(f"{task}/terminate", self._answering(self._terminate_task)),
                web.delete(task, self._answering(self._delete_task)),
                web.get(f"{job}/taskcounts", self._answering(self._count_tasks)),
                web.get(pool, self._answering(self._get_pool)),
                web.post(f"{pool}/enableautoscale", self._answering(self._enable_autoscale)),
                web.post(f"{pool}/disableautoscale", self._answering(self._disable_autoscale)),
                web.post(f"{pool}/resize", self._answering(self._resize)),
                web.get(f"{pool}/nodes", self._answering(self._list_nodes)),
                web.get("/nodecounts", self._answering(self._count_nodes)),
            ]
        )
        application.cleanup_ctx.append(self._ticking)
        return application

    # Looking and steering --------------------------------------------------------------------------------------------

    def task_bodies(self) -> dict[str, Json]:
        """Return what every task was created from, where it belongs and how it fares, by its id."""
        with self._lock:
            tasks = [(job, task) for job in self._state.jobs.values() for task in job.tasks.values()]
            return {
                task.id: {
                    **task.body, "jobId": job.id, "poolId": job.pool_id, "state": task.state,
                    "exitCode": task.exit_code, "result": task.result,
                }
                for job, task in tasks
            }  # fmt: skip

    def preempt(self, node_id: str) -> None:
        """Take a node away, as Azure takes back Spot machines."""
        with self._lock:
            commands = self._state.preempt(node_id, self._clock())
        self._carry_out(commands)

    def end_job(self, job: str, *, delete_after: float | None = None) -> None:
        """Terminate a job as somebody in the portal may; or delete it, which takes some seconds."""
        now = self._clock()
        with self._lock:
            commands = self._state.end_job(job, now, delete_at=None if delete_after is None else now + delete_after)
        self._carry_out(commands)

    def fail_task(self, job: str, task: str, code: str, message: str, **details: str) -> None:
        """End a task as one that could not be started, for example because its image cannot be pulled."""
        with self._lock:
            self._state.fail(job, task, (code, message), details, self._clock())

    def job_bodies(self) -> dict[str, Json]:
        """Return what every job was created from, by its id."""
        with self._lock:
            return {job.id: dict(job.body) for job in self._state.jobs.values()}

    def node_ids(self, pool: str) -> list[str]:
        """Return the ids of a pool's nodes."""
        with self._lock:
            return [node.id for node in self._state.nodes.values() if node.pool_id == pool]

    def node_states(self, pool: str) -> list[str]:
        """Return what the nodes of a pool do."""
        with self._lock:
            return [node.state for node in self._state.nodes.values() if node.pool_id == pool]

    def tick(self) -> None:
        """Let Batch do what it does on its own as time passes."""
        with self._lock:
            commands = self._state.step(self._clock())
        self._carry_out(commands)

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _ticking(self, _application: web.Application) -> AsyncIterator[None]:
        async def forever() -> None:
            while True:
                await asyncio.sleep(TICK)
                await asyncio.to_thread(self.tick)

        ticking = asyncio.create_task(forever())
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await asyncio.to_thread(self.executor.close)

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if command.kind == "start":
                self.executor.start(command.run, self._finished)
            else:
                self.executor.stop(command.run)

    def _finished(self, run: TaskRun, exit_code: int) -> None:
        with self._lock:
            ended_by_itself = self._state.is_running(run)
        failed = self._failed_upload(run) if ended_by_itself else None
        with self._lock:
            self._state.finished(run, exit_code, self._clock(), failed)

    def _failed_upload(self, run: TaskRun) -> str | None:
        """Upload what a run has written; return why it failed, if it did."""
        for wanted in run.output_files:
            place = wanted["destination"]["container"]
            for name, content in self.executor.files(run.task_id).items():
                if fnmatch.fnmatch(f"../{name}", wanted["filePattern"]):
                    try:
                        if self._upload is None:
                            return "nothing is there to upload to"
                        self._upload(place["containerUrl"], f"{place['path']}/{name}", content)
                    except Exception as error:  # noqa: BLE001 - whatever it is, the task says so
                        return f"an output file was not uploaded: {type(error).__name__}"
        return None

    def _answering(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            text = await request.text()
            try:
                self._check(request)
                with self._lock:
                    response = operation(request, read_body(request, text))
            except BatchRefusal as refusal:
                response = error_answer(request, refusal)
            response.headers["request-id"] = str(uuid.uuid4())
            return response

        return endpoint

    def _check(self, request: web.Request) -> None:
        error = shared_key_error(
            self.account, self.key, request.method, request.raw_path, request.headers, self._clock()
        )
        if error is not None:
            raise BatchRefusal("AuthenticationFailed", AuthenticationErrorDetail=error)
        version = request.query.get("api-version")
        if version is None:
            raise BatchRefusal("MissingRequiredQueryParameter", QueryParameterName="api-version")
        if version != VERSION:
            raise BatchRefusal("UnsupportedRequestVersion")

    def _add_job(self, request: web.Request, body: Json) -> web.Response:
        validate(body, _JOB_FIELDS, required=("id", "poolInfo"))
        self._state.add_job(body, self._clock())
        return self._written(request, 201, f"/jobs/{body['id']}", self._state.job(body["id"]))

    def _list_jobs(self, request: web.Request, _body: Json) -> web.Response:
        return page(request, "jobs", [self._job_json(request, job) for job in self._state.jobs.values()])

    def _get_job(self, request: web.Request, _body: Json) -> web.Response:
        job = self._state.job(request.match_info["job"])
        return self._read(request, "jobs/@Element", self._job_json(request, job), job)

    def _delete_job(self, request: web.Request, _body: Json) -> web.Response:
        now = self._clock()
        expected = request.headers.get("If-Match", "*").strip('"')
        if expected not in {"*", etag(self._state.job(request.match_info["job"]))}:
            raise BatchRefusal("ConditionNotMet")
        commands = self._state.end_job(request.match_info["job"], now, delete_at=now + DELETION)
        self._carry_out_soon(commands)
        return web.Response(status=202)

    def _add_task(self, request: web.Request, body: Json) -> web.Response:
        validate(body, _TASK_FIELDS, required=("id", "commandLine"))
        job = request.match_info["job"]
        self._state.add_task(job, body, self._clock())
        return self._written(request, 201, f"/jobs/{job}/tasks/{body['id']}", self._state.task(job, body["id"]))

    def _list_tasks(self, request: web.Request, _body: Json) -> web.Response:
        job = self._state.job(request.match_info["job"])
        return page(request, "tasks", [self._task_json(request, task) for task in job.tasks.values()])

    def _get_task(self, request: web.Request, _body: Json) -> web.Response:
        task = self._state.task(request.match_info["job"], request.match_info["task"])
        return self._read(request, "tasks/@Element", self._task_json(request, task), task)

    def _terminate_task(self, request: web.Request, _body: Json) -> web.Response:
        job, name = request.match_info["job"], request.match_info["task"]
        self._carry_out_soon(self._state.terminate_task(job, name, self._clock()))
        return self._written(request, 204, f"/jobs/{job}/tasks/{name}/terminate", self._state.task(job, name))

    def _delete_task(self, request: web.Request, _body: Json) -> web.Response:
        commands = self._state.delete_task(request.match_info["job"], request.match_info["task"], self._clock())
        self._carry_out_soon(commands)
        return web.Response(status=200)

    def _count_tasks(self, request: web.Request, _body: Json) -> web.Response:
        tasks = self._state.job(request.match_info["job"]).tasks.values()
        kinds = {
            "active": [task for task in tasks if task.state == "active"],
            "running": [task for task in tasks if task.state == "running"],
            "completed": [task for task in tasks if task.state == "completed"],
            "succeeded": [task for task in tasks if task.result == "success"],
            "failed": [task for task in tasks if task.result == "failure"],
        }
        body = {
            "taskCounts": {kind: len(found) for kind, found in kinds.items()},
            "taskSlotCounts": {kind: sum(task.slots for task in found) for kind, found in kinds.items()},
        }
        return json_answer(request, "taskcounts", body)

    def _get_pool(self, request: web.Request, _body: Json) -> web.Response:
        pool = self._pool(request)
        times = dict.fromkeys(
            ("creationTime", "lastModified", "stateTransitionTime", "allocationStateTransitionTime"),
            timestamp(pool.created_at),
        )
        body = {
            "id": pool.id, "url": f"{root(request)}/pools/{pool.id}", "eTag": etag(pool), **times, "state": "active",
            "vmSize": pool.vm_size, "taskSlotsPerNode": pool.slots_per_node,
            "virtualMachineConfiguration": scaling.machines(pool),
            **scaling.size_fields(pool, self._nodes(pool), self._clock()),
        }  # fmt: skip
        return self._read(request, "pools/@Element", body, pool)

    def _enable_autoscale(self, request: web.Request, body: Json) -> web.Response:
        pool = self._pool(request)
        scaling.enable_autoscale(pool, body, self._clock())
        return self._written(request, 200, f"/pools/{pool.id}/enableautoscale", pool)

    def _disable_autoscale(self, request: web.Request, _body: Json) -> web.Response:
        pool = self._pool(request)
        scaling.disable_autoscale(pool)
        return self._written(request, 200, f"/pools/{pool.id}/disableautoscale", pool)

    def _resize(self, request: web.Request, body: Json) -> web.Response:
        pool = self._pool(request)
        scaling.resize(pool, body, self._clock())
        return self._written(request, 202, f"/pools/{pool.id}/resize", pool)

    def _list_nodes(self, request: web.Request, _body: Json) -> web.Response:
        pool = self._pool(request)
        return page(request, "nodes", [scaling.node_fields(pool, node) for node in self._nodes(pool)])

    def _count_nodes(self, request: web.Request, _body: Json) -> web.Response:
        rows = [scaling.node_counts(pool, self._nodes(pool)) for pool in self._state.pools.values()]
        return page(request, "poolnodecounts", rows)

    def _pool(self, request: web.Request) -> Pool:
        pool = self._state.pools.get(request.match_info["pool"])
        if pool is None:
            raise BatchRefusal("PoolNotFound")
        return pool

    def _nodes(self, pool: Pool) -> list[Node]:
        return [node for node in self._state.nodes.values() if node.pool_id == pool.id]

    def _carry_out_soon(self, commands: Iterable[Command]) -> None:
        """Stop processes in another thread: waiting for one to end is none of the caller's business."""
        for command in commands:
            threading.Thread(target=self._carry_out, args=([command],), daemon=True).start()

    def _job_json(self, request: web.Request, job: Job) -> Json:
        body = {
            **job.body, "url": f"{root(request)}/jobs/{job.id}", "eTag": etag(job), "state": job.state,
            "lastModified": timestamp(job.changed_at), "creationTime": timestamp(job.created_at),
            "stateTransitionTime": timestamp(job.changed_at),
            "executionInfo": {"startTime": timestamp(job.created_at), "poolId": job.pool_id},
        }  # fmt: skip
        if job.ended_at is not None:
            body["executionInfo"]["endTime"] = timestamp(job.ended_at)
        return body

    def _task_json(self, request: web.Request, task: Task) -> Json:
        pool_id = self._state.job(task.job_id).pool_id
        started, state, node_id = task.started_at, task.state, task.node_id
        pool = self._state.pools.get(pool_id)
        if state == "running" and pool is not None and self._clock() - (started or 0.0) < pool.told_after_s:
            started, state, node_id = None, "active", None
        info: Json = {"retryCount": 0, "requeueCount": task.requeues}
        for name, moment in (("startTime", started), ("endTime", task.ended_at)):
            if moment is not None:
                info[name] = timestamp(moment)
        for name, value in (("exitCode", task.exit_code), ("result", task.result), ("failureInfo", task.failure)):
            if value is not None:
                info[name] = value
        body = {
            **task.body, "url": f"{root(request)}/jobs/{task.job_id}/tasks/{task.id}", "eTag": etag(task),
            "lastModified": timestamp(task.changed_at), "creationTime": timestamp(task.created_at), "state": state,
            "stateTransitionTime": timestamp(task.changed_at), "executionInfo": info,
        }  # fmt: skip
        if node_id is not None:
            body["nodeInfo"] = {"nodeId": node_id, "poolId": pool_id}
        return body

    def _written(self, request: web.Request, status: int, path: str, what: Job | Task | Pool) -> web.Response:
        headers = {**stamps(what), "DataServiceId": f"{root(request)}{path}"}
        return web.Response(status=status, headers=headers)

    def _read(self, request: web.Request, kind: str, body: Json, what: Job | Task | Pool) -> web.Response:
        return json_answer(request, kind, body, headers=stamps(what))
