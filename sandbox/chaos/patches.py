"""What of the process is put on virtual time while a simulation runs: the clock of an SDK, thread pools and locks."""

import contextvars
import datetime as dt
import functools
import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn, Self
from unittest import mock

import azure.batch._operations._polling as azure_polling
import azure.batch._patch as azure_batch
import azure.core.polling._poller as azure_poller

import orchestrator
from orchestrator import application
from orchestrator.azure.request_queue import RequestQueue
from orchestrator.delivery import deadline
from orchestrator.delivery.hook_ranges import HookRanges
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.redelivery import Redelivery
from sandbox.chaos.threads import Threads


@contextmanager
def virtual(threads: Threads) -> Iterator[None]:
    """Put the orchestrator's threads, locks and timers on virtual time, and what the SDK of Batch does beside a call.

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
            return cls.fromtimestamp(loop.now(), dt.UTC).replace(tzinfo=None)

    class Timer:
        """What the orchestrator takes for a `threading.Timer`."""

        def __init__(self, seconds: float, action: Callable[..., object], arguments: Sequence[object]) -> None:
            self.start = functools.partial(threads.later, seconds, functools.partial(action, *arguments))

    class Thread:
        """What the SDK takes for a `threading.Thread`."""

        def __init__(self, target: Callable[[], object], **_options: object) -> None:
            self.start = functools.partial(clean.run, threads.submit, target)

    virtual_threading = SimpleNamespace(Lock=threads.lock, Timer=Timer)
    poller_threading = SimpleNamespace(Event=threading.Event, Thread=Thread)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(azure_batch, "datetime", VirtualDate))
        stack.enter_context(mock.patch.object(azure_poller, "threading", poller_threading))
        stack.enter_context(mock.patch.object(azure_polling, "time", SimpleNamespace(sleep=_no_more)))
        hook_ranges = functools.partial(HookRanges, clock=loop.time)
        stack.enter_context(mock.patch.object(application, "HookRanges", hook_ranges))
        for pool in (deadline.UPSTREAM, deadline.QUEUE):
            stack.enter_context(mock.patch.object(pool, "submit", threads.submit))
        for module in _modules():
            if getattr(module, "threading", None) is threading:
                stack.enter_context(mock.patch.object(module, "threading", virtual_threading))
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
            stack.enter_context(mock.patch.object(RequestQueue, "keep", return_value=0.0))
        yield


def _modules() -> list[Any]:
    """Import every module of the orchestrator; some are else imported at their first use."""
    for found in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        importlib.import_module(found.name)
    return [module for name, module in sys.modules.items() if name.startswith("orchestrator.")]
