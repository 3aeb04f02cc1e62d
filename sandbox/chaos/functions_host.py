"""Plays the Functions host: the processes that hold the `Application`, and what the host does around them.

The figures are those of host.json and of `sandbox.functions.triggers`.
"""

import asyncio
import base64
import contextvars
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient, QueueMessage

from orchestrator.application import Application
from orchestrator.azure.request_queue import POISON, REQUESTS
from orchestrator.delivery.receiver import Answer
from sandbox.chaos.options import Options
from sandbox.chaos.threads import PROCESS, Killed, Process, Threads, current_worker
from sandbox.github import hooks

HIDDEN = 600  # seconds that a message is hidden while its function runs
POLL = 10.0
BATCH = 16
RETRY_VISIBLE = 30
MOST_DEQUEUES = 5
TIMER = 300.0
GITHUB_ADDRESS = "140.82.115.7:51000"


class Instance(Process):
    """One process with an application in it, and all the memory that goes with it."""

    def __init__(self, settings: Mapping[str, str], clock: Callable[[], float]) -> None:
        super().__init__()
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        self.clock = clock
        self.application = self.context.run(Application, settings, clock)
        self.tasks: dict[asyncio.Task[Answer], None] = {}  # in order

    def kill(self) -> None:
        """End it at once: deliveries, messages and timers in work are left where they are."""
        super().kill()
        for task in self.tasks:
            task.get_loop().call_soon(task.cancel)


class FunctionsHost:
    """Feeds deliveries, messages and timers to the instances that are alive, each to any of them.

    Args:
        threads: the workers.
        settings: the app settings.
        options: how many instances there are, all being well, and the seed of restarts.
        answered: is told each answer of the application.
        pending: whether a message is due; asking the service when it does not would only cost real time.
        timers: names of `Application` methods to call, each every five minutes.
        passing: is called before each of those calls.
    """

    def __init__(
        self,
        threads: Threads,
        settings: Mapping[str, str],
        *,
        options: Options,
        answered: Callable[[Answer], None],
        pending: Callable[[], bool],
        timers: tuple[str, ...],
        passing: Callable[[], None],
    ) -> None:
        self._threads = threads
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
        self.passes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._timers = timers
        self._passing = passing

    def start(self) -> None:
        """Begin to work."""
        for _ in range(self._wanted):
            self._boot()
        self._threads.submit(self._poll)
        for number, name in enumerate(self._timers):
            self._threads.loop.call_later(60.0 + 20 * number, self._tick, name)

    def kill(self, process: Process | None = None) -> None:
        """Lose an instance (this one, or any) with everything in it; another one comes up after a while."""
        victim = process or self._any()
        if not isinstance(victim, Instance) or victim not in self._instances:
            return
        victim.kill()
        self._instances.remove(victim)
        self.restarts += 1
        self._threads.loop.call_later(self._random.uniform(2, 60), self._boot)

    def post(self, _url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> hooks.Answer:
        """Take a webhook delivery as the front end does; in a worker of GitHub's."""
        instance = self._any()
        if instance is None:
            return hooks.Answer("Invalid HTTP Response: 503", 503)
        lowered = {name.lower(): value for name, value in headers.items()} | {"x-forwarded-for": GITHUB_ADDRESS}
        answers: list[hooks.Answer] = []

        def call(resume: Callable[[], None]) -> None:
            self._threads.loop.call_soon(self._receive, instance, lowered, body, answers.append, resume)

        if not current_worker().wait(call, seconds):
            return hooks.Answer("timed out", 504)
        return answers[0]

    def _boot(self) -> None:
        self._instances.append(Instance(self._settings, self._threads.loop.now))

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
        take: Callable[[hooks.Answer], None],
        resume: Callable[[], None],
    ) -> None:
        task = self._threads.loop.create_task(instance.application.receive(headers, body), context=instance.context)
        instance.tasks[task] = None
        if not instance.alive:
            task.cancel()

        def done(task: asyncio.Task[Answer]) -> None:
            instance.tasks.pop(task, None)
            if task.cancelled() or isinstance(task.exception(), Killed):
                take(hooks.Answer("failed to connect to host", 502))
            elif (error := task.exception()) is not None:
                self.errors[f"receive: {error!r}"] += 1
                take(hooks.Answer("Invalid HTTP Response: 500", 500))
            else:
                answer = task.result()
                self._answered(answer)
                fine = answer.status < 300  # noqa: PLR2004 - HTTP
                status = "OK" if fine else f"Invalid HTTP Response: {answer.status}"
                take(hooks.Answer(status, answer.status, {}, answer.text))
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
        except AzureError as error:
            self.errors[f"queue: {type(error).__name__}"] += 1
        finally:
            self._in_work -= 1

    def _settle(self, message: QueueMessage, outcome: BaseException | None) -> None:
        if isinstance(outcome, Killed):
            return  # the message shows again when its time is over
        if outcome is None:
            self._queue.delete_message(message)
            return
        self.errors[f"retry: {type(outcome).__name__}"] += 1
        if (message.dequeue_count or 1) >= MOST_DEQUEUES:
            self._poison.send_message(message.content)
            self._queue.delete_message(message)
        else:
            self._queue.update_message(message, visibility_timeout=RETRY_VISIBLE)

    # Timers ----------------------------------------------------------------------------------------------------------

    def _tick(self, name: str) -> None:
        if self._stopped:
            return
        instance = self._any()
        method = None if instance is None else getattr(instance.application, name, None)
        if instance is None or method is None:
            self._threads.loop.call_later(TIMER, self._tick, name)
            return

        def fire() -> None:
            due = self._threads.loop.time() + TIMER
            self._passing()
            outcome = self._run(instance, method)
            self.passes[name] += 1
            if outcome is not None and not isinstance(outcome, Killed):
                self.errors[f"{name}: {type(outcome).__name__}: {outcome}"] += 1
            # One pass at a time: what is missed during a long one is made up for at its end.
            self._threads.loop.call_at(max(due, self._threads.loop.time()), self._tick, name)

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
