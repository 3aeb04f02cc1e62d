"""Redelivery of failed webhook deliveries: GitHub does not redeliver by itself.

GitHub lists every attempt under the event's guid, so the list itself says whether an attempt has succeeded since, how
many there were, and when. A pass reads what came since the last one, and keeps the attempts of the events that failed.
The first pass of all reads as far back as it may. To send an event again that was delivered after all does no harm.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.jobs.event import ACTIONS, EVENT
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.reconcile.progress import HookProgress, Progress
from orchestrator.reconcile.skipped import skipped
from orchestrator.result import Result
from orchestrator.runners.task import TaskState, events_of

log = Log(__name__)

# How long after the first, second and third failed attempt the next one is made. There is no fifth attempt.
PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
# How far back failed deliveries are looked for.
LOOK_BACK = timedelta(hours=6)
# So much of what was read is read again: an attempt may be listed when GitHub has given it up, by the time it was made.
READ_AGAIN = timedelta(minutes=5)
# How many deliveries one pass sends again, over all webhooks.
REDELIVERIES_PER_PASS = 50
# Of so many webhooks of repositories one pass asks for the deliveries, as a rule by one call each. That is a tenth of a
# pass's share of GitHub's calls.
REPOSITORY_HOOKS_PER_PASS = 30
# A webhook that is gone is not asked for again within this time; tasks name it for a day.
GONE_FOR = timedelta(hours=1)


class Deliveries(Protocol):
    """The deliveries of webhooks, as GitHub keeps them."""

    def since(self, hook: str, moment: datetime, *, failed: bool = False) -> Iterator[HookDelivery]:
        """List those of one webhook, newest first, back to a moment: all, or those that were answered with an error."""

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Send one again."""


def due(deliveries: Iterable[HookDelivery], now: datetime) -> Sequence[HookDelivery]:
    """Return which attempts to repeat now, the oldest first, but refused ones last.

    Most refused deliveries (of a public repository, for example) are refused again. They must not use up what one pass
    may send.

    Args:
        deliveries: every attempt of the last hours.
        now: the time.
    """
    repeated: list[HookDelivery] = []
    for attempts in _unsuccessful(deliveries):
        # If the first attempt is not in the list, other attempts may be missing too, and cannot be counted.
        first_is_missing = all(attempt.again for attempt in attempts)
        if first_is_missing or len(attempts) > len(PAUSES):
            continue
        last = max(attempts, key=lambda attempt: (attempt.delivered_at, attempt.id))
        if now - last.delivered_at >= PAUSES[len(attempts) - 1]:
            repeated.append(last)
    repeated.sort(key=lambda attempt: (attempt.refused, attempt.delivered_at, attempt.id))
    return repeated[:REDELIVERIES_PER_PASS]


def _unsuccessful(deliveries: Iterable[HookDelivery]) -> list[list[HookDelivery]]:
    """Return the attempts of each event that is for us and was not delivered."""
    attempts_of: dict[str, list[HookDelivery]] = {}
    for delivery in deliveries:
        if delivery.event == EVENT and delivery.action in ACTIONS:
            attempts_of.setdefault(delivery.guid, []).append(delivery)
    return [attempts for attempts in attempts_of.values() if not any(attempt.succeeded for attempt in attempts)]


class Redelivery:
    """Has failed deliveries sent again.

    Args:
        deliveries: GitHub's.
        app: whether to look after the App's own webhook too.
    """

    def __init__(self, deliveries: Deliveries, *, app: bool) -> None:
        self._deliveries = deliveries
        self._app = app
        # When each webhook was last found to be gone.
        self._gone: dict[str, datetime] = {}

    def run(self, tasks: Iterable[TaskState], now: datetime, progress: Progress) -> None:
        """Make one pass; what fails is reported, and tried again by the next.

        Args:
            tasks: recent ones; each names the webhook that delivered its job.
            now: the time.
            progress: how far earlier passes have come; it is brought up to date.
        """
        left = REDELIVERIES_PER_PASS
        self._gone = {hook: since for hook, since in self._gone.items() if now - since < GONE_FOR}
        for hook in self._hooks(tasks, now, progress):
            with about(**{"pass": "redelivery"}, hook=hook):
                try:
                    for delivery in due(self._read(hook, now, progress), now)[:left]:
                        left -= 1
                        self._redeliver(hook, delivery)
                except GitHubRefused as error:
                    if error.status == HTTPStatus.NOT_FOUND:
                        self._gone[hook] = now
                    skipped(log, error, level=logging.INFO)
                except UpstreamError as error:
                    skipped(log, error)

    def _read(self, hook: str, now: datetime, progress: Progress) -> Sequence[HookDelivery]:
        """Return the attempts of all events that failed, and bring up to date what is kept of them."""
        oldest, known = now - LOOK_BACK, progress.hooks.setdefault(hook, HookProgress())
        known.asked_at = now
        if known.read_until is None:
            # The list may be too long to be read as far back as this. That of the failed ones is shorter.
            attempts = [*self._deliveries.since(hook, oldest), *self._deliveries.since(hook, oldest, failed=True)]
        else:
            attempts = [*known.failed, *self._deliveries.since(hook, max(oldest, known.read_until - READ_AGAIN))]
        each_once = {
            (attempt.guid, attempt.id): attempt for attempt in attempts if attempt.delivered_at >= oldest
        }.values()
        known.failed = [attempt for of_event in _unsuccessful(each_once) for attempt in of_event]
        # By GitHub's clock, which may not be ours.
        newest = max((attempt.delivered_at for attempt in attempts), default=oldest)
        known.read_until = newest if known.read_until is None else max(newest, known.read_until)
        return known.failed

    def _hooks(self, tasks: Iterable[TaskState], now: datetime, progress: Progress) -> Sequence[str]:
        """Return the webhooks to look after in this pass; forget those of which nothing is worth knowing any more.

        They are the App's and each one that a task names. Repositories may have many, which have their turns: those
        come first that were asked for longest ago.
        """
        found = [event.webhook for event in events_of(tasks)]
        named = dict.fromkeys(hook for hook in [APP_HOOK if self._app else None, *found] if hook)
        asked = {hook: known.asked_at or now - LOOK_BACK for hook, known in progress.hooks.items()}
        progress.hooks = {
            hook: known for hook, known in progress.hooks.items() if hook in named or now - asked[hook] < LOOK_BACK
        }
        hooks = [hook for hook in named if hook not in self._gone]
        of_repositories = [hook for hook in hooks if hook.startswith("/repos/")]
        of_repositories.sort(key=lambda hook: asked.get(hook, now - LOOK_BACK))
        others = [hook for hook in hooks if not hook.startswith("/repos/")]
        return others + of_repositories[:REPOSITORY_HOOKS_PER_PASS]

    def _redeliver(self, hook: str, delivery: HookDelivery) -> None:
        reason = f"it failed at {delivery.delivered_at:%Y-%m-%dT%H:%M:%SZ}"
        with about(delivery=delivery.guid):
            try:
                self._deliveries.redeliver(hook, delivery)
            except GitHubRefused as error:  # only this one: the others may go
                log(logging.WARNING, Line.REDELIVERY, result=Result.FAILED, why=reason, reason=str(error))
                return
            log(logging.WARNING, Line.REDELIVERY, result=Result.REDELIVERED, reason=reason)
