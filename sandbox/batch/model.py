"""The things Azure Batch is made of: pools, nodes, jobs, tasks, and one run of a task on a node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

type Json = dict[str, Any]
type JobState = Literal["active", "completed", "deleting"]
type TaskState = Literal["active", "running", "completed"]
type NodeState = Literal["starting", "idle", "running", "startTaskFailed"]

# The service's error codes that the stand-in uses, with their status (documented list of error codes).
STATUS: Mapping[str, int] = {
    "AuthenticationFailed": 403,
    "InvalidHeaderValue": 400,
    "InvalidPropertyValue": 400,
    "InvalidQueryParameterValue": 400,
    "InvalidRequestBody": 400,
    "MissingRequiredProperty": 400,
    "MissingRequiredQueryParameter": 400,
    "UnsupportedRequestVersion": 400,
    "JobNotFound": 404,
    "TaskNotFound": 404,
    "PoolNotFound": 404,
    "JobExists": 409,
    "JobBeingDeleted": 409,
    "JobCompleted": 409,
    "TaskExists": 409,
    "TaskCompleted": 409,
    "InvalidAutoScalingSettings": 400,
    "PoolBeingResized": 409,
    "OperationInvalidForCurrentState": 409,
    "ConditionNotMet": 412,
    "TooManyEnableAutoScaleRequests": 503,
}


class BatchRefusal(Exception):
    """The service refuses.

    Attributes:
        code: the error code, for example `TaskExists`.
        status: the HTTP status.
        details: the `values` of the error.
    """

    def __init__(self, code: str, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.status = STATUS[code]
        self.details = details


@dataclass
class Pool:
    """A pool of nodes.

    Attributes:
        os: of the nodes, which are made for containers (`container`) or for plain command lines.
        slots_per_node: how many one-slot tasks a node runs at once.
        nodes: how many nodes are there, ready, from the beginning; the least that scaling in leaves.
        start_delay_s: seconds from the decision for a node to its first task.
        told_after_s: seconds for which a task is told as waiting after its container has started.
        max_nodes: the most that scaling out makes.
        idle_s: seconds without a task after which scaling in takes a node away.
        scale: `instant` follows the waiting tasks, `fixed` keeps the number of nodes.
        evaluation_s: seconds between evaluations of the formula; 0 follows every change at once.
        resize_s: seconds that a resize takes until the pool is steady again.
        formula: what decides on the size, in name: the stand-in follows the waiting tasks whatever it says.
        autoscale: whether the formula is in force.
        target: how many dedicated nodes the pool shall have.
        spot_target: how many Spot nodes.
        evaluated_at: when the formula was last evaluated, or put into force.
        enabled_at: when autoscale was last switched on.
        steady_at: until when a resize is going on.
        resize_error: code and message, while Azure gives the pool no node.
        formula_error: code and message, while the formula cannot be evaluated; the targets then stay.
        start_task_error: code and message, while the start task fails on new nodes.
    """

    id: str
    os: Literal["linux", "windows"] = "linux"
    container: bool = True
    slots_per_node: int = 1
    nodes: int = 0
    start_delay_s: float = 0.5
    told_after_s: float = 0.0
    max_nodes: int = 8
    idle_s: float = 60.0
    scale: Literal["instant", "fixed"] = "instant"
    vm_size: str = "standard_d4s_v5"
    evaluation_s: float = 0.0
    resize_s: float = 0.0
    formula: str = "maxNodes = 8;\n$TargetDedicatedNodes = min(maxNodes, $PendingTasks);"
    interval: str = "PT5M"
    autoscale: bool = field(init=False)
    target: int = field(init=False)
    spot_target: int = 0
    evaluated_at: float = 0.0
    enabled_at: float = float("-inf")
    steady_at: float = 0.0
    resize_error: tuple[str, str] | None = None
    formula_error: tuple[str, str] | None = None
    start_task_error: tuple[str, str] | None = None
    created_at: float = 0.0
    version: int = 1

    def __post_init__(self) -> None:
        self.autoscale = self.scale == "instant"
        self.target = self.nodes


@dataclass
class Node:
    """A machine of a pool."""

    id: str
    pool_id: str
    created_at: float
    ready_at: float
    state: NodeState = "starting"
    changed_at: float = 0.0
    slots_used: int = 0
    spot: bool = False


@dataclass
class Task:
    """A task, with what it was created from."""

    serial: int
    job_id: str
    body: Json
    created_at: float
    changed_at: float
    state: TaskState = "active"
    node_id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    result: Literal["success", "failure"] | None = None
    failure: Json | None = None
    requeues: int = 0
    attempt: int = 0
    version: int = 1

    @property
    def id(self) -> str:
        """The id, unique in its job."""
        return str(self.body["id"])

    @property
    def slots(self) -> int:
        """How many slots of a node it takes."""
        return int(self.body.get("requiredSlots", 1))


@dataclass
class Job:
    """A job: where its tasks run and what becomes of it.

    Attributes:
        unfinished: those of its tasks that wait or run; they are few beside the finished ones.
        drawn_at: the number of the draw in which a task of it was started last.
    """

    serial: int
    body: Json
    created_at: float
    changed_at: float
    state: JobState = "active"
    ended_at: float | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    unfinished: dict[str, Task] = field(default_factory=dict)
    drawn_at: int = 0
    version: int = 1

    @property
    def id(self) -> str:
        """The id, unique in the account."""
        return str(self.body["id"])

    @property
    def pool_id(self) -> str:
        """The pool that its tasks run on."""
        return str(self.body["poolInfo"]["poolId"])

    @property
    def priority(self) -> int:
        """Tasks of a higher one start first."""
        return int(self.body.get("priority", 0))


@dataclass(frozen=True)
class TaskRun:
    """One run of a task on a node: all that an executor needs to carry it out.

    Attributes:
        attempt: counts the runs of the task, from 1.
        image: the container image, None for a plain command line.
        environment: what the task was given and what Batch adds to it.
        output_files: what is to be uploaded when it ends.
    """

    job_id: str
    task_id: str
    attempt: int
    pool_id: str
    node_id: str
    os: Literal["linux", "windows"]
    image: str | None
    container_run_options: str
    command_line: str
    environment: Mapping[str, str] = field(repr=False)
    output_files: Sequence[Json] = ()


@dataclass(frozen=True)
class Command:
    """What the state machine wants done to the world: start a run, or stop it."""

    kind: Literal["start", "stop"]
    run: TaskRun
