"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.operator_client import KEY

# The function that is asked, with an operator's key.
FunctionUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help=f"Ask the function at this address, with the key in {KEY}."),
]
# The settings of a command that asks GitHub and Azure itself.
SettingsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Without --url: as local.settings.json, secrets included. Or the environment."),
]
# The settings of a command that never asks the function.
LocalSettings = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="In the form of local.settings.json. Without: the environment."),
]
# The result for a program.
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
