"""GitHub and Batch, as a pass sees them."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta

from orchestrator.config.profiles import Profile
from orchestrator.errors import UpstreamError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import HookDelivery
from orchestrator.result import Result
from orchestrator.runners.installed import Installed, ListedRepository
from orchestrator.runners.outcome import Outcome, OutcomeResult
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import task_id
from tests.fakes import ManualClock


class FakeUpstream:
    """GitHub and Batch: what the reconciler asks, and what it has done.

    Args:
        clock: moves on by 250 ms when a repository is asked about.

    Attributes:
        jobs: the queued jobs of each repository, which its first call tells.
        look_backs: how far each look went back that might overlook old runs, by the repository.
        etags: what each look was given of the one before, by the repository.
        further_calls: how many more calls a look into a repository takes; none if it is not named.
        order: the repository of each call.
        runners: those of every scope.
        come_late: those that are not in the list yet, and are found by name.
        installed: the App's installations and tokens' organizations, by account.
        lists: the repositories of each account.
        pushed: those that somebody pushed to lately.
        whole_lists: the accounts whose repositories were listed as a whole.
        rule: which accounts may have runners.
        refused: why no job of a repository may have a runner.
        not_started: what becomes of tasks that are to start, and do not.
        users: which of the installations are on users.
        named_runners: the names of runners that were asked for.
        takes: how long a start takes.
        once: raised when this task is to start, the first time.
        errors: raised where this is asked for: a repository, `the end of` one, a scope, a task, `installations`,
            `account rule`, or `refusal` with a repository.
        asked: the repositories asked about, with the installation.
        listed_for: the scopes whose runners were listed.
        done: what was done, as words.
        batch_jobs: in which Batch job each task was ended or deleted.
        asked_slots: the pools whose slots were asked for.
        starting: ids of tasks that start before they can be ended.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.jobs: dict[str, list[WorkflowJobEvent]] = {}
        self.further_calls: dict[str, int] = {}
        self.order: list[str] = []
        self.runners: list[Runner] = []
        self.come_late: list[Runner] = []
        self.installed: Mapping[str, int] = {}
        self.lists: dict[str, list[ListedRepository]] = {}
        self.pushed: dict[str, list[ListedRepository]] = {}
        self.whole_lists: list[str] = []
        self.look_backs: dict[str, timedelta] = {}
        self.etags: dict[str, dict[str, str]] = {}
        self.users: set[str] = set()
        self.named_runners: list[str] = []
        self.takes = timedelta()
        self.once: dict[str, UpstreamError] = {}
        self.rule = AccountRule(None)
        self.refused: dict[str, str] = {}
        self.not_started: dict[str, OutcomeResult] = {}
        self.errors: dict[str, UpstreamError] = {}
        self.asked: list[tuple[str, int | None]] = []
        self.listed_for: list[ScopeAccess] = []
        self.done: list[str] = []
        self.batch_jobs: list[str | None] = []
        self.asked_slots: list[str] = []
        self.starting: set[str] = set()

    def queued(
        self, repository: str, installation: int | None, *, look_back: timedelta | None, etags: MutableMapping[str, str]
    ) -> Iterator[Sequence[WorkflowJobEvent]]:
        """Yield the queued jobs of a repository."""
        self.asked.append((repository, installation))
        if look_back is not None:
            self.look_backs[repository] = look_back
        self.etags[repository] = dict(etags)
        etags["asked"] = repository
        self._clock.advance(timedelta(milliseconds=250))
        self._fail(repository)
        self.order.append(repository)
        yield self.jobs.get(repository, [])
        for _ in range(self.further_calls.get(repository, 0)):
            self.order.append(repository)
            yield []
        self._fail(f"the end of {repository}")

    def installations(self) -> list[Installed]:
        """Return where the App is installed."""
        self._fail("installations")
        return [Installed(number, account, account not in self.users) for account, number in self.installed.items()]

    def all(self, access: ScopeAccess) -> Sequence[ListedRepository]:
        """Return an account's repositories."""
        self.whole_lists.append(access.scope.name)
        self._fail(f"the list of {access.scope.name}")
        return self.lists.get(access.scope.name, [])

    def pushed_since(self, access: ScopeAccess, moment: datetime) -> Sequence[ListedRepository]:
        """Return those of an account that somebody pushed to."""
        pushed = self.pushed.get(access.scope.name, [])
        return [each for each in pushed if each.pushed_at is None or each.pushed_at >= moment]

    def account_rule(self, events: Iterable[WorkflowJobEvent] = ()) -> AccountRule:
        """Return which accounts may have runners."""
        assert all(event.workflow_job.id for event in events)
        self._fail("account rule")
        return self.rule

    def refusal(self, event: WorkflowJobEvent, profile: Profile) -> str | None:
        """Return why a job may have no runner."""
        assert profile.name
        self._fail(f"refusal {event.repository.full_name}")
        return self.refused.get(event.repository.full_name)

    def listed(self, access: ScopeAccess) -> Sequence[Runner]:
        """Return the registered runners."""
        self.listed_for.append(access)
        self._fail(access.scope.name)
        return self.runners

    def named(self, access: ScopeAccess, names: Iterable[str]) -> Sequence[Runner]:
        """Return the runners of these names."""
        self._fail(f"names in {access.scope.name}")
        self.named_runners += names
        return [runner for runner in [*self.runners, *self.come_late] if runner.name in self.named_runners]

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove a runner."""
        assert access
        self.done.append(f"remove {runner_id}")

    def start(self, event: WorkflowJobEvent, profile: Profile, replacement: int = 0) -> Outcome:
        """Start a runner."""
        name = task_id(event.workflow_job, replacement)
        self._clock.advance(self.takes)
        if name in self.once:
            raise self.once.pop(name)
        self._fail(name)
        self.done.append(f"start {name}")
        return Outcome(self.not_started.get(name, Result.CREATED), name, profile)

    def end_waiting(self, pool: str, task_id: str, batch_job: str | None = None) -> bool:
        """End a task, unless it starts before that."""
        self.batch_jobs.append(batch_job)
        assert pool == "batchLinux"
        self.done.append(f"end {task_id}")
        return task_id not in self.starting

    def end(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """End a task that runs."""
        self.batch_jobs.append(batch_job)
        assert pool == "batchLinux"
        self.done.append(f"end running {task_id}")

    def slots_per_node(self, pool: str) -> int:
        """Return how many slots a node has."""
        self._fail(pool)
        self.asked_slots.append(pool)
        return 2

    def delete(self, pool: str, task_id: str, batch_job: str | None = None) -> None:
        """Delete a task."""
        self.batch_jobs.append(batch_job)
        assert pool == "batchLinux"
        self.done.append(f"delete {task_id}")

    def _fail(self, what: str) -> None:
        if what in self.errors:
            raise self.errors[what]


class FakeDeliveries:
    """The deliveries of some webhooks.

    Attributes:
        hooks: the deliveries of each webhook, or what is raised when they are listed.
        errors: what is raised when the delivery of this guid is sent again.
        asked: the webhooks asked about, and back to when.
        sent: which deliveries were sent again.
    """

    def __init__(self, hooks: Mapping[str, Sequence[HookDelivery] | UpstreamError]) -> None:
        self.hooks = hooks
        self.errors: dict[str, UpstreamError] = {}
        self.asked: list[tuple[str, datetime]] = []
        self.sent: list[tuple[str, str]] = []

    def since(self, hook: str, moment: datetime, *, failed: bool = False) -> Iterator[HookDelivery]:
        """List the deliveries of a webhook."""
        if not failed:
            self.asked.append((hook, moment))
        deliveries = self.hooks.get(hook, ())
        if isinstance(deliveries, UpstreamError):
            raise deliveries
        yield from (one for one in deliveries if one.delivered_at >= moment and not (failed and one.succeeded))

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Send one again."""
        if delivery.guid in self.errors:
            raise self.errors[delivery.guid]
        self.sent.append((hook, delivery.guid))
