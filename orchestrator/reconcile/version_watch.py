"""A runner that GitHub will soon refuse is reported, once a day: images do not update themselves.

GitHub tells its dates to whoever may read the runners of a scope. Those of a version are the same in every scope.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.reconcile.skipped import skipped
from orchestrator.result import Result
from orchestrator.runners.installed import Installed
from orchestrator.runners.known_scopes import known_scopes
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState, events_of
from orchestrator.runners.version_dates import VersionDates

log = Log(__name__)

# How often GitHub is asked about a version.
ASKED_EVERY = timedelta(days=1)
# Scopes that one question is put to, where the first ones refuse it.
MOST_SCOPES = 3

# Asks GitHub for the dates of a version.
type AskDates = Callable[[ScopeAccess, str], VersionDates]


class VersionWatch:
    """Looks at each version that a profile names in the process's first pass, and then once a day.

    Args:
        settings: the app settings.
        ask_dates: asks GitHub.
        installations: lists the App's installations; none where GitHub is called with a token.
    """

    def __init__(
        self, settings: Settings, ask_dates: AskDates, installations: Callable[[], Sequence[Installed]]
    ) -> None:
        self._settings = settings
        self._ask_dates = ask_dates
        self._installations = installations
        self._asked_at: dict[str, datetime] = {}

    def run(self, tasks: Iterable[TaskState], now: datetime) -> None:
        """Report what is due; what cannot be asked is left for the next pass, and what may not be for the next day.

        Args:
            tasks: recent ones: they name scopes that have runners.
            now: the time.
        """
        due = [version for version in self._versions() if not self._was_asked(version, now)]
        if not due:
            return
        with about(**{"pass": "runner version"}):
            try:
                scopes = self._scopes(tasks)
                for version in due if scopes else ():
                    self._look(version, scopes, now)
                    self._asked_at[version] = now
            except UpstreamError as error:
                skipped(log, error)

    def _versions(self) -> Iterable[str]:
        return dict.fromkeys(profile.runner_version for profile in self._settings.profiles)

    def _was_asked(self, version: str, now: datetime) -> bool:
        asked_at = self._asked_at.get(version)
        return asked_at is not None and now - asked_at < ASKED_EVERY

    def _scopes(self, tasks: Iterable[TaskState]) -> Sequence[ScopeAccess]:
        known = known_scopes(self._settings, events_of(tasks), ())
        return known or known_scopes(self._settings, (), self._installations())

    def _look(self, version: str, scopes: Sequence[ScopeAccess], now: datetime) -> None:
        refusal = ""
        for access in scopes[:MOST_SCOPES]:
            try:
                dates = self._ask_dates(access, version)
            except GitHubRefused as error:
                refusal = str(error)
                continue
            urgency = dates.urgency(now)
            if urgency != "none":
                level = logging.CRITICAL if urgency == "now" else logging.WARNING
                reason = f"{dates.sentence(now)}: build newer images, import them, and record their RunnerVersion"
                log(level, Line.RUNNER_VERSION, result=Result.EXPIRES, version=version, reason=reason)
            return
        skipped(log, refusal, level=logging.INFO, version=version)
