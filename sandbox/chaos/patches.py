"""What of the process is put on virtual time while a simulation runs: the clock of an SDK, thread pools and locks."""

import datetime as dt
import functools
import importlib
import pkgutil
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import azure.batch._patch as azure_batch

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
    """Put the orchestrator's threads and locks, and the date that `azure-batch` signs, on virtual time."""
    loop = threads.loop

    class VirtualDate(dt.datetime):
        """What `azure-batch` takes for `datetime` when it dates a request."""

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(loop.now(), dt.UTC).replace(tzinfo=None)

    locks = SimpleNamespace(Lock=threads.lock)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(azure_batch, "datetime", VirtualDate))
        hook_ranges = functools.partial(HookRanges, clock=loop.time)
        stack.enter_context(mock.patch.object(application, "HookRanges", hook_ranges))
        for pool in (deadline.UPSTREAM, deadline.QUEUE):
            stack.enter_context(mock.patch.object(pool, "submit", threads.submit))
        for module in _modules():
            if getattr(module, "threading", None) is threading:
                stack.enter_context(mock.patch.object(module, "threading", locks))
        yield


@contextmanager
def without(nets: Collection[str]) -> Iterator[None]:
    """Switch nets of the orchestrator off: what they would have caught falls through."""
    with ExitStack() as stack:
        if "reconciliation" in nets:
            stack.enter_context(mock.patch.object(Reconciler, "run"))
        if "redelivery" in nets:
            stack.enter_context(mock.patch.object(Redelivery, "run"))
        if "queue" in nets:
            stack.enter_context(mock.patch.object(RequestQueue, "retry_later", return_value=0.0))
        yield


def _modules() -> list[Any]:
    """Import every module of the orchestrator; some are else imported at their first use."""
    for found in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        importlib.import_module(found.name)
    return [module for name, module in sys.modules.items() if name.startswith("orchestrator.")]
