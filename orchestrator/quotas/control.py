"""A runner is started only if its quotas have room for it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.quotas.occupancy import Occupancy
from orchestrator.quotas.rule import Slot, quotas_of, without_effect
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.task import task_id


class QuotaControl:
    """Starts runners as far as quotas allow. Safe under threads.

    Args:
        settings: the app settings.
        occupancy: counts slots.
        held: is called with each job that has to wait.
    """

    def __init__(
        self, settings: Settings, occupancy: Occupancy, held: Callable[[WorkflowJobEvent, Profile], None]
    ) -> None:
        self._settings = settings
        self._occupancy = occupancy
        self._held = held

    def within(self, event: WorkflowJobEvent, profile: Profile, start: Callable[[], Outcome]) -> Outcome:
        """Start a runner if its quotas have room for it. Where none applies, Batch is not asked.

        Args:
            event: the job.
            profile: the profile that serves it.
            start: starts the runner.

        Raises:
            UpstreamError: Batch does not tell how many runners there are, or `start` failed.
        """
        quotas = quotas_of(event, profile, self._settings)
        if not quotas:
            outcome = start()
            ignored = without_effect(event, profile, self._settings) if outcome.result == Result.CREATED else None
            return replace(outcome, reason="; ".join(filter(None, (outcome.reason, ignored))) or None)
        slot = Slot(task_id(event.workflow_job), event.repository.full_name.lower(), profile.name)
        reservation = self._occupancy.reserve(slot, quotas)
        if reservation.reason is not None:
            self._held(event, profile)
            return Outcome(Result.WAITS, slot.task_id, profile, reservation.reason)
        if not reservation.is_new:
            return start()
        created: str | None = None
        try:
            outcome = start()
            created = outcome.task_id if outcome.result == Result.CREATED else None
            return outcome
        finally:
            self._occupancy.settle(slot, created)

    def ended(self, task: str) -> None:
        """Take note that a task's runner has had its job."""
        self._occupancy.ended(task)

    def slots(self) -> Sequence[Slot]:
        """Return the slots that are taken.

        Raises:
            UpstreamError: Batch does not tell.
        """
        return self._occupancy.slots()
