"""What a pass knows of one scope when it decides: its queued jobs, its runners and their tasks (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.config.profiles import Profile
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runners.task import TaskState, task_id

# A younger job is left to its delivery, or to the request in the queue: they are probably still being handled.
DELIVERY_EXPECTED_WITHIN = timedelta(minutes=2)
# A cold pool has a node by then. A job that waits longer is reported, with what it waits for.
REPORT_WAIT_AFTER = timedelta(minutes=15)
# A younger task may be missing in what GitHub listed: GitHub may have been asked before it was created.
TASK_SEEN_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class WaitingJob:
    """A queued job that a profile serves.

    Attributes:
        event: what GitHub says about it.
        profile: the profile that serves it.
        labels: the job's, in lower case.
        closed_groups: the runner groups, in lower case, that are for other repositories only.
    """

    event: WorkflowJobEvent
    profile: Profile
    labels: frozenset[str]
    closed_groups: frozenset[str] = frozenset()

    @property
    def job_key(self) -> str:
        """The id of its first task."""
        return task_id(self.event.workflow_job)

    @property
    def ids(self) -> Mapping[str, object]:
        """What names the job in the log."""
        return {"job": self.event.workflow_job.id, "repository": self.event.repository.full_name}

    def age(self, now: datetime) -> timedelta:
        """How long it has waited; where GitHub does not say since when, just long enough to be acted upon."""
        created_at = self.event.workflow_job.created_at
        return now - created_at if created_at is not None else DELIVERY_EXPECTED_WITHIN


@dataclass(frozen=True)
class ScopeView:
    """What GitHub and Batch say about one scope.

    Attributes:
        access: the scope.
        jobs: the queued jobs of its repositories in view.
        runners: every runner that is registered there, or those of the tasks that run.
        tasks: the runner tasks of this scope.
        others: tasks of these jobs that were started under another scope, before a setting or a name changed.
        complete: whether every repository that has tasks here was looked at. If not, a task that seems surplus may be
            needed.
        period: the time between two passes.
        all_runners: whether `runners` are all. If not, a runner that is not among them may be there all the same.
        assumed: jobs that are not known to be queued, but may be: tasks were started for them, and their repositories
            were not looked at completely.
        node_slots: how many slots a node has, by pool, where that was asked.
    """

    access: ScopeAccess
    jobs: Sequence[WaitingJob]
    runners: Sequence[Runner]
    tasks: Sequence[TaskState]
    others: Sequence[TaskState]
    complete: bool
    period: timedelta
    all_runners: bool = True
    assumed: Sequence[WaitingJob] = ()
    node_slots: Mapping[str, int] = field(default_factory=dict)
