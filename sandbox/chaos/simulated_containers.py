"""Plays the runner containers: what an image does from its start to its exit code, as events in virtual time."""

import functools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sandbox.batch.model import TaskRun
from sandbox.chaos.claiming import Claimed, Claiming
from sandbox.chaos.virtual_time import VirtualLoop
from sandbox.github.core import GitHubCore
from sandbox.github.model import Event, Label, Refusal, Registration, Runner, Scope

JOB_RAN, BROKEN, NO_JOB, NOT_REGISTERED, KILLED = 0, 1, 69, 75, 137
# Shares of the containers that go wrong of themselves, while trouble is on.
NEVER_STARTS, DIES_CLAIMING, DIES_IDLE, DIES_WORKING, LATE = 0.02, 0.01, 0.01, 0.01, 0.005


class Stage(Enum):
    """How far a container has come."""

    STARTING = auto()
    IDLE = auto()
    WORKING = auto()
    OVER = auto()


@dataclass
class Container:
    """One run of a task."""

    run: TaskRun
    finished: Callable[[TaskRun, int], None]
    stage: Stage = Stage.STARTING
    runner: Runner | None = None


class SimulatedContainers:
    """An executor of Batch tasks that registers runners at the GitHub stand-in. Runs in the loop's thread.

    Args:
        loop: virtual time.
        github: where the runners register.
        claiming: gets the registrations that are claimed.
        seed: of delays and of what goes wrong.
        faults: counts what went wrong.
        tell: takes a line for the story of a task.

    Attributes:
        registry_down: whether no image can be pulled.
        fail: ends a task that could not be started, with a code and a message.
        watch: is told of each run that starts.
        ended: when each container ended, in epoch seconds, with its pool.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        github: GitHubCore,
        claiming: Claiming,
        seed: int,
        faults: "Counter[str]",
        tell: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._github = github
        self._claiming = claiming
        self._random = random.Random(f"{seed}-containers")  # noqa: S311 - a simulation
        self._faults = faults
        self._tell = tell
        self._live: dict[tuple[str, str, int], Container] = {}
        self._by_task: dict[tuple[str, str], dict[int, Container]] = {}
        self._by_runner: dict[int, Container] = {}
        self._lost_nodes: set[str] = set()
        self.troubled = False
        self.registry_down = False
        self.fail: Callable[[str, str, str, str], None] = lambda *_: None
        self.watch: Callable[[TaskRun], None] = lambda _: None
        self.ended: list[tuple[float, str]] = []
        github.subscribe(self._hear)

    # What Batch asks for ---------------------------------------------------------------------------------------------

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Begin a run: pulling the image and starting it takes a while."""
        container = Container(run, finished)
        self._live[run.job_id, run.task_id, run.attempt] = container
        self._by_task.setdefault((run.job_id, run.task_id), {})[run.attempt] = container
        self._tell(run.task_id, f"container starts on {run.node_id}")
        self.watch(run)
        if "GHR_URL" not in run.environment:  # not a runner: somebody else's task
            self._later(container, 300.0, self._exit, container, JOB_RAN)
        elif self.registry_down:
            self._later(container, 20.0, self._no_image, container)
        elif self._bad_luck("container never starts", NEVER_STARTS):
            self._later(container, self._random.uniform(5, 60), self._exit, container, BROKEN)
        else:
            claims = "GHR_CLAIM" in run.environment
            begin = self._claim if claims else functools.partial(self._register, given=run.environment)
            self._later(container, self._random.uniform(5, 45), begin, container)

    def stop(self, run: TaskRun) -> None:
        """End a run: by SIGTERM, or with its node, which leaves it no time to say goodbye."""
        container = self._live.get((run.job_id, run.task_id, run.attempt))
        if container is None:
            return
        if run.node_id in self._lost_nodes:
            self._vanish(container, "its node was taken away")
            return
        if container.stage is Stage.IDLE:
            self._leave(container)
        elif container.stage is Stage.WORKING:
            self._finish(container, "failure")
        self._over(container, "stopped")

    def files(self, _task_id: str) -> Mapping[str, bytes]:
        """Return nothing: these containers write nothing."""
        return {}

    def close(self) -> None:
        """Do nothing: nothing runs outside of the simulation."""

    def lose_node(self, node_id: str) -> None:
        """Let everything on a node end without a word when Batch next asks for it."""
        self._lost_nodes.add(node_id)

    # What is going on ------------------------------------------------------------------------------------------------

    def unused(self, job_id: str, task_id: str) -> bool:
        """Whether a running task could still take a job."""
        runs = self._by_task.get((job_id, task_id), {}).values()
        return any(container.stage in (Stage.STARTING, Stage.IDLE) for container in runs)

    def on_node(self, node_id: str) -> list[tuple[str, str]]:
        """Return job and task of everything that runs on a node."""
        return [(job, task) for (job, task, _), container in self._live.items() if container.run.node_id == node_id]

    # What the image does ---------------------------------------------------------------------------------------------

    def _no_image(self, container: Container) -> None:
        self._faults["image cannot be pulled"] += 1
        self._over(container, "its image cannot be pulled")
        run = container.run
        self.fail(run.job_id, run.task_id, "ContainerInvalidImage", "The container image is invalid.")

    def _claim(self, container: Container) -> None:
        def answered(done: "Future[Claimed]") -> None:
            if container.stage is Stage.STARTING:
                self._claimed(container, done.result())

        asking = self._claiming.start(container.run, lambda: container.stage is Stage.OVER)
        asking.add_done_callback(answered)

    def _claimed(self, container: Container, claimed: Claimed) -> None:
        if not claimed.environment:
            self._exit(container, claimed.exit_code)
        elif self._bad_luck("container dies after its claim", DIES_CLAIMING):
            self._die(container, Stage.STARTING)
        else:
            self._register(container, {**container.run.environment, **claimed.environment})

    def _register(self, container: Container, given: Mapping[str, str]) -> None:
        try:
            with self._github.changing() as now:
                state = self._github.state
                if "GHR_JITCONFIG" in given:
                    runner = state.runner_of_jit(given["GHR_JITCONFIG"])
                else:
                    scope = Scope.of_url(given["GHR_URL"])
                    self._github.access.redeem(given["GHR_TOKEN"], scope, now)
                    runner = state.register(scope, _registration(container.run), now)
                state.connect(runner, now)
        except Refusal as refusal:
            self._tell(container.run.task_id, f"registration refused: {refusal.status} {refusal.message}")
            self._exit(container, NOT_REGISTERED)
            return
        container.runner, container.stage = runner, Stage.IDLE
        self._by_runner.setdefault(runner.id, container)
        self._tell(container.run.task_id, f"runner {runner.name} listens")
        idle = 60 * float(given["GHR_IDLE_MINUTES"])
        self._later(container, idle, self._idle_limit, container)
        if self._bad_luck("runner dies while idle", DIES_IDLE):
            self._later(container, self._random.uniform(0, 20), self._die, container, Stage.IDLE)
        self._listen(container)

    def _listen(self, container: Container) -> None:
        if container.stage is not Stage.IDLE or container.runner is None:
            return
        with self._github.changing() as now:
            if self._github.state.runners.get(container.runner.id) is container.runner:
                container.runner.listening = not container.runner.busy
                self._github.state.assign(now)

    def _hear(self, event: Event) -> None:
        """Take what GitHub tells a runner, or what a runner would notice by itself."""
        job = event.job
        told = event.runner.id if event.runner is not None else job.runner_id if job is not None else None
        container = self._by_runner.get(told or 0)
        if container is None:
            return
        if event.kind == "assigned" and job is not None:
            late = self._bad_luck("runner picks up too late", LATE)
            delay = 90.0 if late else self._random.uniform(0.5, 3)
            self._later(container, delay, self._pick_up, container, job.id)
        elif event.kind == "requeued":
            self._later(container, 1.0, self._listen, container)
        elif event.kind == "runner_removed" and container.stage is Stage.IDLE:
            self._later(container, 5.0, self._exit, container, NO_JOB)
        elif event.kind == "completed" and job is not None and job.conclusion == "cancelled":
            self._later(container, 5.0, self._done, container, job.id)

    def _pick_up(self, container: Container, job_id: int) -> None:
        runner = container.runner
        if runner is None or container.stage is not Stage.IDLE:
            return
        try:
            with self._github.changing() as now:
                job = self._github.state.start(runner, job_id, now)
                runner.listening = False
        except Refusal:  # taken back meanwhile
            self._listen(container)
            return
        container.stage = Stage.WORKING
        self._tell(container.run.task_id, f"runner {runner.name} works on job {job_id}")
        self._later(container, job.plan.duration_s, self._done, container, job_id)
        if self._bad_luck("runner dies while working", DIES_WORKING):
            self._later(container, job.plan.duration_s / 2, self._die, container, Stage.WORKING)

    def _done(self, container: Container, job_id: int) -> None:
        if container.stage is Stage.WORKING and container.runner is not None and container.runner.job_id == job_id:
            self._finish(container, "success")
            self._exit(container, JOB_RAN)

    def _finish(self, container: Container, conclusion: str) -> None:
        runner = container.runner
        if runner is None or runner.job_id is None:
            return
        try:
            with self._github.changing() as now:
                self._github.state.finish(runner, runner.job_id, conclusion, now)
        except Refusal:
            return  # GitHub has given it up already

    def _idle_limit(self, container: Container) -> None:
        if container.stage is not Stage.IDLE or container.runner is None:
            return
        if container.runner.busy:  # a job is on its way
            self._later(container, 60.0, self._idle_limit, container)
            return
        self._leave(container)
        self._exit(container, NO_JOB)

    def _leave(self, container: Container) -> None:
        """Take the registration back, which only a runner that registered itself may do."""
        runner = container.runner
        if runner is None:
            return
        try:
            with self._github.changing() as now:
                if runner.registration.jit:
                    self._github.state.unlisten(runner, now, gone=True)
                else:
                    self._github.state.remove(runner.id, now)
        except Refusal:  # gone already, or just given a job, which GitHub then takes back
            self._github.state.unlisten(runner, self._github.clock(), gone=True)

    def _die(self, container: Container, stage: Stage) -> None:
        if container.stage is stage:
            self._vanish(container, "the process died")
            container.finished(container.run, KILLED)

    def _vanish(self, container: Container, why: str) -> None:
        if container.runner is not None:
            with self._github.changing() as now:
                self._github.state.unlisten(container.runner, now, gone=True)
        self._over(container, why)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _exit(self, container: Container, code: int) -> None:
        if container.stage is not Stage.OVER:
            self._over(container, f"exit code {code}")
            container.finished(container.run, code)

    def _over(self, container: Container, why: str) -> None:
        container.stage = Stage.OVER
        self.ended.append((self._loop.now(), container.run.pool_id))
        run = container.run
        if self._live.pop((run.job_id, run.task_id, run.attempt), None) is not None:
            del self._by_task[run.job_id, run.task_id][run.attempt]
        if container.runner is not None and self._by_runner.get(container.runner.id) is container:
            del self._by_runner[container.runner.id]
        self._tell(container.run.task_id, f"container ended: {why}")

    def _later(self, container: Container, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        def act() -> None:
            if container.stage is not Stage.OVER:
                action(*arguments)

        self._loop.call_later(seconds, act)

    def _bad_luck(self, what: str, share: float) -> bool:
        unlucky = self.troubled and self._random.random() < share
        if unlucky:
            self._faults[what] += 1
        return unlucky


def _registration(run: TaskRun) -> Registration:
    given = run.environment
    system = "Windows" if run.os == "windows" else "Linux"
    own = ("self-hosted", system, "X64")
    known = {name.lower() for name in own}
    custom = [name for name in given["GHR_LABELS"].split(",") if name.lower() not in known]
    labels = (*(Label(name, "read-only") for name in own), *(Label(name) for name in custom))
    return Registration(
        given["GHR_NAME"], labels, given.get("GHR_GROUP"), system, ephemeral=given["GHR_EPHEMERAL"] == "true",
        replace=True,
    )  # fmt: skip
