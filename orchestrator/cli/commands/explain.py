"""`explain`: why a job waits."""

import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.azure.request_queue import RequestQueue
from orchestrator.cli import log_workspace
from orchestrator.cli.operator_client import OperatorClient
from orchestrator.cli.options import AsJson, FunctionUrl, SettingsFile
from orchestrator.cli.output import ExitCode, note, say, say_json
from orchestrator.cli.settings_source import settings_with_secrets
from orchestrator.config.settings import Settings
from orchestrator.errors import SettingsError, TransientError
from orchestrator.explain.reference import JobReference, ReferenceMalformed, parse_reference
from orchestrator.explain.report import text
from orchestrator.explain.verdict import OVER, WORKS, Verdict
from orchestrator.runtime import Runtime
from orchestrator.upstream import connect

# Seconds between two questions of `--watch`. The function keeps an answer for as long.
WATCH_EVERY = 15.0

type Ask = Callable[[], Mapping[str, object]]


def explain(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="The job's address at GitHub; or its id, if it has a task.")
    ],
    *,
    url: FunctionUrl = None,
    settings: SettingsFile = None,
    workspace: Annotated[
        str | None,
        typer.Option(
            metavar="GUID", help="Read the job's log lines in this Log Analytics workspace, as `az` is logged in."
        ),
    ] = None,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=730, help="With --workspace: how far back.")] = 90,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again until the job waits no more.")] = False,
    minutes: Annotated[int, typer.Option(metavar="N", min=1, max=1440, help="How long to watch.")] = 60,
) -> None:
    """Tell why a job waits, or what became of it.

    Ends with 0 if nothing is wrong, with 1 if a person must act, and with 3 if it cannot be told.

    Batch forgets a task after seven days. With --workspace the log tells what became of an older job.
    """
    if workspace is not None:
        raise typer.Exit(_tell_history(job, workspace, days, as_json=as_json))
    ask = _asks_function(url, job) if url is not None else _asks_services(settings, job)
    report = ask()
    _print(report, as_json=as_json)
    if watch:
        report = _watched(ask, report, as_json=as_json, rounds=int(minutes * 60 / WATCH_EVERY))
    raise typer.Exit(code_of(str(report["verdict"])))


def code_of(verdict: str) -> ExitCode:
    """Return how the command ends on a verdict. One of a later release counts as one that a person must see.

    Args:
        verdict: its word.
    """
    if verdict == Verdict.CANNOT_TELL:
        return ExitCode.UPSTREAM
    return ExitCode.DONE if verdict in WORKS else ExitCode.NO


def _tell_history(job: str, workspace: str, days: int, *, as_json: bool) -> ExitCode:
    """Print what the workspace knows of a job."""
    host = "/".join(job.strip().split("/")[:3])
    number = _reference(job, host, host).job_id
    lines = log_workspace.history(number, workspace, days)
    if as_json:
        say_json({"job": number, "lines": [{"at": line.at.isoformat(), **line.fields} for line in lines]})
    else:
        say("\n".join(map(str, lines)) or f"The workspace has no line about job {number} in the last {days} days.")
    return ExitCode.DONE if lines else ExitCode.NO


def _reference(job: str, web_url: str, api_url: str) -> JobReference:
    try:
        return parse_reference(job, web_url, api_url)
    except ReferenceMalformed as error:
        raise SettingsError.of("JOB", str(error)) from None


def _asks_function(url: str, job: str) -> Ask:
    client = OperatorClient(url, os.environ)

    def ask() -> Mapping[str, object]:
        reply = client.get("explain", {"job": job})
        if reply.status == HTTPStatus.OK and isinstance(reply.body.get("verdict"), str):
            return reply.body
        if reply.status == HTTPStatus.BAD_REQUEST and reply.reason:
            raise SettingsError.of("JOB", reply.reason)
        raise reply.refusal("function that explains")

    return ask


def _asks_services(file: Path | None, job: str) -> Ask:
    found: Settings = settings_with_secrets(file, os.environ)
    reference = _reference(job, found.github_web_url, found.github_api_url)
    queue = RequestQueue(found.azure_web_jobs_storage, found.egress)
    explainer = connect(found, Runtime(), queue=lambda: queue).explainer
    return lambda: explainer.explain(reference)


def _watched(ask: Ask, report: Mapping[str, object], *, as_json: bool, rounds: int) -> Mapping[str, object]:
    """Ask until the job waits no more; print what changes. A question that fails is asked again."""
    for _ in range(rounds):
        if report["verdict"] in OVER:
            break
        time.sleep(WATCH_EVERY)
        try:
            latest = ask()
        except TransientError as error:
            note(str(error))
            continue
        if latest["verdict"] != report["verdict"]:
            _print(latest, as_json=as_json)
        report = latest
    return report


def _print(report: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        say_json(report)
    else:
        say(text(report).rstrip("\n"))
