"""The Batch stand-in as the simulation uses it: on virtual time, with what the invariants must see made visible."""

from collections.abc import Callable, Collection, Iterable

from aiohttp import web

from sandbox.batch import Batch
from sandbox.batch.executor import Executor
from sandbox.batch.model import Command, Json, Pool


class SimulatedBatch(Batch):
    """A Batch account that tells of its tasks, and whose processes are stopped in the thread that asks.

    Args:
        pools: its pools.
        executor: plays the containers.
        clock: virtual epoch seconds.
        changed: is called when a task came or went, with its id and what happened.
        soon: lets something happen as soon as the current request is done.

    Attributes:
        resizes: how often a pool was resized on request.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        *,
        executor: Executor,
        clock: Callable[[], float],
        changed: Callable[[str, str], None],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        super().__init__(pools, executor=executor, clock=clock)
        self._changed = changed
        self._soon = soon
        self.resizes = 0

    def pools(self) -> list[Pool]:
        """Return the pools, as they are."""
        return list(self._state.pools.values())

    def live_tasks(self) -> list[tuple[str, str, str]]:
        """Return job, id and state of every task that waits or runs."""
        return [(job.id, task.id, task.state) for job in self._state.jobs.values() for task in job.unfinished.values()]

    def known_tasks(self, jobs: Collection[str]) -> set[str]:
        """Return the ids of all tasks of these jobs, whatever their state."""
        return {task.id for job in self._state.jobs.values() if job.id in jobs for task in job.tasks.values()}

    def jobs_on(self, pools: Collection[str]) -> set[str]:
        """Return the ids of all jobs whose tasks run on these pools."""
        return {job.id for job in self._state.jobs.values() if job.pool_id in pools}

    def has_job(self, job: str) -> bool:
        """Whether there is such a job, in whatever state."""
        return job.lower() in self._state.jobs

    def add_foreign_job(self, job: str, *, pool: str, tasks: Iterable[str]) -> None:
        """Make a job of somebody else's, with tasks that wait for a pool that is not there."""
        now = self._clock()
        self._state.add_job({"id": job, "poolInfo": {"poolId": pool}}, now)
        for task in tasks:
            self._state.add_task(job, {"id": task, "commandLine": "render"}, now)

    def foreign_problems(self, jobs: Iterable[str], tasks: Iterable[str]) -> list[str]:
        """Say which of these jobs of somebody else's, or of the tasks in each, are no longer as they were."""
        problems = []
        for name in jobs:
            job = self._state.jobs.get(name.lower())
            if job is None or job.state != "active":
                problems.append(f"the Batch job {name} of somebody else was ended")
            elif {task.id for task in job.tasks.values() if task.state == "active"} != set(tasks):
                problems.append(f"a task in the Batch job {name} of somebody else was touched")
        return problems

    def _carry_out_soon(self, commands: Iterable[Command]) -> None:
        todo = list(commands)
        self._soon(lambda: self._carry_out(todo))

    def _add_task(self, request: web.Request, body: Json) -> web.Response:
        response = super()._add_task(request, body)
        self._changed(str(body["id"]), "created")
        return response

    def _terminate_task(self, request: web.Request, body: Json) -> web.Response:
        response = super()._terminate_task(request, body)
        self._changed(request.match_info["task"], "ended from outside")
        return response

    def _resize(self, request: web.Request, body: Json) -> web.Response:
        response = super()._resize(request, body)
        self.resizes += 1
        return response

    def _delete_task(self, request: web.Request, body: Json) -> web.Response:
        response = super()._delete_task(request, body)
        self._changed(request.match_info["task"], "deleted")
        return response
