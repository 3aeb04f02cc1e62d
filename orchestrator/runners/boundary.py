"""Whether a job may have a runner here, as far as GitHub must be asked about it.

What the settings say alone is decided before, in `orchestrator.jobs.admission`. Two questions remain. Without
`AllowedOrganizations` a GitHub App serves its owner's jobs only, so GitHub is asked who that is. And GitHub gives a
runner of an organization only to repositories that its runner group admits, so a runner for another one would idle.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from http import HTTPStatus

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused
from orchestrator.jobs.accounts import AccountRule, AppOwner, accounts_of
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.runners.remembered import Remembered
from orchestrator.runners.runner_group import RunnerGroup, group_refusal
from orchestrator.runners.scope import ScopeAccess, runner_scope
from orchestrator.runtime import MakeLock

log = Log(__name__)

# How long GitHub's answers are used.
OWNER_KEPT_FOR = timedelta(days=1)
GROUPS_KEPT_FOR = timedelta(hours=1)
# Nothing is refused by an older answer than this: the account may have another name by now, or the group other rules.
REFUSED_BY_ANSWERS_OF = timedelta(minutes=5)

# Asks GitHub who owns the App.
type AskOwner = Callable[[], AppOwner]
# Asks GitHub for an organization's runner groups: those visible to a repository, by its name; None for all groups.
type AskGroups = Callable[[ScopeAccess, str | None], Sequence[RunnerGroup]]


class Boundary:
    """Tells which jobs may have no runner. Safe under threads.

    Args:
        settings: the app settings.
        ask_owner: asks who owns the GitHub App; None where GitHub is called with a token.
        ask_groups: asks for runner groups.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ask_owner: AskOwner | None,
        ask_groups: AskGroups,
        clock: Clock,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._settings = settings
        self._owner = (
            None
            if ask_owner is None or settings.allowed_organizations
            else Remembered[None, AppOwner](lambda _: ask_owner(), clock, lock=lock)
        )
        self._ask_groups = ask_groups
        self._groups = Remembered[tuple[ScopeAccess, str | None], Sequence[RunnerGroup] | None](
            lambda key: self._groups_or_none(*key), clock, lock=lock
        )
        # Accounts that are known to belong to the enterprise that owns the App, in lower case.
        self._members: frozenset[str] = frozenset()
        self._said: set[str] = set()

    def account_rule(
        self, events: Iterable[WorkflowJobEvent] = (), *, most_age: timedelta = OWNER_KEPT_FOR
    ) -> AccountRule:
        """Return which accounts' jobs may have runners.

        Where an enterprise owns the App, an account is known to belong to it once a delivery has said so.

        Args:
            events: jobs, which may tell to which enterprise their accounts belong.
            most_age: of the answer who owns the App.

        Raises:
            UpstreamError: GitHub does not say who owns the App.
        """
        if self._owner is None:
            return AccountRule.of_settings(self._settings)
        owner = self._owner.get(None, most_age)
        if owner.kind == "enterprise":
            for event in events:
                self._learn(event, owner.name.lower())
        return AccountRule.of_owner(owner, self._members)

    def account_refusal(self, event: WorkflowJobEvent) -> str | None:
        """Return why the job's account may have no runners; None if it may.

        Raises:
            UpstreamError: GitHub does not say who owns the App.
        """
        refusal = self.account_rule([event]).refusal(event)
        return refusal and self.account_rule(most_age=REFUSED_BY_ANSWERS_OF).refusal(event)

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why a job may have no runner of a profile; None if it may.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        return self.account_refusal(event) or self.group_refusal(event, profile)

    def group_refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why GitHub would give a job no runner of a profile's group; None if it would.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        scope = runner_scope(event, self._settings)
        if scope.kind != "organization":
            self._say_once(logging.INFO, f"no runner group is asked: the runners' scope is the {scope.kind}")
            return None
        access, repository = ScopeAccess(scope, event.installation_id), event.repository
        for most_age in (GROUPS_KEPT_FOR, REFUSED_BY_ANSWERS_OF):
            visible = self.groups(access, repository.name, most_age=most_age)
            refusal = None if visible is None else group_refusal(visible, profile.runner_group, repository, scope)
            if refusal is None:
                return None
        return refusal

    def groups(
        self, access: ScopeAccess, repository: str | None = None, *, most_age: timedelta = GROUPS_KEPT_FOR
    ) -> Sequence[RunnerGroup] | None:
        """Return an organization's runner groups; None if the credentials may not ask, which is logged once.

        Args:
            access: the organization.
            repository: the name of a repository that they must be visible to.
            most_age: of the answer.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        return self._groups.get((access, repository), most_age)

    def _groups_or_none(self, access: ScopeAccess, repository: str | None) -> Sequence[RunnerGroup] | None:
        try:
            return self._ask_groups(access, repository)
        except GitHubRefused as error:
            if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                raise
            message = f"whether the runner groups of {access.scope} admit a repository cannot be asked"
            self._say_once(logging.WARNING, message, reason=str(error))
            return None

    def _say_once(self, level: int, message: str, **more: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log(level, Line.RUNNER_GROUP, message=message, **more)

    def _learn(self, event: WorkflowJobEvent, slug: str) -> None:
        """Take note of whether the job's accounts belong to the enterprise of this slug, if the job says so."""
        if event.enterprise is not None:
            accounts = {account.lower() for account in accounts_of(event)}
            belong = event.enterprise.slug.lower() == slug
            self._members = self._members | accounts if belong else self._members - accounts
