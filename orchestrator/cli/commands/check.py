"""`check`: whether everything is set up as it must be."""

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from orchestrator.azure.request_queue import RequestQueue
from orchestrator.cli.operator_client import OperatorClient
from orchestrator.cli.options import AsJson, FunctionUrl, SettingsFile
from orchestrator.cli.output import ExitCode, say, say_json
from orchestrator.cli.settings_source import complete_settings
from orchestrator.errors import SettingsError
from orchestrator.health.conclusions import misconfigured
from orchestrator.health.finding import State, document, text
from orchestrator.runtime import Runtime
from orchestrator.upstream import connect


def check(
    *,
    url: FunctionUrl = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Prove the set-up by using it: settings, GitHub, Batch, the queue and the way out. Nothing is changed.

    Ends with 0 if nothing fails, with 1 if something does, and with 3 if something did not answer.
    """
    report = _from_inside(url) if url is not None else _from_here(settings)
    if as_json:
        say_json(report)
    else:
        say(text(report).rstrip("\n"))
    raise typer.Exit(code_of(report))


def code_of(report: Mapping[str, object]) -> ExitCode:
    """Return how the command ends on a report."""
    if report["state"] == State.FAIL:
        return ExitCode.NO
    return ExitCode.DONE if report.get("answered") is not False else ExitCode.UPSTREAM


def _from_inside(url: str) -> Mapping[str, object]:
    reply = OperatorClient(url, os.environ).get("health", {"full": "1"})
    if isinstance(reply.body.get("checks"), list) and isinstance(reply.body.get("state"), str):
        return reply.body
    raise reply.refusal("route for this")


def _from_here(file: Path | None) -> Mapping[str, object]:
    try:
        found = complete_settings(file, os.environ)
        queue = RequestQueue(found.azure_web_jobs_storage, found.egress)
    except SettingsError as error:
        return document(misconfigured(error))
    return connect(found, Runtime(), queue=lambda: queue).checkup.report(full=True)
