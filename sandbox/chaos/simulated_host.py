"""Plays the Functions host: the processes that hold the `Application`, and what the host does around them.

The figures are those of host.json and of `sandbox.functions.triggers`.
"""

import asyncio
import base64
import contextvars
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient, QueueMessage

from orchestrator.application import Application
from orchestrator.azure.request_queue import POISON, REQUESTS
from orchestrator.delivery.answer import Answer
from orchestrator.runtime import Runtime
from sandbox.chaos.options import Options
from sandbox.chaos.threads import PROCESS, Killed, Process, Threads, current_worker
from sandbox.github.hooks import HookResponse

HIDDEN = 600  # seconds that a message is hidden while its function runs
POLL = 10.0
BATCH = 16
RETRY_VISIBLE = 30
MOST_DEQUEUES = 5
GITHUB_ADDRESS = "140.82.115.7:51000"


@dataclass(frozen=True)
class TimerTrigger:
    """A timer function.

    Attributes:
        method: of the `Application`, which it calls.
        first: virtual seconds until it is first due.
        every: seconds between two times at which it is due.
    """

    method: str
    first: float
    every: float


RECONCILE = TimerTrigger("reconcile", first=60.0, every=300.0)
TEND_POOLS = TimerTrigger("tend_pools", first=30.0, every=60.0)


class Instance(Process):
    """One process with an application in it, and all the memory that goes with it."""

    def __init__(self, settings: Mapping[str, str], runtime: Runtime) -> None:
        super().__init__()
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        self.application = self.context.run(Application, settings, runtime)
        self.tasks: dict[asyncio.Task[Answer], None] = {}  # in order

    def kill(self) -> None:
        """End it at once: deliveries, messages and timers in work are left where they are."""
        super().kill()
        for task in self.tasks:
            task.get_loop().call_soon(task.cancel)


class SimulatedHost:
    """Feeds deliveries, messages and timers to the instances that are alive, each to any of them.

    Args:
        threads: the workers.
        settings: the app settings.
        options: how many instances there are, all being well, and the seed of restarts.
        answered: is told each answer of the application.
        pending: whether a message is due; asking the service when it does not would only cost real time.
        timers: the timer functions.
        firing: is told of each call of one of them before it is made.

    Attributes:
        restarts: how often an instance was lost.
        fired: how often each timer function was called.
        failures: exceptions that the application should have dealt with.
    """

    def __init__(
        self,
        threads: Threads,
        settings: Mapping[str, str],
        *,
        options: Options,
        answered: Callable[[Answer], None],
        pending: Callable[[], bool],
        timers: Iterable[TimerTrigger],
        firing: Callable[[TimerTrigger], None],
    ) -> None:
        self._threads = threads
        self._clean = contextvars.copy_context()
        self._settings = settings
        self._random = random.Random(f"{options.seed}-host")  # noqa: S311 - a simulation
        self._answered = answered
        self._pending = pending
        storage = settings["AzureWebJobsStorage"]
        once: dict[str, Any] = {"retry_total": 0, "read_timeout": 5}
        self._queue = QueueClient.from_connection_string(storage, REQUESTS, **once)
        self._poison = QueueClient.from_connection_string(storage, POISON, **once)
        self._in_work = 0
        self._stopped = False
        self._wanted = options.instances
        self._instances: list[Instance] = []
        self.restarts = 0
        self.fired: Counter[TimerTrigger] = Counter()
        self.failures: list[str] = []
        self._timers = tuple(timers)
        self._firing = firing

    def start(self) -> None:
        """Begin to work."""
        for _ in range(self._wanted):
            self._boot()
        self._threads.submit(self._poll)
        for timer in self._timers:
            self._threads.loop.call_later(timer.first, self._tick, timer)

    def kill(self, process: Process | None = None) -> None:
        """Lose an instance (this one, or any) with everything in it; another one comes up after a while."""
        victim = process or self._any()
        if not isinstance(victim, Instance) or victim not in self._instances:
            return
        victim.kill()
        self._instances.remove(victim)
        self.restarts += 1
        self._threads.loop.call_later(self._random.uniform(2, 60), self._boot, context=self._clean)

    def post(self, _url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> HookResponse:
        """Take a webhook delivery as the front end does; in a worker of GitHub's."""
        instance = self._any()
        if instance is None:
            return HookResponse("Invalid HTTP Response: 503", 503)
        lowered = {name.lower(): value for name, value in headers.items()} | {"x-forwarded-for": GITHUB_ADDRESS}
        answers: list[HookResponse] = []

        def call(resume: Callable[[], None]) -> None:
            self._threads.loop.call_soon(self._receive, instance, lowered, body, answers.append, resume)

        if not current_worker().wait(call, seconds):
            return HookResponse("timed out", 504)
        return answers[0]

    async def claim(self, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Take a claim as the front end does; return None if its instance ended meanwhile."""
        instance = self._any()
        if instance is None:
            return Answer(503, {})
        task = self._threads.loop.create_task(
            instance.application.claim(headers, body), context=instance.context.copy()
        )
        instance.tasks[task] = None
        await asyncio.wait([task])
        instance.tasks.pop(task, None)
        if task.cancelled() or isinstance(task.exception(), Killed):
            return None
        if (error := task.exception()) is not None:
            self.failures.append(f"claim: {error!r}")
            return Answer(500, {})
        return task.result()

    def _boot(self) -> None:
        self._instances.append(Instance(self._settings, self._threads.runtime))

    def _any(self) -> Instance | None:
        if len(self._instances) > 1:
            return self._random.choice(self._instances)
        return self._instances[0] if self._instances else None

    # Deliveries ------------------------------------------------------------------------------------------------------

    def _receive(
        self,
        instance: Instance,
        headers: Mapping[str, str],
        body: bytes,
        take: Callable[[HookResponse], None],
        resume: Callable[[], None],
    ) -> None:
        task = self._threads.loop.create_task(
            instance.application.receive(headers, body), context=instance.context.copy()
        )
        instance.tasks[task] = None
        if not instance.alive:
            task.cancel()

        def done(task: asyncio.Task[Answer]) -> None:
            instance.tasks.pop(task, None)
            if task.cancelled() or isinstance(task.exception(), Killed):
                take(HookResponse("failed to connect to host", 502))
            elif (error := task.exception()) is not None:
                self.failures.append(f"receive: {error!r}")
                take(HookResponse("Invalid HTTP Response: 500", 500))
            else:
                answer = task.result()
                self._answered(answer)
                fine = answer.status < 300  # noqa: PLR2004 - HTTP
                status = "OK" if fine else f"Invalid HTTP Response: {answer.status}"
                take(HookResponse(status, answer.status, {}, answer.text))
            resume()

        task.add_done_callback(done)

    # The queue -------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        while not self._stopped:
            self._threads.sleep(POLL)
            if self._instances and self._in_work <= BATCH // 2 and self._pending():
                self._receive_messages()

    def _receive_messages(self) -> None:
        try:
            found = list(
                self._queue.receive_messages(visibility_timeout=HIDDEN, max_messages=BATCH, messages_per_page=BATCH)
            )
        except AzureError:
            return  # nobody made the queue yet, or the service is away
        for message in found:
            self._in_work += 1
            self._threads.submit(self._process, message)

    def _process(self, message: QueueMessage) -> None:
        try:
            instance = self._any()
            if instance is not None:
                body = base64.b64decode(message.content)
                self._settle(message, self._run(instance, lambda: instance.application.retry(body)))
        except AzureError:
            return  # the message shows again when its time is over
        finally:
            self._in_work -= 1

    def _settle(self, message: QueueMessage, outcome: BaseException | None) -> None:
        if isinstance(outcome, Killed):
            return  # the message shows again when its time is over
        if outcome is None:
            self._queue.delete_message(message)
            return
        if (message.dequeue_count or 1) >= MOST_DEQUEUES:
            self._poison.send_message(message.content)
            self._queue.delete_message(message)
        else:
            self._queue.update_message(message, visibility_timeout=RETRY_VISIBLE)

    # Timers ----------------------------------------------------------------------------------------------------------

    def _tick(self, timer: TimerTrigger) -> None:
        if self._stopped:
            return
        instance = self._any()
        if instance is None:
            self._threads.loop.call_later(timer.every, self._tick, timer)
            return

        def fire() -> None:
            due = self._threads.loop.time() + timer.every
            self._firing(timer)
            outcome = self._run(instance, getattr(instance.application, timer.method))
            self.fired[timer] += 1
            if outcome is not None and not isinstance(outcome, Killed):
                self.failures.append(f"{timer.method}: {outcome!r}")
            # One call at a time: what is missed during a long one is made up for at its end.
            self._threads.loop.call_at(max(due, self._threads.loop.time()), self._tick, timer)

        self._threads.submit(fire)

    def _run(self, instance: Instance, action: Callable[[], Any]) -> BaseException | None:
        """Run blocking code of an instance to its end; return what it raised."""
        future: Future[Any] = instance.context.run(self._threads.submit, action)
        current_worker().wait(lambda resume: future.add_done_callback(lambda _future: resume()))
        return Killed() if future.cancelled() else future.exception()

    def stop(self) -> None:
        """Call nothing any more."""
        self._stopped = True


def job_of(body: bytes) -> int | None:
    """Return the job that a delivery is about."""
    job = json.loads(body).get("workflow_job") or {}
    return job.get("id")
