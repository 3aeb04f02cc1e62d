"""`profiles`: what to write in `runs-on`."""

import os
from typing import Annotated

import typer

from orchestrator.cli import profile_guide
from orchestrator.cli.options import AsJson, LocalSettings
from orchestrator.cli.output import say, say_json
from orchestrator.cli.settings_source import settings_without_secrets
from orchestrator.errors import SettingsError


def profiles(
    *,
    settings: LocalSettings = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for documentation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a workflow writes in `runs-on` to get each profile.

    The settings may be without secrets, and nobody is called.
    """
    if markdown and as_json:
        raise SettingsError.of("--markdown", "does not go with --json")
    entries = profile_guide.guide(settings_without_secrets(settings, os.environ).profiles)
    if as_json:
        say_json(profile_guide.document(entries))
    else:
        say(profile_guide.markdown(entries) if markdown else profile_guide.text(entries))
