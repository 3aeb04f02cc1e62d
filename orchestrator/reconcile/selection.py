"""Which of the runners that a pass would start are started, and in which order: by turns, within quotas (pure).

Each scope is decided about by itself. The time of a pass is shared by all of them, so that no repository uses it up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from orchestrator.config.settings import Settings
from orchestrator.quotas.rule import Quota, Slot, quotas_of, slot_of, slots_of
from orchestrator.quotas.turns import by_turns
from orchestrator.reconcile.action import Action, Hold, ReplaceTask, StartRunner
from orchestrator.reconcile.view import WaitingJob
from orchestrator.runners.task import TaskState, task_id


def select(actions: Iterable[Action], tasks: Sequence[TaskState], settings: Settings, now: datetime) -> list[Action]:
    """Return what a pass does, what starts runners first.

    Args:
        actions: what was decided about all scopes.
        tasks: all runner tasks.
        settings: the app settings, for the quotas.
        now: the time.
    """
    decided = list(actions)
    slots = _Slots(slots_of(tasks), settings)
    replacements = [
        replacement
        for replacement in _in_turn([action for action in decided if isinstance(action, ReplaceTask)], {}, now)
        if slots.replace(replacement)
    ]
    starts: list[Action] = []
    has = Counter(slot.repository for slot in slots.taken)
    for start in _in_turn([action for action in decided if isinstance(action, StartRunner)], has, now):
        if not slots.hold(start.job):
            slots.take(start.job, start.replacement)
            starts.append(start)
    return [
        *replacements,
        *starts,
        *(action for action in decided if not isinstance(action, (ReplaceTask, StartRunner))),
        *slots.holds(now),
    ]


def _in_turn[A: (ReplaceTask, StartRunner)](actions: Sequence[A], has: Mapping[str, int], now: datetime) -> Iterable[A]:
    """Return actions by turns between repositories, and the oldest job of each first."""
    oldest_first = sorted(actions, key=lambda action: action.job.age(now), reverse=True)
    return by_turns(oldest_first, lambda action: _repository(action.job), has)


class _Slots:
    """The slots that are taken, as the pass goes on.

    Attributes:
        taken: the slots.
    """

    def __init__(self, taken: Sequence[Slot], settings: Settings) -> None:
        self.taken = list(taken)
        self._settings = settings
        self._full: dict[Quota, str] = {}
        self._held: dict[str, list[WaitingJob]] = {}

    def hold(self, job: WaitingJob) -> bool:
        """Whether a quota holds the job; if so, take note of it."""
        for quota in quotas_of(job.event, job.profile, self._settings):
            reason = self._full.get(quota) or quota.reason(self.taken)
            if reason is not None:
                self._full[quota] = reason
                self._held.setdefault(reason, []).append(job)
                return True
        return False

    def take(self, job: WaitingJob, replacement: int) -> None:
        """Take a slot for a runner of the job."""
        self.taken.append(Slot(task_id(job.event.workflow_job, replacement), _repository(job), job.profile.name))

    def replace(self, action: ReplaceTask) -> bool:
        """Give the slot of a task to the one that replaces it, which may be for another job; return whether it may."""
        old = slot_of(action.task)
        if old is not None and old in self.taken:
            self.taken.remove(old)
            self._full = {quota: reason for quota, reason in self._full.items() if not quota.counts(old)}
        if self.hold(action.job):
            return False
        self.take(action.job, action.replacement)
        return True

    def holds(self, now: datetime) -> list[Action]:
        """Return one report for all jobs that the same quota holds."""
        return [
            Hold(tuple(sorted(jobs, key=lambda job: job.age(now), reverse=True)), reason)
            for reason, jobs in self._held.items()
        ]


def _repository(job: WaitingJob) -> str:
    return job.event.repository.full_name.lower()
