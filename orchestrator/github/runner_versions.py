"""Until when GitHub takes a version of the runner.

Source: GitHub REST API, "Self-hosted runners": `GET …/actions/runners/deprecations/{version}`, for repositories,
organizations and enterprises. GitHub answers 404 for a version that it does not know, and an Enterprise Server for all.
"""

from datetime import datetime
from typing import Any

from orchestrator.clock import moment_of
from orchestrator.github.client import expecting, text
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.version_dates import VersionDates


class RunnerVersions:
    """Asks for the dates of versions.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def dates(self, access: ScopeAccess, version: str) -> VersionDates:
        """Return GitHub's dates for a version.

        Args:
            access: a scope whose runners the credentials may read.
            version: the runner's.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        path = f"{access.scope.api_path}/actions/runners/deprecations/{version}"
        response = self._session.call("GET", path, access)
        with expecting("GitHub's answer holds no dates of a runner's version"):
            body = response.json
            text(body["runner_version"])
            return VersionDates(
                version, _moment(body.get("registration_deprecates_at")), _moment(body.get("runtime_deprecates_at"))
            )


def _moment(value: Any) -> datetime | None:
    return None if value is None else moment_of(value)
