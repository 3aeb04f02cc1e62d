"""The search for queued jobs: which repositories a pass asks about, in which order, and what it learns.

No pass may be able to ask about all of them, because GitHub limits calls by the minute and by the hour. So each
repository has a weight, and the one that has waited longest for its weight is the next. What does not fit comes first
in the next pass. If the jobs of a repository could not be listed, or not all, the other repositories go on, and its
tasks stay. The log says so.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import CallsSpent, GitHubRefused, UpstreamError
from orchestrator.jobs.admission import Admitted, admit, is_allowed
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.reconcile.at_once import AtOnce
from orchestrator.reconcile.findings import Gap
from orchestrator.reconcile.pass_ import Pass
from orchestrator.reconcile.progress import ACTIVE_FOR, Progress, RepositoryProgress
from orchestrator.reconcile.skipped import skipped
from orchestrator.reconcile.time_left import TimeLeft
from orchestrator.result import Result
from orchestrator.runners.installed import Installed, ListedRepository
from orchestrator.runners.scope import Scope, ScopeAccess

log = Log(__name__)

# With so many calls a pass looks into one repository. What is left is looked into by the next passes.
CALLS_PER_REPOSITORY = 60
# After so many refusals in a row (404, 403) a repository no longer keeps tasks of others from being ended as surplus.
# That is an hour with the default period.
REFUSALS_HEEDED = 12
# How much more often a repository is looked into while it has runners, or where a runner has ended without a job
# within the hour; and while it is active.
WEIGHT_WITH_RUNNERS, WEIGHT_ACTIVE = 64, 4
# A repository that comes into view counts as if it had been looked into so long ago.
NEVER_LOOKED_INTO = timedelta(minutes=20)
FAILED_LATELY = timedelta(hours=1)
# With no more repositories than this, all unfinished runs of each are asked for. With more, a look into one without
# runners of ours is a single call, as a rule. It lists the runs since yesterday where the repository is active, and all
# unfinished ones every few hours. Elsewhere it lists all runs that GitHub has not ended, which are few there.
WHOLE_LOOKS = 60
WHOLE_LOOK_EVERY = timedelta(hours=12)
SINCE_YESTERDAY = timedelta(days=1)
# GitHub cancels a run of this age, waiting and approval included. Source: GitHub docs, "Limits in GitHub Actions".
LONGEST_RUN = timedelta(days=35)
# A list of repositories that has more than a page is read as a whole once in this time. A refused one is asked for
# again after it.
LISTED_EVERY = timedelta(hours=1)
ONE_PAGE = 100


class QueuedJobs(Protocol):
    """Asks GitHub for the queued jobs of a repository: `github.workflow_jobs.WorkflowJobs.queued`."""

    def __call__(
        self, repository: str, installation: int | None, *, look_back: timedelta | None, etags: MutableMapping[str, str]
    ) -> Iterator[Sequence[WorkflowJobEvent]]:
        """Yield them, call by call; those of runs that are older than the look goes back may be missing."""


class RepositoryLists(Protocol):
    """What GitHub lists of an account: `github.repositories.Repositories`."""

    def all(self, access: ScopeAccess) -> Sequence[ListedRepository]:
        """Return the repositories that the credentials reach."""

    def pushed_since(self, access: ScopeAccess, moment: datetime) -> Sequence[ListedRepository]:
        """Return those of an organization that somebody pushed to since then."""


class JobBoundary(Protocol):
    """Tells which jobs may have no runner: `runners.boundary.Boundary`."""

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why a job may have no runner of a profile; None if it may."""


@dataclass(frozen=True)
class _Account:
    """Whose repositories are listed.

    Attributes:
        access: the account, as an organization.
        has_pushes: whether GitHub lists its repositories by their last push: an organization's.
    """

    access: ScopeAccess
    has_pushes: bool


@dataclass
class _Look:
    """A repository that a pass looks into.

    Attributes:
        repository: its full name.
        installation: the App's installation, where it is known.
        known_event: a job of it, if one is known.
        look_back: a run that was created longer ago may be overlooked; None to overlook none.
        etags: what an earlier look has kept.
        calls: how many were made.
        found: its queued jobs that may have a runner.
        refused: its jobs that may have no runner, by the reason.
        is_done: whether all its queued jobs are known.
        error: why not, if GitHub said so.
    """

    repository: str
    installation: int | None
    known_event: WorkflowJobEvent | None
    look_back: timedelta | None
    etags: MutableMapping[str, str]
    calls: int = 0
    found: list[WorkflowJobEvent] = field(default_factory=list)
    refused: dict[str, list[WorkflowJobEvent]] = field(default_factory=dict)
    is_done: bool = False
    error: UpstreamError | None = None

    @property
    def was_cut_short(self) -> bool:
        """Whether there were no more calls for it, or no more time."""
        if self.error is not None:
            return isinstance(self.error, CallsSpent)
        return not self.is_done and self.calls <= CALLS_PER_REPOSITORY


class JobSearch:
    """Looks for queued jobs.

    Args:
        settings: the app settings.
        queued_jobs: asks GitHub for queued jobs.
        boundary: tells which jobs may have no runner.
        installations: asks where the GitHub App is installed; None where GitHub is called with a token.
        lists: asks GitHub for the repositories of an account.
        at_once: looks into several repositories at a time.
        time_left: how long to go on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queued_jobs: QueuedJobs,
        boundary: JobBoundary,
        installations: Callable[[], Sequence[Installed]] | None,
        lists: RepositoryLists,
        at_once: AtOnce,
        time_left: TimeLeft,
    ) -> None:
        self._settings = settings
        self._queued_jobs = queued_jobs
        self._boundary = boundary
        self._installations = installations
        self._lists = lists
        self._at_once = at_once
        self._time_left = time_left
        self._refusals: dict[str, int] = {}
        # As GitHub last told.
        self._installed: Sequence[Installed] = ()
        # When the list of an account was last refused.
        self._unlisted: dict[str, datetime] = {}

    def run(self, current: Pass, progress: Progress) -> None:
        """Put the queued jobs into what the pass knows; what fails is reported, and left for the next pass.

        Args:
            current: the pass.
            progress: how far earlier passes have come; it is brought up to date.
        """
        accounts = self._accounts(current, progress)
        for account in accounts.values():
            self._list(account, current, progress)
        for task in current.tasks:
            if task.event is not None:
                progress.of(task.event.repository.full_name).seen(task.created_at)
        self._forget(progress, current.now)
        looks = self._looks(current, progress, accounts)
        self._refusals = {look.repository: self._refusals.get(look.repository, 0) for look in looks}
        self._at_once.each(looks, self._look_into)
        self._conclude(looks, current, progress)

    # Which repositories there are ------------------------------------------------------------------------------------

    def _accounts(self, current: Pass, progress: Progress) -> Mapping[str, _Account]:
        """Return the accounts whose repositories may be listed, by login in lower case."""
        if self._installations is None:
            known = [event.organization.login for event in current.latest_events.values() if event.organization]
            logins = [*progress.listed, *known, *self._settings.allowed_organizations]
            found = [_Account(_access(login, None), has_pushes=True) for login in logins]
        else:
            try:
                self._installed = self._installations()
            except UpstreamError as error:
                skipped(log, error, what="the App's installations")
            found = [_Account(_access(each.account, each.id), each.is_organization) for each in self._installed]
        accounts = {account.access.scope.name.lower(): account for account in found}
        progress.listed = {login: at for login, at in progress.listed.items() if login in accounts}
        return {login: account for login, account in accounts.items() if current.rule.admits(login)}

    def _list(self, account: _Account, current: Pass, progress: Progress) -> None:
        """Bring up to date which repositories an account has, and when somebody pushed to them."""
        login, now = account.access.scope.name.lower(), current.now
        refused_at = self._unlisted.get(login)
        if refused_at is not None and now - refused_at < LISTED_EVERY:
            return
        own = [name for name in progress.repositories if name.partition("/")[0] == login]
        listed_at = progress.listed.get(login)
        is_whole = listed_at is None or len(own) <= ONE_PAGE or now - listed_at >= LISTED_EVERY
        try:
            if is_whole:
                names = {
                    each.full_name.lower()
                    for each in self._lists.all(account.access)
                    if self._take_note(each, progress)
                }
                for name in own:
                    if name not in names and not progress.of(name).is_active(now):
                        del progress.repositories[name]
                progress.listed[login] = now
            elif account.has_pushes:
                for each in self._lists.pushed_since(account.access, now - ACTIVE_FOR):
                    # With an App, GitHub also lists public repositories that the App was not given.
                    if account.access.installation is None or each.full_name.lower() in progress.repositories:
                        self._take_note(each, progress)
        except UpstreamError as error:
            if isinstance(error, GitHubRefused):
                self._unlisted[login] = now
                progress.listed.pop(login, None)
            skipped(log, error, what=f"the repositories of {login}")

    def _take_note(self, listed: ListedRepository, progress: Progress) -> bool:
        """Take note of a listed repository, and return True, unless no job of it may have a runner."""
        is_refused = listed.is_public and not self._settings.allow_public_repositories
        if is_refused or not is_allowed(listed.full_name, self._settings):
            return False
        progress.of(listed.full_name).seen(listed.pushed_at)
        return True

    # In which order --------------------------------------------------------------------------------------------------

    def _looks(self, current: Pass, progress: Progress, accounts: Mapping[str, _Account]) -> list[_Look]:
        """Return the repositories in view, the one that is most overdue first."""
        latest = list(reversed(current.latest_events.items()))  # of two spellings the later job's counts
        known = {name.lower(): event for name, event in latest}
        named = {name: name for name in progress.repositories}
        named |= {name.lower(): name for name in self._settings.reconcile_repositories}
        named |= {name.lower(): name for name, _ in latest}
        live = {
            task.event.repository.full_name.lower()
            for task in current.tasks
            if task.event is not None
            and (
                task.state != "finished"
                or (task.failed and task.ended_at is not None and current.now - task.ended_at < FAILED_LATELY)
            )
        }
        in_view = [name for name in named if current.rule.admits(name.partition("/")[0])]
        for name in in_view:
            _begin(progress.of(name), name, current.now)
        looks = []
        for name in sorted(in_view, key=lambda name: (-_overdue(progress.of(name), name in live, current.now), name)):
            event, account = known.get(name), accounts.get(name.partition("/")[0])
            # What GitHub says now counts before a task's notes: an App that is installed again has a new id.
            installation = (account.access.installation if account else None) or (
                event.installation_id if event else None
            )
            may_be_quick = len(in_view) > WHOLE_LOOKS and name not in live
            look_back = _look_back(progress.of(name), current.now) if may_be_quick else None
            looks.append(_Look(named[name], installation, event, look_back, progress.of(name).etags))
        return looks

    def _forget(self, progress: Progress, now: datetime) -> None:
        """Forget the repositories that no list names, when their last sign of activity is a day old."""
        named = {name.lower() for name in self._settings.reconcile_repositories}
        progress.repositories = {
            name: known
            for name, known in progress.repositories.items()
            if known.is_active(now) or name in named or name.partition("/")[0] in progress.listed
        }

    # One repository --------------------------------------------------------------------------------------------------

    def _look_into(self, look: _Look) -> None:
        """Look into a repository, if there is time; several are looked into at once."""
        events = self._queued_jobs(look.repository, look.installation, look_back=look.look_back, etags=look.etags)
        try:
            while not self._time_left.is_over:
                found = next(events, None)
                if found is None:
                    look.is_done = True
                    return
                look.found += self._admitted(look, found)
                look.calls += 1
                if look.calls > CALLS_PER_REPOSITORY:
                    return
        except UpstreamError as error:
            look.error = error

    def _admitted(self, look: _Look, events: Iterable[WorkflowJobEvent]) -> Iterator[WorkflowJobEvent]:
        """Leave out the jobs that may have no runner, and take note why."""
        for event in events:
            admission = admit(event, self._settings)
            refusal = self._boundary.refusal(event, admission.profile) if isinstance(admission, Admitted) else None
            if refusal is None:
                yield event
            else:
                look.refused.setdefault(refusal, []).append(event)

    # What was learned ------------------------------------------------------------------------------------------------

    def _conclude(self, looks: Sequence[_Look], current: Pass, progress: Progress) -> None:
        left = [look for look in looks if not self._conclude_one(look, current, progress)]
        if left:
            reason = str(next((look.error for look in left if look.error is not None), "its time is over"))
            what = f"{len(left)} of {len(looks)} repositories"
            skipped(log, reason, level=logging.INFO, what=what)
            current.gaps.append(Gap(what=what, skipped=False, reason=reason))

    def _conclude_one(self, look: _Look, current: Pass, progress: Progress) -> bool:
        """Take note of what a look has led to; return False if it is left for the next pass."""
        for event in look.found:
            current.add_job(event)
        self._report_refused(look, current)
        known = progress.of(look.repository)
        if look.found:
            known.seen(current.now)
        if look.was_cut_short:
            if look.known_event is not None or look.calls:
                current.leave_open(look.repository, look.known_event, str(look.error or "its time is over"))
            return False
        known.looked_at = current.now
        if look.is_done:
            self._refusals[look.repository] = 0
            if look.look_back != SINCE_YESTERDAY:
                known.searched_at = current.now
        elif isinstance(look.error, GitHubRefused):
            self._refused(look, look.error, current)
        elif look.error is not None:
            _leave_open(look, current, str(look.error))
        else:
            _leave_open(look, current, f"it takes more than {CALLS_PER_REPOSITORY} calls; the next pass goes on")
        return True

    def _report_refused(self, look: _Look, current: Pass) -> None:
        """Take note of the jobs that may have no runner, and report them."""
        for reason, refused in look.refused.items():
            for event in refused:
                current.refuse(event, reason)
            log(
                logging.WARNING,
                Line.NOT_ADMITTED,
                result=Result.REFUSED,
                repository=look.repository,
                jobs=len(refused),
                reason=reason,
            )

    def _refused(self, look: _Look, error: GitHubRefused, current: Pass) -> None:
        """Take note of a refusal. It may be for good: the repository is gone, or the credentials do not reach it."""
        count = self._refusals.get(look.repository, 0) + 1
        self._refusals[look.repository] = count
        if count < REFUSALS_HEEDED:
            _leave_open(look, current, str(error))
            return
        if count == REFUSALS_HEEDED:
            reason = f"{error}; after {count} refusals it holds up no other repository any more"
            skipped(log, reason, repository=look.repository)
        current.leave_open(look.repository, look.known_event, str(error), may_need_others=False)


def _leave_open(look: _Look, current: Pass, reason: str) -> None:
    skipped(log, reason, repository=look.repository)
    current.leave_open(look.repository, look.known_event, reason)


def _overdue(known: RepositoryProgress, has_runners: bool, now: datetime) -> float:
    """Return how urgent a look is."""
    waited = now - (known.looked_at or now)
    weight = WEIGHT_WITH_RUNNERS if has_runners else WEIGHT_ACTIVE if known.is_active(now) else 1
    return waited.total_seconds() * weight


def _begin(known: RepositoryProgress, name: str, now: datetime) -> None:
    """Let a repository that was never looked into wait from now on; its first whole look comes at a time of its own."""
    if known.looked_at is None:
        known.looked_at = now - NEVER_LOOKED_INTO
        known.searched_at = now - WHOLE_LOOK_EVERY * (zlib.crc32(name.encode()) / 2**32)


def _look_back(known: RepositoryProgress, now: datetime) -> timedelta | None:
    """Return how far a single call goes back; None where all unfinished runs are due."""
    if not known.is_active(now):
        return LONGEST_RUN
    is_due = known.searched_at is None or now - known.searched_at >= WHOLE_LOOK_EVERY
    return None if is_due else SINCE_YESTERDAY


def _access(login: str, installation: int | None) -> ScopeAccess:
    return ScopeAccess(Scope("organization", login), installation)
