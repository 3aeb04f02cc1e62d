"""`lint`: which jobs of workflows find no runner."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import LocalSettings
from orchestrator.cli.output import ExitCode, say, say_json
from orchestrator.cli.settings_source import settings_with_secrets, settings_without_secrets
from orchestrator.cli.workflow_lint import report as shown
from orchestrator.cli.workflow_lint.finding import OF_FILES, Severity
from orchestrator.cli.workflow_lint.linter import Report
from orchestrator.cli.workflow_lint.linter import lint as look_at
from orchestrator.cli.workflow_lint.rules import Home
from orchestrator.cli.workflow_lint.sources import WORKFLOWS, GitHubFiles, LocalFiles, is_repository
from orchestrator.errors import SettingsError
from orchestrator.github.client import GitHubClient
from orchestrator.github.contents import Contents
from orchestrator.github.session import GitHubSession
from orchestrator.runtime import Runtime
from orchestrator.upstream import github_credential


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def lint(
    where: Annotated[
        str,
        typer.Argument(metavar="PATH|OWNER/REPO", help="A folder or a workflow; or a repository's default branch."),
    ],
    *,
    settings: LocalSettings = None,
    repository: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", envvar="GITHUB_REPOSITORY", help="With PATH: whose workflows they are."),
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="With --repository: it is public.")] = False,
    output: Annotated[Format, typer.Option("--format", help="github: annotations in a workflow's run.")] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings and notices count as errors.")] = False,
) -> None:
    """Tell which jobs of workflows find no runner here, are refused, or ask for what the runners cannot do.

    Ends with 1 if there is an error, and with 2 if GitHub itself could not use one of the files. With PATH nobody is
    called, and the settings may be without secrets. With OWNER/REPO the workflows are read with the function's
    credential.
    """
    if repository and not is_repository(repository):
        raise SettingsError.of("--repository", "is not OWNER/NAME")
    if public and not repository:
        raise SettingsError.of("--public", "needs --repository")
    if Path(where).exists() or not is_repository(where):
        files = LocalFiles(Path(where))
        found = settings_without_secrets(settings, os.environ)
        report = look_at(files.paths, files, found, Home(repository, is_public=public))
    else:
        report = _of_repository(where, settings)
    match Format.JSON if as_json else output:
        case Format.JSON:
            say_json(shown.document(report))
        case Format.GITHUB:
            if report.findings:
                say(shown.annotations(report))
        case _:
            say(shown.text(report))
    raise typer.Exit(code_of(report, strict=strict))


def code_of(report: Report, *, strict: bool) -> ExitCode:
    """Return how the command ends on a report.

    Args:
        report: what was found.
        strict: whether every finding counts.
    """
    if any(finding.remark.code in OF_FILES and finding.severity is Severity.ERROR for finding in report.findings):
        return ExitCode.USAGE
    least = Severity.NOTICE if strict else Severity.ERROR
    return ExitCode.NO if any(finding.severity >= least for finding in report.findings) else ExitCode.DONE


def _of_repository(name: str, file: Path | None) -> Report:
    found, runtime = settings_with_secrets(file, os.environ), Runtime()
    client = GitHubClient(found.github_api_url, runtime.clock, lock=runtime.lock, egress=found.egress)
    contents = Contents(GitHubSession(client, github_credential(found, client, runtime), lock=runtime.lock))
    repository = contents.repository(name)
    sizes = contents.folder(repository.full_name, WORKFLOWS)
    files = GitHubFiles(repository.full_name, sizes, contents.file)
    if not files.paths:
        reason = f"has no workflow in {WORKFLOWS} of its default branch, or the credential may not read files"
        raise SettingsError.of(name, reason)
    return look_at(files.paths, files, found, Home(repository.full_name, is_public=repository.is_public))
