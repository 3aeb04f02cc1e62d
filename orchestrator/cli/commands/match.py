"""`match`: which profile a job would get."""

import os
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, LocalSettings
from orchestrator.cli.output import ExitCode, say, say_json
from orchestrator.cli.settings_source import settings_without_secrets
from orchestrator.cli.workflow_lint.sources import is_repository
from orchestrator.errors import SettingsError
from orchestrator.jobs.admission import Ignored, profile_of
from orchestrator.jobs.profile_match import Candidate, candidates


def match(
    labels: Annotated[list[str], typer.Argument(metavar="LABEL...", help="The labels of `runs-on`.")],
    *,
    repository: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The job's. Without: one that no profile names.")
    ] = "",
    settings: LocalSettings = None,
    as_json: AsJson = False,
) -> None:
    """Tell which profile a job with these labels would get, and what each other one lacks.

    Ends with 1 if no profile takes the job. The settings may be without secrets.
    """
    if repository and not is_repository(repository):
        raise SettingsError.of("--repository", "is not OWNER/NAME")
    found = settings_without_secrets(settings, os.environ)
    # As they are copied from a workflow: [self-hosted, gpu].
    wanted = tuple(label for text in labels for label in text.strip("[]").replace(",", " ").split())
    chosen = profile_of(wanted, repository, found)
    reason = chosen.reason if isinstance(chosen, Ignored) else None
    profile = None if isinstance(chosen, Ignored) else chosen
    table = candidates(found.profiles, wanted, repository)
    if as_json:
        say_json(
            {
                "profile": profile.name if profile else None,
                "reason": reason,
                "profiles": [_as_json(candidate) for candidate in table],
            }
        )
    else:
        say(f"{profile.name}: pool {profile.pool}, image {profile.image}" if profile else f"No profile: {reason}.")
        width = max(len(candidate.profile.name) for candidate in table)
        for candidate in table:
            if candidate.profile != profile:
                say(f"  {candidate.profile.name:{width}}  {candidate.why_not}")
    raise typer.Exit(ExitCode.DONE if profile else ExitCode.NO)


def _as_json(candidate: Candidate) -> dict[str, object]:
    return {
        "name": candidate.profile.name,
        "takes": candidate.takes,
        "missingLabels": list(candidate.missing_labels),
        "wantsSelfHosted": candidate.wants_self_hosted,
        "repositories": list(candidate.profile.repositories),
        "wrongRepository": candidate.wrong_repository,
    }
