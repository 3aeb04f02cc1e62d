"""What the host listens to besides HTTP: storage queues and the clock; and the queues that functions write to.

The figures are the host's own (host.json reference, "queues"), and so are the oddities: a queue message that is JSON
replaces trigger metadata of the same name, and JSON-like output is taken apart.
"""

import asyncio
import base64
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.functions.ncrontab import Schedule
from sandbox.functions.runtime import AppBroken, Call, Function, Result

logger = logging.getLogger(__name__)

HIDDEN = 600  # seconds that a message is hidden while its function runs
FASTEST_POLL = 0.1
# Try again after a second, as the host's .NET SDK does; the Python SDK's own first pause is more than 15 s.
RETRY: Mapping[str, Any] = {"initial_backoff": 0, "increment_base": 1, "random_jitter_range": 0.2}


@dataclass(frozen=True)
class QueueOptions:
    """`extensions.queues` of host.json; times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    max_polling_interval: float = 60.0
    visibility_timeout: float = 0.0
    base64: bool = True

    @classmethod
    def read(cls, host: Mapping[str, Any], max_polling_interval: float | None) -> "QueueOptions":
        """Read them, with the polling interval changed if one is given."""
        own = host.get("extensions", {}).get("queues", {})
        batch_size = int(own.get("batchSize", 16))
        return cls(
            batch_size=batch_size,
            new_batch_threshold=int(own.get("newBatchThreshold", batch_size // 2)),
            max_dequeue_count=int(own.get("maxDequeueCount", 5)),
            max_polling_interval=max_polling_interval or _seconds(own.get("maxPollingInterval", "00:01:00")),
            visibility_timeout=_seconds(own.get("visibilityTimeout", "00:00:00")),
            base64=own.get("messageEncoding", "base64") == "base64",
        )


def _seconds(span: str) -> float:
    hours, minutes, seconds = span.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def resolve(text: str) -> str:
    """Replace `%Setting%` in a binding by the app setting.

    Raises:
        AppBroken: There is no such setting.
    """
    return re.sub(r"%(\w+)%", lambda found: _setting(found[1]), text)


def _setting(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise AppBroken(f"the app setting {name} is missing") from None


def _client(connection: str, queue: str) -> QueueClient:
    """Return a client of a queue, given the app setting that holds the connection string."""
    try:
        return QueueClient.from_connection_string(_setting(connection), queue, **RETRY)
    except ValueError:
        raise AppBroken(f"the app setting {connection} is not a storage connection string") from None


class QueueListener:
    """Calls a function for each message of its queue.

    Raises:
        AppBroken: A setting that its binding names is missing or wrong.
    """

    def __init__(self, call: Call, function: Function, options: QueueOptions) -> None:
        self._call = call
        self._function = function
        self._options = options
        self._name = resolve(function.trigger["queueName"])
        self._connection: str = function.trigger["connection"]
        self._queue = _client(self._connection, self._name)
        self._running: set[asyncio.Task[None]] = set()
        self.woken = asyncio.Event()

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._name

    async def listen(self) -> None:
        """Listen until cancelled; then let the calls that run come to their end."""
        async with self._queue:
            try:
                await self._poll()
            finally:
                if self._running:
                    await asyncio.wait(self._running)

    async def _poll(self) -> None:
        wait = FASTEST_POLL
        while True:
            self.woken.clear()  # before the look: a message written meanwhile must not wait for the next but one
            found = await self._receive(self._queue)
            wait = FASTEST_POLL if found else min(wait * 2, self._options.max_polling_interval)
            if not found:
                await self._sleep(wait)
            while len(self._running) > self._options.new_batch_threshold:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return

    async def _receive(self, queue: QueueClient) -> int:
        found = 0
        try:
            size = self._options.batch_size
            async for message in queue.receive_messages(
                visibility_timeout=HIDDEN, max_messages=size, messages_per_page=size
            ):
                found += 1
                task = asyncio.create_task(self._process(queue, message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        except ResourceNotFoundError:
            return 0  # somebody will create it
        except AzureError as error:
            logger.warning("the queue %s does not answer: %s", self._name, type(error).__name__)
        return found

    async def _process(self, queue: QueueClient, message: QueueMessage) -> None:
        try:
            await self._deliver(queue, message)
        except AzureError as error:
            logger.warning("a message of %s could not be finished: %s", self._name, type(error).__name__)

    async def _deliver(self, queue: QueueClient, message: QueueMessage) -> None:
        body = _decoded(message.content) if self._options.base64 else message.content.encode()
        if body is None:
            await self._poison(queue, message)
            return
        result = await self._call(self._function, Datum(body, "bytes"), _metadata(message, body))
        if result.error is None:
            await queue.delete_message(message)
        elif (message.dequeue_count or 1) >= self._options.max_dequeue_count:
            await self._poison(queue, message)
        else:
            await queue.update_message(message, visibility_timeout=int(self._options.visibility_timeout))

    async def _poison(self, queue: QueueClient, message: QueueMessage) -> None:
        name = f"{self._name}-poison"
        logger.error("a message of %s goes to %s", self._name, name)
        await put(self._connection, name, message.content)
        await queue.delete_message(message)


def _decoded(content: str) -> bytes | None:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return None


def _metadata(message: QueueMessage, body: bytes) -> dict[str, Datum]:
    """The trigger's metadata; properties of a JSON body replace those of the same name, whatever the case."""
    own: dict[str, Any] = {
        "Id": message.id,
        "DequeueCount": message.dequeue_count,
        "PopReceipt": message.pop_receipt,
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
        "QueueTrigger": body.decode(errors="replace"),
    }
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than the host reads either
        given = None
    if isinstance(given, dict):
        names = {name.lower(): name for name in own}
        own |= {str(names.get(name.lower(), name)): value for name, value in given.items()}
    return {name: Datum(json.dumps(value), "json") for name, value in own.items()}


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


async def put(connection: str, queue: str, content: str) -> None:
    """Put a message into a queue, creating the queue if it is missing.

    Args:
        connection: the app setting with the connection string.
        queue: its name.
        content: the message, encoded.
    """
    async with _client(connection, queue) as client:
        try:
            await client.send_message(content)
        except ResourceNotFoundError:
            try:
                await client.create_queue()
            except ResourceExistsError:
                logger.info("another function created %s", queue)
            await client.send_message(content)


async def write_outputs(
    function: Function, result: Result, listeners: Iterable[QueueListener], *, encode: bool
) -> None:
    """Carry out a call's queue output bindings, and wake the listeners of those queues."""
    for name, datum in result.outputs.items():
        binding = function.outputs.get(name, {})
        if binding.get("type") != "queue":
            continue
        queue = resolve(binding["queueName"])
        for text in messages_of(datum):
            content = base64.b64encode(text.encode()).decode() if encode else text
            await put(binding["connection"], queue, content)
        for listener in listeners:
            if listener.queue == queue:
                listener.woken.set()


def messages_of(datum: Datum) -> list[str]:
    """Return the messages that an output becomes: JSON-like text is parsed and written anew, an array taken apart."""
    text = datum.value.decode() if isinstance(datum.value, bytes) else str(datum.value)
    if datum.type == "bytes" or not text.lstrip().startswith(("{", "[")):
        return [text]
    try:
        parsed = json.loads(text)
    except ValueError:
        return [text]
    return [_written(item) for item in parsed] if isinstance(parsed, list) else [_written(parsed)]


def _written(item: object) -> str:
    return item if isinstance(item, str) else json.dumps(item, separators=(",", ":"))


class Timer:
    """Calls a function at its times, one call at a time; what is missed during a call is made up for once, at its end.

    Args:
        call: calls it.
        function: the function.
        now: the time, in UTC.

    Raises:
        AppBroken: Its schedule is not understood, or names a setting that is missing.
    """

    def __init__(self, call: Call, function: Function, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._call = call
        self._function = function
        self._now = now
        try:
            self._schedule = Schedule.parse(resolve(function.trigger["schedule"]))
        except ValueError as error:
            raise AppBroken(f"the schedule of {function.name}: {error}") from None
        self._lock = asyncio.Lock()

    async def tick(self) -> None:
        """Fire at each of the schedule's times until cancelled."""
        if self._function.trigger.get("runOnStartup"):
            await self.fire()
        last = self._now()
        while True:
            due = self._schedule.after(last)
            await asyncio.sleep((due - self._now()).total_seconds())
            last = max(due, self._now())
            await self.fire()

    async def fire(self) -> None:
        """Call the function now. It is never past due: only a host that remembers earlier runs can know."""
        status = {"IsPastDue": False, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}}
        async with self._lock:
            result = await self._call(self._function, Datum(json.dumps(status), "json"), {})
        if result.error is not None:
            logger.error("failed: %s", result.error)
