"""The commands put together, and how each of them ends."""

from collections.abc import Sequence

import typer

from orchestrator.cli.commands import app, check, cost, explain, lint, match, profiles
from orchestrator.cli.output import error_line, exit_code
from orchestrator.errors import OrchestratorError

PROGRAM = "python -m orchestrator"

# Plain help and plain errors: they are read in logs and over SSH as well. A traceback's variables could hold secrets.
commands = typer.Typer(
    help="Commands for those who operate the runners.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
commands.add_typer(app.commands, name="app")
commands.command()(match.match)
commands.command()(explain.explain)
commands.command()(check.check)
commands.command()(lint.lint)
commands.command()(profiles.profiles)
commands.command()(cost.cost)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (see `output.ExitCode`).

    Args:
        arguments: those of the process by default.
    """
    code = 0
    try:
        commands(args=None if arguments is None else list(arguments), prog_name=PROGRAM)
    except OrchestratorError as error:
        error_line(str(error))
        code = exit_code(error)
    except SystemExit as ended:  # typer ends every other command so
        code = int(ended.code or 0)
    return code
