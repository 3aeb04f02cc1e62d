"""What of the process is put on virtual time while a simulation runs: the clock of an SDK, thread pools and locks."""

import datetime
import importlib
import pkgutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import azure.batch._patch as azure_batch

import orchestrator
from orchestrator import deadline
from sandbox.chaos.threads import Threads


@contextmanager
def virtual(threads: Threads) -> Iterator[None]:
    """Put the orchestrator's threads and locks, and the date that `azure-batch` signs, on virtual time."""
    loop = threads.loop

    class VirtualDate(datetime.datetime):
        """What the SDKs' own modules take for `datetime`."""

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(loop.now(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(loop.now(), tz)

    locks = SimpleNamespace(Lock=threads.lock, local=threading.local)
    clocks = SimpleNamespace(time=loop.now, monotonic=loop.time)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(azure_batch, "datetime", VirtualDate))
        for pool in (deadline.UPSTREAM, deadline.QUEUE):
            stack.enter_context(mock.patch.object(pool, "submit", threads.submit))
        for module in _modules():
            replacements: tuple[tuple[str, Any, Any], ...] = (
                ("threading", threading, locks),
                ("time", time, clocks),
                ("datetime", datetime.datetime, VirtualDate),
            )
            for name, real, virtual_one in replacements:
                if getattr(module, name, None) is real:
                    stack.enter_context(mock.patch.object(module, name, virtual_one))
        yield


def _modules() -> list[Any]:
    """Import every module of the orchestrator; some are else imported at their first use."""
    for found in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        importlib.import_module(found.name)
    return [module for name, module in sys.modules.items() if name.startswith("orchestrator.")]
