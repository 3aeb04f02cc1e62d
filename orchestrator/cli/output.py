"""How commands speak: results to stdout, everything else to stderr, and an exit code that a script can use."""

import json
from collections.abc import Mapping
from enum import IntEnum

from rich.console import Console

from orchestrator.errors import OrchestratorError, UpstreamError


class ExitCode(IntEnum):
    """What a command's exit code means. `docs/command-line.md` says it to operators.

    Attributes:
        DONE: it did what it was asked, or its answer is yes.
        NO: its answer is no.
        USAGE: it was called wrongly, or a file or setting that it was given is wrong.
        UPSTREAM: GitHub or Azure did not do it, or nobody did in time what it waited for.
    """

    DONE = 0
    NO = 1
    USAGE = 2
    UPSTREAM = 3


def exit_code(error: OrchestratorError) -> ExitCode:
    """Return how a command ends that an error stopped."""
    return ExitCode.UPSTREAM if isinstance(error, UpstreamError) else ExitCode.USAGE


def say(text: str) -> None:
    """Print a part of the result."""
    _console(stderr=False).print(text)


def say_json(value: Mapping[str, object]) -> None:
    """Print the whole result for a program."""
    say(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Tell the person at the terminal something that is no result."""
    _console(stderr=True).print(text)


def error_line(text: str) -> None:
    """Say in one sentence what went wrong."""
    _console(stderr=True).print(f"Error: {text}")


def _console(*, stderr: bool) -> Console:
    # Made anew each time, so that it writes to what stdout or stderr is now. Text is printed as it is: no markup in it,
    # no emoji, no colours for numbers, no line breaks inside addresses.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
