"""One look at the whole set-up: which questions there are, by the settings, and in which order they are asked.

Two rounds. The first asks what exists: the App, its installations, recent jobs. The second asks the rest, because the
first tells where runners register and which webhook leads here.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

from orchestrator.clock import Clock
from orchestrator.config.allowed_sources import Network
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused
from orchestrator.explain.facts import PoolFacts
from orchestrator.health import conclusions
from orchestrator.health.facts import AppFacts, HookFacts, InstallationFacts, QueueFacts, Target, TokenFacts
from orchestrator.health.finding import Document, Finding, document, not_asked, ok
from orchestrator.health.questions import Question, Questions
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import HookDelivery
from orchestrator.runners.installed import Installed
from orchestrator.runners.known_scopes import known_scopes
from orchestrator.runners.remembered import Remembered
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.version_dates import VersionDates
from orchestrator.runtime import MakeLock

# How long a report is given to others who ask.
KEPT_FOR = timedelta(minutes=1)
# How long each of the two rounds waits for its answers.
FIRST_ROUND = timedelta(seconds=4)
SECOND_ROUND = timedelta(seconds=5)
# How far back deliveries are looked at.
DELIVERIES_OF = timedelta(days=1)
# Scopes that are asked about.
MOST_SCOPES = 5

_NO_SCOPE = "name one: AllowedOrganizations, or ReconcileRepositories; or wait for the first job"
_MAY_READ = "give the credential the rights of the README's table"


class GitHub(Protocol):
    """GitHub's word on the set-up."""

    def token(self) -> TokenFacts:
        """Return what GitHub says of the token."""

    def app(self) -> AppFacts:
        """Return what GitHub says of the App."""

    def installations(self) -> Sequence[InstallationFacts]:
        """Return where the App is installed."""

    def hooks(self, access: ScopeAccess | None) -> Sequence[HookFacts]:
        """Return the webhooks of a scope; the App's own for None."""

    def deliveries(self, hook: str, age: timedelta) -> Sequence[HookDelivery]:
        """Return a webhook's latest deliveries, newest first."""

    def runners(self, access: ScopeAccess) -> int:
        """Return how many runners a scope has."""


@dataclass(frozen=True)
class Ports:
    """What can be asked. Each raises UpstreamError where there is no answer.

    Attributes:
        github: GitHub's word on the set-up.
        version: until when GitHub takes a version of the runner.
        hook_ranges: where GitHub's webhooks come from.
        account_rule: which accounts' jobs may have runners.
        recent: recent jobs, as the tasks on Batch tell.
        pool: what Batch says of a pool; None if there is none.
        queue: what the queues hold.
        trouble: why a host cannot be reached.
    """

    github: GitHub
    version: Callable[[ScopeAccess, str], VersionDates]
    hook_ranges: Callable[[], Iterable[Network]]
    account_rule: Callable[[], AccountRule]
    recent: Callable[[], Iterable[WorkflowJobEvent]]
    pool: Callable[[str], PoolFacts | None]
    queue: Callable[[], QueueFacts]
    trouble: Callable[[str], str | None]


class LastCheck(NamedTuple):
    """The latest look at the set-up.

    Attributes:
        at: when it was.
        findings: what it found.
    """

    at: datetime
    findings: Sequence[Finding]


@dataclass
class _Known:
    """What the first round found."""

    installed: list[Installed] = field(default_factory=list)
    events: list[WorkflowJobEvent] = field(default_factory=list)


class CheckUp:
    """Looks at the set-up. Safe under threads: one looks while others who ask wait for the same.

    Args:
        settings: the app settings.
        ports: what can be asked.
        targets: the hosts that must be reachable.
        questions: asks side by side.
        clock: the time.
        lock: makes a lock.

    Attributes:
        last: the latest look; None before the first.
    """

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        targets: Sequence[Target],
        *,
        questions: Questions,
        clock: Clock,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._targets = targets
        self._questions = questions
        self._clock = clock
        self._is_app = settings.github_credential == "app"
        self._known = Remembered[None, Sequence[Finding]](lambda _: self._look(), clock, lock=lock)
        self.last: LastCheck | None = None

    def report(self, *, full: bool) -> Document:
        """Return what was found, a minute old at most.

        Args:
            full: whether the lines are shown that are ok.
        """
        return document(self._known.get(None, KEPT_FOR), full=full)

    def _look(self) -> Sequence[Finding]:
        known = _Known()
        first = self._questions.ask(list(self._of_first_round(known)), FIRST_ROUND)
        scopes = known_scopes(self._settings, known.events, known.installed)[:MOST_SCOPES]
        second = self._questions.ask(list(self._of_second_round(scopes)), SECOND_ROUND)
        none = [] if scopes else [not_asked("scope", "it is not known where runners register", _NO_SCOPE)]
        findings = [*conclusions.settings_lines(self._settings), *first, *none, *second]
        self.last = LastCheck(self._clock(), findings)
        return findings

    def _of_first_round(self, known: _Known) -> Iterator[Question]:
        github, settings = self._ports.github, self._settings

        def installations() -> Iterator[Finding]:
            found, rule = github.installations(), self._ports.account_rule()
            usable = [one.installed for one in found if one.installed.account and not one.suspended]
            known.installed += [one for one in usable if rule.admits(one.account)]
            yield from conclusions.installation_lines(settings, found, rule)

        def recent() -> Iterator[Finding]:
            known.events += self._ports.recent()
            yield ok("Batch", "it answers, and its tasks can be listed")

        if self._is_app:
            cure = "correct GithubAppId and GithubAppPrivateKey"
            yield Question("credential", lambda: conclusions.app_lines(settings, github.app()), cure)
            yield Question("installations", installations, cure)
        else:
            yield Question(
                "credential",
                lambda: conclusions.token_lines(settings, github.token(), self._clock()),
                "make a new token: GithubToken",
            )
        cure = "give the identity Azure Batch Job Submitter on the account, or correct BatchAccountKey"
        yield Question("Batch", recent, cure)

    def _of_second_round(self, scopes: Sequence[ScopeAccess]) -> Iterator[Question]:
        ports, settings = self._ports, self._settings
        for access in scopes:
            yield Question(f"runners of {access.scope}", partial(self._runners, access), _MAY_READ)
        yield from self._about_hooks(scopes)
        if settings.allowed_sources.github:
            yield Question(
                "hook ranges",
                lambda: conclusions.hook_range_lines(settings, ports.hook_ranges()),
                "name CIDRs in AllowedSources where GitHub publishes no ranges",
            )
        for pool in dict.fromkeys(profile.pool for profile in settings.profiles):
            yield Question(f"pool {pool}", partial(self._pool, pool), "give the identity a role on the account")
        for version in dict.fromkeys(profile.runner_version for profile in settings.profiles) if scopes else ():
            yield Question(f"runner {version}", partial(self._version, version, scopes))
        cure = "give the function's identity Storage Queue Data Contributor on the storage account"
        yield Question("queue", lambda: conclusions.queue_lines(ports.queue()), cure)
        for target in self._targets:
            yield Question(f"reach {target.url}", partial(self._reach, target))

    def _about_hooks(self, scopes: Sequence[ScopeAccess]) -> Iterator[Question]:
        cure = "give the token admin:org_hook (admin:repo_hook), or look at the webhook yourself"
        if self._is_app:
            yield Question("webhook of the App", partial(self._hooks, "the App", None), cure, needed=False)
            return
        for access in scopes:
            if access.scope.kind != "enterprise":
                ask = partial(self._hooks, str(access.scope), access)
                yield Question(f"webhook of {access.scope}", ask, cure, needed=False)

    def _hooks(self, where: str, access: ScopeAccess | None) -> Iterator[Finding]:
        found = self._ports.github.hooks(access)
        own = [hook for hook in found if access is None or hook.route.lower().startswith(conclusions.ROUTE.lower())]
        yield from conclusions.hook_lines(where, own)
        for hook in own:
            deliveries = self._ports.github.deliveries(hook.path, DELIVERIES_OF)
            yield from conclusions.delivery_lines(where, deliveries)

    def _runners(self, access: ScopeAccess) -> Iterator[Finding]:
        yield ok(f"runners of {access.scope}", f"they can be read: {self._ports.github.runners(access)}")

    def _pool(self, pool: str) -> Iterator[Finding]:
        profiles = [profile for profile in self._settings.profiles if profile.pool == pool]
        yield from conclusions.pool_lines(pool, self._ports.pool(pool), profiles)

    def _version(self, version: str, scopes: Sequence[ScopeAccess]) -> Iterator[Finding]:
        refusal = ""
        for access in scopes:
            try:
                dates = self._ports.version(access, version)
            except GitHubRefused as error:
                refusal = str(error)
                continue
            yield from conclusions.version_lines(version, dates, self._clock())
            return
        yield conclusions.version_not_told(version, refusal)

    def _reach(self, target: Target) -> Iterator[Finding]:
        yield from conclusions.reach_lines(target, self._ports.trouble(target.url))
