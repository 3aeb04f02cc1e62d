"""An Azure Batch account that `azure-batch` talks to: the wire format of 2025-06-01 over `BatchPools`.

Source: Azure Batch service REST API. What is not among the operations below is answered with 405.
"""

import asyncio
import base64
import contextlib
import functools
import json
import re
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

from sandbox.batch import scaling
from sandbox.batch.auth import shared_key_error
from sandbox.batch.executor import Executor, ProcessExecutor
from sandbox.batch.model import BatchRefusal, Command, Job, Json, Node, Pool, Task, TaskRun
from sandbox.batch.pools import BatchPools
from sandbox.faults import FaultPlan
from sandbox.recording import Recorder

VERSION = "2025-06-01"
MEDIA_TYPE = "application/json;odata=minimalmetadata"
TICK = 0.05
PAGE = 1000
MOST_TASKS = 100
DELETION = 1.0  # seconds that a job takes to be gone

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COMMON_FIELDS = frozenset({"id", "displayName", "constraints"})
_JOB_FIELDS = _COMMON_FIELDS | {
    "priority", "allowTaskPreemption", "maxParallelTasks", "commonEnvironmentSettings", "poolInfo", "metadata",
    "onAllTasksComplete", "onTaskFailure", "networkConfiguration", "usesTaskDependencies",
}  # fmt: skip
_TASK_FIELDS = _COMMON_FIELDS | {
    "exitConditions", "commandLine", "containerSettings", "resourceFiles", "outputFiles", "environmentSettings",
    "affinityInfo", "requiredSlots", "userIdentity", "dependsOn",
}  # fmt: skip

type Operation = Callable[[web.Request, Json], web.Response]


class Batch:
    """A Batch account; serve it with `Server(batch.application)`. Every method may be called from any thread.

    Args:
        pools: its pools.
        account: its name.
        executor: runs the tasks; processes that play the runner container without one.
        clock: epoch seconds.

    Attributes:
        key: The account's key.
        faults: What goes wrong on the way to it.
        recorder: What passed over the wire.
    """

    def __init__(
        self,
        pools: Iterable[Pool] = (),
        *,
        account: str = "sandboxbatch",
        executor: Executor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.faults = FaultPlan()
        self.recorder = Recorder("batch")
        self.executor = executor or ProcessExecutor()
        self._clock = clock
        self._lock = threading.RLock()
        self._state = BatchPools(account, pools)

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
                web.post(f"{job}/terminate", self._answering(self._terminate_job)),
                web.post(f"{job}/tasks", self._answering(self._add_task)),
                web.post(f"{job}/addtaskcollection", self._answering(self._add_tasks)),
                web.get(f"{job}/tasks", self._answering(self._list_tasks)),
                web.get(task, self._answering(self._get_task)),
                web.post(f"{task}/terminate", self._answering(self._terminate_task)),
                web.delete(task, self._answering(self._delete_task)),
                web.get(f"{job}/taskcounts", self._answering(self._count_tasks)),
                web.get(pool, self._answering(self._get_pool)),
                web.post(f"{pool}/enableautoscale", self._answering(self._enable_autoscale)),
                web.post(f"{pool}/disableautoscale", self._answering(self._disable_autoscale)),
                web.post(f"{pool}/resize", self._answering(self._resize)),
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

    def node_ids(self, pool: str) -> list[str]:
        """Return the ids of a pool's nodes."""
        with self._lock:
            return [node.id for node in self._state.nodes.values() if node.pool_id == pool]

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
            self._state.finished(run, exit_code, self._clock())

    def _answering(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            text = await request.text()
            try:
                self._check(request)
                with self._lock:
                    response = operation(request, _body(request, text))
            except BatchRefusal as refusal:
                response = _error(request, refusal)
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
        _validate(body, _JOB_FIELDS, required=("id", "poolInfo"))
        self._state.add_job(body, self._clock())
        return self._written(request, 201, f"/jobs/{body['id']}", self._state.job(body["id"]))

    def _list_jobs(self, request: web.Request, _body: Json) -> web.Response:
        return _page(request, "jobs", [self._job_json(request, job) for job in self._state.jobs.values()])

    def _get_job(self, request: web.Request, _body: Json) -> web.Response:
        job = self._state.job(request.match_info["job"])
        return self._read(request, "jobs/@Element", self._job_json(request, job), job)

    def _delete_job(self, request: web.Request, _body: Json) -> web.Response:
        now = self._clock()
        expected = request.headers.get("If-Match", "*").strip('"')
        if expected not in {"*", _etag(self._state.job(request.match_info["job"]))}:
            raise BatchRefusal("ConditionNotMet")
        commands = self._state.end_job(request.match_info["job"], now, delete_at=now + DELETION)
        self._carry_out_soon(commands)
        return web.Response(status=202)

    def _terminate_job(self, request: web.Request, _body: Json) -> web.Response:
        name = request.match_info["job"]
        self._carry_out_soon(self._state.end_job(name, self._clock()))
        return self._written(request, 202, f"/jobs/{name}/terminate", self._state.job(name))

    def _add_task(self, request: web.Request, body: Json) -> web.Response:
        _validate(body, _TASK_FIELDS, required=("id", "commandLine"))
        job = request.match_info["job"]
        self._state.add_task(job, body, self._clock())
        return self._written(request, 201, f"/jobs/{job}/tasks/{body['id']}", self._state.task(job, body["id"]))

    def _add_tasks(self, request: web.Request, body: Json) -> web.Response:
        bodies, job = body.get("value", []), request.match_info["job"]
        if len(bodies) > MOST_TASKS:
            raise BatchRefusal("RequestBodyTooLarge")
        self._state.job(job)
        return _json(request, "taskaddresult", {"value": [self._add_one(request, job, entry) for entry in bodies]})

    def _add_one(self, request: web.Request, job: str, body: Json) -> Json:
        try:
            _validate(body, _TASK_FIELDS, required=("id", "commandLine"))
            self._state.add_task(job, body, self._clock())
        except BatchRefusal as refusal:
            error = {"code": refusal.code, "message": {"lang": "en-US", "value": f"Refused: {refusal.code}."}}
            return {"taskId": body.get("id", ""), "status": "clienterror", "error": error}
        task = self._state.task(job, body["id"])
        where = f"{_root(request)}/jobs/{job}/tasks/{task.id}"
        times = {"eTag": _etag(task), "lastModified": _time(task.changed_at)}
        return {"taskId": task.id, "status": "success", **times, "location": where}

    def _list_tasks(self, request: web.Request, _body: Json) -> web.Response:
        job = self._state.job(request.match_info["job"])
        return _page(request, "tasks", [self._task_json(request, task) for task in job.tasks.values()])

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
        return _json(request, "taskcounts", body)

    def _get_pool(self, request: web.Request, _body: Json) -> web.Response:
        pool = self._pool(request)
        times = dict.fromkeys(
            ("creationTime", "lastModified", "stateTransitionTime", "allocationStateTransitionTime"),
            _time(pool.created_at),
        )
        body = {
            "id": pool.id, "url": f"{_root(request)}/pools/{pool.id}", "eTag": _etag(pool), **times, "state": "active",
            "vmSize": pool.vm_size, "taskSlotsPerNode": pool.slots_per_node,
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

    def _count_nodes(self, request: web.Request, _body: Json) -> web.Response:
        rows = [scaling.node_counts(pool, self._nodes(pool)) for pool in self._state.pools.values()]
        return _page(request, "poolnodecounts", rows)

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
            **job.body, "url": f"{_root(request)}/jobs/{job.id}", "eTag": _etag(job), "state": job.state,
            "lastModified": _time(job.changed_at), "creationTime": _time(job.created_at),
            "stateTransitionTime": _time(job.changed_at),
            "executionInfo": {"startTime": _time(job.created_at), "poolId": job.pool_id},
        }  # fmt: skip
        if job.ended_at is not None:
            body["executionInfo"]["endTime"] = _time(job.ended_at)
        return body

    def _task_json(self, request: web.Request, task: Task) -> Json:
        info: Json = {"retryCount": task.retries, "requeueCount": task.requeues}
        for name, moment in (("startTime", task.started_at), ("endTime", task.ended_at)):
            if moment is not None:
                info[name] = _time(moment)
        for name, value in (("exitCode", task.exit_code), ("result", task.result), ("failureInfo", task.failure)):
            if value is not None:
                info[name] = value
        body = {
            **task.body, "url": f"{_root(request)}/jobs/{task.job_id}/tasks/{task.id}", "eTag": _etag(task),
            "lastModified": _time(task.changed_at), "creationTime": _time(task.created_at), "state": task.state,
            "stateTransitionTime": _time(task.changed_at), "executionInfo": info,
        }  # fmt: skip
        if task.node_id is not None:
            body["nodeInfo"] = {"nodeId": task.node_id, "poolId": self._state.job(task.job_id).pool_id}
        return body

    def _written(self, request: web.Request, status: int, path: str, what: Job | Task | Pool) -> web.Response:
        headers = {**_stamps(what), "DataServiceId": f"{_root(request)}{path}"}
        return web.Response(status=status, headers=headers)

    def _read(self, request: web.Request, kind: str, body: Json, what: Job | Task | Pool) -> web.Response:
        return _json(request, kind, body, headers=_stamps(what))


def _body(request: web.Request, text: str) -> Json:
    if not text:
        return {}
    if not request.content_type.startswith("application/json"):
        raise BatchRefusal("InvalidHeaderValue", HeaderName="Content-Type")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BatchRefusal("InvalidRequestBody")
    return body


def _validate(body: Json, known: frozenset[str], required: tuple[str, ...]) -> None:
    for name in required:
        if name not in body:
            raise BatchRefusal("MissingRequiredProperty", PropertyName=name)
    if unknown := set(body) - known:
        raise BatchRefusal("InvalidRequestBody", Reason=f"unknown property {min(unknown)}")
    if not _ID.fullmatch(str(body["id"])):
        raise BatchRefusal("InvalidPropertyValue", PropertyName="id")


def _page(request: web.Request, kind: str, rows: list[Json]) -> web.Response:
    """Filter, cut to size and select, with a link to the next page."""
    rows = [row for row in rows if _matches(row, request.query.get("$filter"))]
    size, skip = int(request.query.get("maxresults", PAGE)), int(request.query.get("$skiptoken", 0))
    select = [name for name in request.query.get("$select", "").split(",") if name]
    shown = [{name: row[name] for name in select if name in row} if select else row for row in rows[skip : skip + size]]
    body: Json = {"value": shown}
    if skip + size < len(rows):
        query = {**request.query, "$skiptoken": str(skip + size)}
        body["odata.nextLink"] = str(request.url.with_query(query))
    return _json(request, kind, body)


def _matches(row: Json, expression: str | None) -> bool:
    """Evaluate the filters that tasks are listed with: equality, prefix and time, joined by `and` or by `or`."""
    if expression is None:
        return True
    if " or " in expression:
        return any(_matches(row, part) for part in expression.split(" or "))
    return all(_holds(row, part.strip(" ()")) for part in expression.split(" and "))


def _holds(row: Json, clause: str) -> bool:
    if found := re.fullmatch(r"(\w+) eq '([^']*)'", clause):
        return str(row.get(found[1])) == found[2]
    if found := re.fullmatch(r"startswith\((\w+), ?'([^']*)'", clause):
        return str(row.get(found[1])).startswith(found[2])
    if found := re.fullmatch(r"(\w+) (lt|ge) DateTime'([^']*)'", clause):
        before = datetime.fromisoformat(str(row.get(found[1]))) < datetime.fromisoformat(found[3])
        return before == (found[2] == "lt")
    raise BatchRefusal("InvalidQueryParameterValue", QueryParameterName="$filter")


def _json(request: web.Request, kind: str, body: Json, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps({"odata.metadata": f"{_root(request)}/$metadata#{kind}", **body})
    own = {**(headers or {}), "Content-Type": MEDIA_TYPE}
    return web.Response(status=200, body=text.encode(), headers=own)


def _error(request: web.Request, refusal: BatchRefusal) -> web.Response:
    kind = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    body: dict[str, Any] = {
        "odata.metadata": f"{_root(request)}/$metadata#{kind}",
        "code": refusal.code,
        "message": {
            "lang": "en-US",
            "value": f"Refused: {refusal.code}.\nRequestId:{uuid.uuid4()}\nTime:{_time(time.time())}",
        },
    }
    if refusal.details:
        body["values"] = [{"key": name, "value": value} for name, value in refusal.details.items()]
    return web.Response(status=refusal.status, body=json.dumps(body).encode(), headers={"Content-Type": MEDIA_TYPE})


def _root(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _etag(what: Job | Task | Pool) -> str:
    return f"0x8D{what.version:X}"


def _stamps(what: Job | Task | Pool) -> dict[str, str]:
    changed = what.created_at if isinstance(what, Pool) else what.changed_at
    return {"ETag": f'"{_etag(what)}"', "Last-Modified": formatdate(changed, usegmt=True)}


@functools.cache  # a listing of a thousand tasks tells thousands of times
def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
