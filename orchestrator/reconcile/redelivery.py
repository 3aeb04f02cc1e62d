"""Webhook deliveries that failed, sent again: GitHub does not do it by itself.

Nothing is remembered between passes. GitHub lists every attempt under the event's guid, so the list itself says what
has succeeded since, how often it was tried and when.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.errors import GitHubRefused, UpstreamError
from orchestrator.jobs.event import EVENT
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.task import TaskState

logger = logging.getLogger(__name__)

# How long after the first, second and third failed attempt the next is made. After that a person must look.
PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
LOOK_BACK = timedelta(hours=6)
# What one pass sends again. What was refused comes last, because it mostly is again (a public repository,
# for example), and a burst of it must not hold up the rest.
MOST = 50
ACTIONS = ("queued", "completed")


class Deliveries(Protocol):
    """A webhook's deliveries, as GitHub keeps them."""

    def since(self, hook: str, moment: datetime) -> Iterator[HookDelivery]:
        """List them, newest first, back to a moment."""

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Have one sent again."""


def due(deliveries: Iterable[HookDelivery], now: datetime) -> Sequence[HookDelivery]:
    """Return which attempts to repeat now: those that were not refused before the others, the oldest first.

    Args:
        deliveries: every attempt of the last hours.
        now: the time.
    """
    attempts: dict[str, list[HookDelivery]] = {}
    for delivery in deliveries:
        if delivery.event == EVENT and delivery.action in ACTIONS:
            attempts.setdefault(delivery.guid, []).append(delivery)
    found = []
    for tries in attempts.values():
        # Where the first attempt is out of sight, so may be others: they cannot be counted any more.
        if len(tries) > len(PAUSES) or all(one.again for one in tries) or any(one.succeeded for one in tries):
            continue
        last = max(tries, key=lambda one: (one.delivered_at, one.id))
        if now - last.delivered_at >= PAUSES[len(tries) - 1]:
            found.append(last)
    return sorted(found, key=lambda one: (one.refused, one.delivered_at, one.id))[:MOST]


class Redelivery:
    """Has failed deliveries sent again.

    Args:
        deliveries: GitHub's.
        app: whether the App's own webhook is to be looked after.
    """

    def __init__(self, deliveries: Deliveries, *, app: bool) -> None:
        self._deliveries = deliveries
        self._app = app

    def run(self, tasks: Iterable[TaskState], now: datetime) -> None:
        """Make one pass; what fails is reported, and tried again by the next.

        Args:
            tasks: recent ones; each names the webhook that asked for it.
            now: the time.
        """
        named = {
            task.notes.origin.event.webhook: None
            for task in tasks
            if task.notes.origin and task.notes.origin.event.webhook
        }
        turns = iter(range(MOST))
        for hook in ([APP_HOOK] if self._app else []) + [hook for hook in named if hook]:
            try:
                self._look_after(hook, now, turns)
            except GitHubRefused as error:
                _log(logging.INFO, result="skipped", hook=hook, reason=str(error))
            except UpstreamError as error:
                _log(logging.WARNING, result="skipped", hook=hook, reason=str(error))

    def _look_after(self, hook: str, now: datetime, turns: Iterator[int]) -> None:
        for delivery, _ in zip(due(self._deliveries.since(hook, now - LOOK_BACK), now), turns, strict=False):
            reason = f"it failed at {delivery.delivered_at:%Y-%m-%dT%H:%M:%SZ}"
            try:
                self._deliveries.redeliver(hook, delivery)
            except GitHubRefused as error:  # this one; the others may go
                _log(logging.WARNING, result="failed", hook=hook, delivery=delivery.guid, why=reason, reason=str(error))
                continue
            _log(logging.WARNING, result="redelivered", hook=hook, delivery=delivery.guid, reason=reason)


def _log(level: int, **fields: object) -> None:
    logger.log(level, "%s", json.dumps({"pass": "redelivery", **fields}))
