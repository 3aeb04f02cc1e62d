"""Whoever could use the runners although the settings do not admit them is reported, once a day.

Two doors are open that the function cannot close itself. Somebody may have installed the GitHub App on an account that
the settings do not name. And a runner group may admit repositories that the settings refuse: their jobs stay queued at
GitHub, and take runners that were started for others.
"""

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.config.advice import covers, is_named
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.reconcile.skipped import skipped
from orchestrator.result import Result
from orchestrator.runners.installed import Installed
from orchestrator.runners.runner_group import RunnerGroup, described, group_named
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope
from orchestrator.runners.task import TaskState, events_of

log = Log(__name__)

# How often the same is reported.
REPORTED_EVERY = timedelta(days=1)

_THEIR_JOBS = ": their jobs may take any runner of it"

# Asks GitHub where the App is installed.
type AskInstallations = Callable[[], Sequence[Installed]]
# Asks GitHub which repositories were chosen for a runner group, by their full names.
type AskRepositories = Callable[[ScopeAccess, RunnerGroup], Sequence[str]]


class Rules(Protocol):
    """What GitHub was asked about accounts and groups: `runners.boundary.Boundary`."""

    def account_rule(self, events: Iterable[WorkflowJobEvent] = ()) -> AccountRule:
        """Return which accounts' jobs may have runners."""

    def groups(self, access: ScopeAccess) -> Sequence[RunnerGroup] | None:
        """Return an organization's runner groups; None if the credentials may not ask."""


class BoundaryWatch:
    """Looks at each installation and each organization in the process's first pass, and then once a day.

    Args:
        settings: the app settings.
        rules: tells which accounts are admitted, and the groups of an organization.
        installations: lists the App's installations; none where GitHub is called with a token.
        repositories: lists the repositories of a group.
    """

    def __init__(
        self, settings: Settings, rules: Rules, installations: AskInstallations, repositories: AskRepositories
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._installations = installations
        self._repositories = repositories
        self._looked_at: dict[Hashable, datetime] = {}

    def run(self, tasks: Iterable[TaskState], now: datetime) -> None:
        """Report what is due; what cannot be asked is left for the next pass.

        Args:
            tasks: recent ones: they name organizations that have runners.
            now: the time.
        """
        with about(**{"pass": "boundary"}):
            events = list(events_of(tasks))
            try:
                rule = self._rules.account_rule(events)
            except UpstreamError as error:
                skipped(log, error)
                return
            self._once_a_day("installations", now, lambda: self._look_at_installations(rule, now))
            for event in events:
                if rule.refusal(event) is None:
                    access = ScopeAccess(runner_scope(event, self._settings), event.installation_id)
                    self._look_at_groups_of(access, now)

    def _once_a_day(self, what: Hashable, now: datetime, look: Callable[[], None]) -> None:
        looked_at = self._looked_at.get(what)
        if looked_at is not None and now - looked_at < REPORTED_EVERY:
            return
        try:
            look()
        except UpstreamError as error:
            skipped(log, error, what=str(what))
        else:
            self._looked_at[what] = now

    def _look_at_installations(self, rule: AccountRule, now: datetime) -> None:
        for installation in self._installations():
            if not rule.admits(installation.account):
                _report(installation, rule)
            elif installation.is_organization and self._settings.runner_scope == "organization":
                access = ScopeAccess(Scope("organization", installation.account), installation.id)
                self._look_at_groups_of(access, now)

    def _look_at_groups_of(self, access: ScopeAccess, now: datetime) -> None:
        if access.scope.kind == "organization":
            self._once_a_day(access.scope, now, lambda: self._look_at_groups(access))

    def _look_at_groups(self, access: ScopeAccess) -> None:
        groups = self._rules.groups(access)
        if groups is None:
            return
        messages: list[str] = []
        for name in dict.fromkeys(profile.runner_group for profile in self._settings.profiles):
            problems = self._problems(name, group_named(groups, name), access)
            messages += (f"{described(name, access.scope)} {problem}" for problem in problems)
        for message in messages:  # when all of them are known: what cannot be asked now is asked again by the next pass
            log(logging.WARNING, Line.RUNNER_GROUP, message=message)

    def _problems(self, name: str | None, group: RunnerGroup | None, access: ScopeAccess) -> Iterator[str]:
        """Yield what makes a group another boundary than the settings; each continues a sentence about the group."""
        if group is None:
            yield "does not exist: no runner can register in it"
            return
        if group.admits_public and not self._settings.allow_public_repositories:
            yield f"admits public repositories, which AllowPublicRepositories refuses{_THEIR_JOBS}"
        own = [profile.repositories for profile in self._settings.profiles if profile.runner_group == name]
        for rules, what in (
            ([self._settings.allowed_repositories], "AllowedRepositories does not name"),
            (own, "its profile does not serve (repositories)"),
        ):
            narrow = [globs for globs in rules if globs and not covers(globs, access.scope.name)]
            example = self._admitted_beyond(narrow, group, access) if narrow else None
            if example is not None:
                yield f"admits repositories that {what}{example}{_THEIR_JOBS}"
        if group.restricted_to_workflows:
            yield "admits chosen workflows only: a runner that is started for a job of another one gets no job"

    def _admitted_beyond(self, rules: Iterable[Sequence[str]], group: RunnerGroup, access: ScopeAccess) -> str | None:
        """Return an example of what a group admits beyond any of these rules, empty if that is all; None if nothing."""
        if group.visibility != "selected":
            return "" if group.visibility in ("all", "private") else None
        try:
            chosen = self._repositories(access, group)
        except GitHubRefused as error:
            return f", perhaps (GitHub does not say which it admits: {error})"
        beyond = [name for name in chosen for globs in rules if not is_named(globs, name)]
        return f", such as {beyond[0]}" if beyond else None


def _report(installation: Installed, rule: AccountRule) -> None:
    about_it = {"installation": installation.id, "account": installation.account}
    if rule.enterprise is None:
        reason = (
            f"the GitHub App is installed on the account {installation.account}, which {rule.otherwise}: its jobs are "
            "refused. Uninstall the App there and make it private, or name the account in AllowedOrganizations"
        )
        log(logging.CRITICAL, Line.INSTALLATION, result=Result.REFUSED, **about_it, reason=reason)
        return
    reason = f"no delivery has told yet to which enterprise the account {installation.account} belongs"
    log(logging.INFO, Line.INSTALLATION, result=Result.SKIPPED, **about_it, reason=reason)
