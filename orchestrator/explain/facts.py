"""What is known about one job at one moment, as far as GitHub and Batch could be asked (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from orchestrator.config.profiles import Profile
from orchestrator.explain.reference import JobReference
from orchestrator.jobs.admission import Admission
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.findings import Findings, Recorded
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState, replacement_of

# States of a node that takes no task and will take none, in Batch's words.
BROKEN_NODE_STATES = ("starttaskfailed", "unusable", "unknown")


@dataclass(frozen=True)
class Unknown:
    """Something could not be asked, or was not answered.

    Attributes:
        reason: why, without a secret.
        refused: whether the service refuses until somebody changes something: a credential or a role.
    """

    reason: str
    refused: bool = False


@dataclass(frozen=True)
class JobFacts:
    """What GitHub says of the job and its run.

    Attributes:
        event: the job as a `queued` delivery would tell of it.
        status: the job's: `queued`, `in_progress`, `completed`, `waiting`, `pending` or `requested`.
        run_status: the run's, with the same words; None where it was not asked for.
        started_at: when a runner took it.
        completed_at: when it ended.
        repository_id: GitHub's id of its repository.
        points_left: how many requests GitHub's rate limit has left for this hour, where the answer said it.
    """

    event: WorkflowJobEvent
    status: str
    run_status: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    repository_id: int | None = None
    points_left: int | None = None


@dataclass(frozen=True)
class ServiceError:
    """An error that Batch reports of a pool or a node, by its code and its message."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@dataclass(frozen=True)
class PoolFacts:
    """What Batch says of a pool.

    Attributes:
        pool: its id.
        slots_per_node: how many task slots a node has.
        nodes: how many nodes it has, dedicated and Spot together.
        target: how many it is to have.
        steady: whether it is not being resized.
        most_nodes: the formula's upper limit, where it tells.
        resize_errors: why the last resize did not get all nodes.
        formula_error: why the autoscale formula could not be evaluated.
        evaluated_at: when the formula was evaluated last.
        nodes_by_state: how many nodes are in which state, in Batch's words; empty where it was not told.
        node_error: what is wrong with a node that cannot be used.
        nodes_unknown: why the nodes could not be read, if they could not.
        containers: whether the pool was made for containers.
    """

    pool: str
    slots_per_node: int
    nodes: int
    target: int
    steady: bool
    most_nodes: int | None = None
    resize_errors: tuple[ServiceError, ...] = ()
    formula_error: ServiceError | None = None
    evaluated_at: datetime | None = None
    nodes_by_state: Mapping[str, int] = field(default_factory=dict)
    node_error: ServiceError | None = None
    nodes_unknown: str | None = None
    containers: bool = True


@dataclass(frozen=True)
class LogTail:
    """The end of a task's output, fit to be shown: lines of printable characters, cut where they are long.

    A job can write to it, so it says what the job wants it to say.

    Attributes:
        stdout: the last lines of `stdout.txt`, the oldest first.
        stderr: the last lines of `stderr.txt`.
        place: the address of the folder that has all of it.
    """

    stdout: tuple[str, ...]
    stderr: tuple[str, ...]
    place: str


@dataclass(frozen=True)
class DeliveryFacts:
    """How the job's `queued` delivery was answered.

    Attributes:
        delivered_at: when GitHub sent it.
        status: the HTTP status of the answer; 0 if there was none.
        result: the answer's `result`, if the function answered.
        reason: the answer's `reason`.
    """

    delivered_at: datetime
    status: int
    result: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DeliverySearch:
    """What a search for the job's delivery came to.

    Attributes:
        found: the latest attempt; None if there is none among those looked at.
        complete: whether every delivery since the job was queued was looked at.
    """

    found: DeliveryFacts | None
    complete: bool


@dataclass(frozen=True)
class NextPass:
    """What the control loop's memory tells.

    Attributes:
        last_at: when the last pass ended; None if that is not known.
        period: the time between two passes.
        findings: what the last pass found that could look; None if that is not known.
        unread: why the memory could not be read, if it could not.
    """

    last_at: datetime | None
    period: timedelta
    findings: Findings | None = None
    unread: str | None = None

    @classmethod
    def of(cls, recorded: Recorded | Unknown | None, period: timedelta) -> Self:
        """Return what a record tells; None is one that there is not."""
        if isinstance(recorded, Unknown):
            return cls(None, period, unread=recorded.reason)
        return cls(None, period) if recorded is None else cls(recorded.written_at, period, recorded.findings)


@dataclass(frozen=True)
class Facts:
    """Everything that the verdict is made of.

    Where a field may be `Unknown`, None says that there is no such thing.

    Attributes:
        now: when it was asked.
        reference: the job that was asked after.
        job: GitHub's word on it; None if GitHub does not find it.
        admission: what the settings say of the job.
        profile: the one that serves it.
        account: why the job's account may have no runners.
        group: why GitHub would give the job no runner of its profile's group.
        quota: who has the slots that the job waits for.
        tasks: its runner tasks, the first one first.
        pool: the profile's pool.
        runner: the runner of the latest task, as GitHub lists it.
        output: the end of what the latest task has written, if it ended without a job and a container keeps it.
        delivery: None if it was not looked for, because there is a task.
        next_pass: what the control loop will do.
    """

    now: datetime
    reference: JobReference
    job: JobFacts | Unknown | None = None
    admission: Admission | None = None
    profile: Profile | None = None
    account: str | Unknown | None = None
    group: str | Unknown | None = None
    quota: str | Unknown | None = None
    tasks: tuple[TaskState, ...] | Unknown = ()
    pool: PoolFacts | Unknown | None = None
    runner: Runner | Unknown | None = None
    output: LogTail | Unknown | None = None
    delivery: DeliverySearch | Unknown | None = None
    next_pass: NextPass | None = None

    @property
    def latest_task(self) -> TaskState | None:
        """The task that decides: one that runs, else one that waits, else the latest."""
        if isinstance(self.tasks, Unknown) or not self.tasks:
            return None
        rank = {"finished": 0, "waiting": 1, "running": 2}
        return max(self.tasks, key=lambda task: (rank[task.state], replacement_of(task.task_id)))
