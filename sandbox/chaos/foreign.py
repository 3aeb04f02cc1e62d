"""What belongs to somebody else and must never be touched: runners, Batch tasks and queue messages."""

import random
from collections.abc import Callable, Iterator

from azure.storage.queue import QueueClient

from sandbox.chaos.simulated_batch import SimulatedBatch
from sandbox.chaos.virtual_time import VirtualLoop
from sandbox.github import GitHub
from sandbox.github.model import Event, Label, Refusal, Registration, Runner, Scope
from sandbox.storage_queue import QueueService

# Batch jobs of other people, the second one of another installation of the same product.
JOBS = ("nightly-render", "github-runner-othersPool")
TASKS = ("frame-1", "runner-1-1", "runner-30000000001-1")
ORDERS = "orders"


class Foreign:
    """Other people's things, and the runner of theirs that now and then takes a job of ours.

    Args:
        loop: virtual time.
        github: where they registered runners.
        batch: where they run tasks.
        queue: where they keep messages.
        scope: where their runners serve.
        seed: of what their runners do.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        github: GitHub,
        batch: SimulatedBatch,
        queue: QueueService,
        *,
        scope: Scope,
        seed: int,
    ) -> None:
        self._loop = loop
        self._github = github
        self._batch = batch
        self._queue = queue
        self._scope = scope
        self._random = random.Random(f"{seed}-foreign")  # noqa: S311 - a simulation
        self._runners: set[int] = set()
        self._visitors: dict[int, Runner] = {}
        github.subscribe(self._hear)

    def settle_in(self, connection_string: str) -> None:
        """Be there before the first job; in a worker."""
        for name in ("build-box-7", "runner-office", "office-mac-1"):
            self._register(name, ("self-hosted", "Linux", "X64", "office"))
        seen = self._register("office-mac-2", ("self-hosted", "macOS", "office"))
        with self._github.changing() as now:  # this one was online once
            self._github.state.connect(seen, now)
            self._github.state.unlisten(seen, now, gone=True)
        for job in JOBS:
            self._batch.add_foreign_job(job, pool="othersPool", tasks=TASKS)
        orders = QueueClient.from_connection_string(connection_string, ORDERS, retry_total=0)
        orders.create_queue()
        orders.send_message("an order")

    def visit(self, labels: tuple[str, ...]) -> None:
        """Let a runner of theirs come online for five minutes, take a job if it gets one, and leave."""
        runner = self._register(f"visitor-{self._loop.time():.0f}", labels)
        self._visitors[runner.id] = runner
        with self._github.changing() as now:
            self._github.state.connect(runner, now)
            self._github.state.listen(runner, now)
            runner.listening = not runner.busy
        self._loop.call_later(300.0, self._go, runner)

    def problems(self) -> Iterator[str]:
        """Name whatever is no longer as they left it."""
        there = {runner.id for runner in self._github.runners}
        for runner_id in sorted(self._runners - there):
            yield f"the runner {runner_id} of somebody else is gone"
        yield from self._batch.foreign_problems(JOBS, TASKS)
        if len(self._queue.texts(ORDERS)) != 1:
            yield "a message in somebody else's queue is gone"

    def _register(self, name: str, labels: tuple[str, ...]) -> Runner:
        wish = Registration(name, tuple(Label(label) for label in labels))
        with self._github.changing() as now:
            runner = self._github.state.register(self._scope, wish, now)
        self._runners.add(runner.id)
        return runner

    def _hear(self, event: Event) -> None:
        runner = self._visitors.get(event.runner.id) if event.runner is not None else None
        if runner is not None and event.kind == "assigned" and event.job is not None:
            self._loop.call_later(self._random.uniform(0.5, 3), self._work, runner, event.job.id)

    def _work(self, runner: Runner, job_id: int) -> None:
        try:
            with self._github.changing() as now:
                job = self._github.state.start(runner, job_id, now)
                runner.listening = False
        except Refusal:
            return
        self._loop.call_later(job.plan.duration_s, self._finish, runner, job_id)

    def _finish(self, runner: Runner, job_id: int) -> None:
        def report(now: float) -> None:
            self._github.state.finish(runner, job_id, "success", now)
            self._github.state.unlisten(runner, now, gone=True)

        self._try(report)

    def _go(self, runner: Runner) -> None:
        if not runner.busy:
            self._try(lambda now: self._github.state.unlisten(runner, now, gone=True))

    def _try(self, action: Callable[[float], None]) -> None:
        try:
            with self._github.changing() as now:
                action(now)
        except Refusal:
            return
