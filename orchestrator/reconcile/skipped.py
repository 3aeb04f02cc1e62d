"""What a pass leaves out is told in the log, in one form."""

import logging

from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.result import Result


def skipped(log: Log, reason: object, *, level: int = logging.WARNING, **about: object) -> None:
    """Tell that something is left for a later pass.

    Args:
        log: of the module that leaves it out.
        reason: why: a text or an error.
        level: of the `logging` module.
        about: what it is, as further fields of the line.
    """
    log(level, Line.SKIPPED, result=Result.SKIPPED, **about, reason=str(reason))
