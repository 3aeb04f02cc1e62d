"""Loads a function app and calls its functions, through the native interface of `azure-functions-runtime`.

That interface is internal to Microsoft's worker: the package is pinned, and `tests/integration/test_functions_host.py`
is the contract test that notices when it changes. It keeps its state in module globals: one app per process.
"""

import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

# Which function each running invocation is of, for the log: threads know no more than the invocation's id.
RUNNING: dict[str, str] = {}


class AppBroken(Exception):
    """The app cannot run; the message is the runtime's own, or names the app setting that is wrong."""


@dataclass(frozen=True)
class Function:
    """One function of the app.

    Attributes:
        trigger: its trigger binding, as in a `function.json`.
        outputs: its output bindings, by parameter (`$return` for what it returns).
    """

    name: str
    id: str
    trigger: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """What a call came to; `error` is the exception's text if it failed."""

    error: str | None
    outputs: Mapping[str, Datum] = field(default_factory=dict)


# Calls a function with its trigger's value and metadata, and completes its outputs.
type Call = Callable[[Function, Datum, Mapping[str, Datum]], Awaitable[Result]]


class Runtime:
    """The loaded app."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self.functions = tuple(functions)

    @classmethod
    async def load(cls, directory: Path) -> "Runtime":
        """Load `function_app.py` of a directory into this process.

        Raises:
            AppBroken: The app has errors that Azure would refuse it for, or no functions.
        """
        os.chdir(directory)
        sys.path.insert(0, str(directory))
        worker.start_threadpool_executor()
        request = SimpleNamespace(
            request=SimpleNamespace(
                worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(directory))
            ),
            properties={"host": "127.0.0.1", "protos": _PROTOS},
        )
        started = await worker.worker_init_request(request)
        if started.result.status == _StatusResult.Failure:
            raise AppBroken(started.result.exception.message)
        metadata = await worker.functions_metadata_request(request)
        found = [_function(entry) for entry in metadata.function_metadata_results or ()]
        if not found:
            raise AppBroken(f"{directory} has no functions")
        return cls(found)

    async def call(self, function: Function, given: Datum, metadata: Mapping[str, Datum]) -> Result:
        """Call a function with its trigger's value.

        Args:
            function: which one.
            given: the trigger's value.
            metadata: the trigger's metadata.
        """
        invocation = str(uuid.uuid4())
        RUNNING[invocation] = function.name
        try:
            ok, returned, outputs, error, _trace = await invocation_request_native(
                invocation, function.id, [(function.trigger["name"], given)], dict(metadata)
            )
        finally:
            del RUNNING[invocation]
        if not ok:
            return Result(error or "failed")
        values = dict(outputs)
        if returned is not None:
            values["$return"] = returned
        return Result(None, values)


def _function(entry: Any) -> Function:
    bindings = [json.loads(binding) for binding in entry.raw_bindings]
    trigger = next(binding for binding in bindings if binding["type"].lower().endswith("trigger"))
    outputs = {binding["name"]: binding for binding in bindings if binding["direction"].lower() == "out"}
    return Function(entry.name, entry.function_id, trigger, outputs)


class _Message(SimpleNamespace):
    """Takes the place of a protobuf message: it keeps what it is made with."""


class _StatusResult(_Message):
    Failure = 0
    Success = 1


class _BindingInfo(_Message):
    # Numbers of two enumerations: data types (undefined), and directions.
    undefined, out, inout = 0, 1, 2


_PROTOS = SimpleNamespace(
    **dict.fromkeys(
        (
            "WorkerInitResponse",
            "WorkerMetadata",
            "FunctionMetadataResponse",
            "FunctionLoadResponse",
            "RpcException",
            "RpcFunctionMetadata",
            "RpcRetryOptions",
        ),
        _Message,
    ),
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
)
