"""The log: one JSON object per line, each with its name (`line`) and the ids of what the code is working on.

The ids (delivery, job, task, …) are kept in the context, so a function that logs does not need them as arguments. A
thread sees them when the code is handed over with `contextvars.copy_context`, as `delivery.deadline.within` does.
"""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar

from orchestrator.lines import Line

_ids: ContextVar[Mapping[str, object]] = ContextVar("ids")


class about:  # noqa: N801 - it is read as a word of the `with` statement
    """Adds ids to every line that is logged in the block, including those that `also_about` adds inside it."""

    def __init__(self, **ids: object) -> None:
        self._own = ids

    def __enter__(self) -> None:
        self._token = _ids.set({**_ids.get({}), **self._own})

    def __exit__(self, *_: object) -> None:
        _ids.reset(self._token)


def also_about(**ids: object) -> None:
    """Add ids to the lines that follow in the enclosing `about` block: what it is about was not known before."""
    _ids.set({**_ids.get({}), **ids})


class Log:
    """A module's log.

    Args:
        name: the module's name.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __call__(self, level: int, line: Line, /, **fields: object) -> None:
        """Write one line.

        Args:
            level: of the `logging` module.
            line: its name.
            fields: what it says, as JSON values; they win over ids of the same name.
        """
        logger = self._logger
        if logger.isEnabledFor(level):
            # `Logger.log` would look up the calling line, which is always this one.
            logger.handle(logger.makeRecord(logger.name, level, "", 0, _written(line, fields), (), None))

    def exception(self, **fields: object) -> None:
        """Write the line `error`, with the traceback of the exception that is being handled."""
        self._logger.exception("%s", _written(Line.ERROR, fields))  # noqa: LOG004 - its caller is in one


def _written(line: Line, fields: Mapping[str, object]) -> str:
    return json.dumps({**said(fields), "line": line})


def said(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return what a line says: the ids around it, and its own fields."""
    return {**_ids.get({}), **fields}
