"""What cannot be given by constructor: what the SDK of Batch does beside a call, and nets that are switched off.

The orchestrator itself takes its clock, threads, locks and timers from `orchestrator.runtime.Runtime`.
"""

import contextvars
import datetime as dt
import functools
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import NoReturn, Self
from unittest import mock

import azure.batch._operations._polling as azure_polling
import azure.batch._patch as azure_batch
import azure.core.polling._poller as azure_poller

from orchestrator.azure.request_queue import RequestQueue
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.redelivery import Redelivery
from sandbox.chaos.threads import Threads


@contextmanager
def virtual_sdk(threads: Threads) -> Iterator[None]:
    """Put on virtual time what the SDK of Batch does beside a call.

    That is the date that it signs, and the thread in which it looks whether a job is deleted or a pool resized. Nobody
    asks it for the outcome: where it would wait before it looks again, the thread ends. Like every new thread it knows
    nothing of the context that it was started in, so it belongs to no process of the simulation.
    """
    loop = threads.loop
    clean = contextvars.copy_context()

    class VirtualDate(dt.datetime):
        """What `azure-batch` takes for `datetime` when it dates a request."""

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(loop.now() + threads.clock_off, dt.UTC).replace(tzinfo=None)

    class Thread:
        """What the SDK takes for a `threading.Thread`."""

        def __init__(self, target: Callable[[], object], **_options: object) -> None:
            self.start = functools.partial(clean.run, threads.submit, target)

    poller_threading = SimpleNamespace(Event=threading.Event, Thread=Thread)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(azure_batch, "datetime", VirtualDate))
        stack.enter_context(mock.patch.object(azure_poller, "threading", poller_threading))
        stack.enter_context(mock.patch.object(azure_polling, "time", SimpleNamespace(sleep=_no_more)))
        yield


def _no_more(_seconds: float) -> NoReturn:
    raise TimeoutError("nobody waits for it")


@contextmanager
def without(nets: Collection[str]) -> Iterator[None]:
    """Switch nets of the orchestrator off: what they would have caught falls through."""
    with ExitStack() as stack:
        if "reconciliation" in nets:
            stack.enter_context(mock.patch.object(Reconciler, "run"))
        if "redelivery" in nets:
            stack.enter_context(mock.patch.object(Redelivery, "run"))
        if "queue" in nets:
            stack.enter_context(mock.patch.object(RequestQueue, "retry_later", lambda _, retries: [0.0] * len(retries)))
        yield
