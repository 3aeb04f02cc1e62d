"""Explains one job to operators, at the cost of one look for all who ask at the same time."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.config.profiles import Profile
from orchestrator.explain.facts import Facts
from orchestrator.explain.reference import JobReference
from orchestrator.explain.report import Document, document
from orchestrator.explain.verdict import conclude
from orchestrator.runners.remembered import Remembered
from orchestrator.runtime import MakeLock

# How long an explanation is given to others who ask.
KEPT_FOR = timedelta(seconds=15)


class Explainer:
    """Explains jobs. Safe under threads: one look at a job while others who ask after it wait for the same.

    Args:
        gather: returns what is known of a job.
        profiles: all of them.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(
        self,
        gather: Callable[[JobReference], Facts],
        profiles: Sequence[Profile],
        clock: Clock,
        *,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._gather = gather
        self._profiles = profiles
        self._known = Remembered[JobReference, Document](self._look, clock, lock=lock)

    def explain(self, reference: JobReference) -> Document:
        """Return the report on a job, fifteen seconds old at most.

        Args:
            reference: names the job.
        """
        return self._known.get(reference, KEPT_FOR)

    def _look(self, reference: JobReference) -> Document:
        facts = self._gather(reference)
        return document(facts, conclude(facts), self._profiles)
