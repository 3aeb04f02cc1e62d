"""The things Azure Batch is made of: pools, nodes, jobs, tasks, and one run of a task on a node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type Json = dict[str, Any]
type JobState = Literal["active", "disabled", "terminating", "completed", "deleting"]
type TaskState = Literal["active", "running", "completed"]
type NodeState = Literal["starting", "idle", "running", "preempted", "leavingpool"]

MESSAGES: Mapping[str, tuple[int, str]] = {
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the Authorization header and its signature are correct.",
    ),
    "InvalidAuthenticationInfo": (401, "Authentication information is not given in the correct format."),
    "InvalidHeaderValue": (400, "The value provided for one of the HTTP headers was not in the correct format."),
    "InvalidPropertyValue": (400, "The value provided for one of the properties in the request body is invalid."),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRequestBody": (400, "The specified Request Body is not syntactically valid."),
    "MissingRequiredProperty": (400, "A required property was not specified in the request body."),
    "MissingRequiredQueryParameter": (400, "A required query parameter was not specified for this request."),
    "OutOfRangeQueryParameterValue": (
        400,
        "A query parameter specified in the request URI is outside the permissible range.",
    ),
    "UnsupportedRequestVersion": (400, "The specified request version is not supported."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "JobNotFound": (404, "The specified job does not exist."),
    "TaskNotFound": (404, "The specified task does not exist."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "JobExists": (409, "The specified job already exists."),
    "JobBeingTerminated": (409, "The specified job is being terminated."),
    "JobBeingDeleted": (409, "The specified job has been marked for deletion and is being garbage collected."),
    "JobCompleted": (409, "The specified job is already in a completed state."),
    "JobNotActive": (409, "The specified job is not in active state."),
    "ActiveJobAndScheduleQuotaReached": (409, "Active job and schedule quota for the account has been reached."),
    "TaskExists": (409, "The specified task already exists."),
    "TaskCompleted": (409, "The specified task is already in a completed state."),
    "TaskNotCompleted": (409, "The specified task is not in a completed state."),
    "TaskSucceeded": (409, "The specified task has already completed successfully."),
    "OperationNotValidOnPool": (409, "The specified operation is not valid on the pool."),
    "PoolBeingResized": (409, "The specified pool is being resized."),
    "ConditionNotMet": (412, "The condition specified in the conditional header(s) was not met."),
    "RequestBodyTooLarge": (413, "The request body is too large and exceeds the maximum permissible limit."),
    "TooManyEnableAutoScaleRequests": (503, "Too many Enable Pool AutoScale requests are issued on the pool."),
}
"""The service's error codes that the stand-in uses, with their status and text (documented list of error codes)."""


class BatchRefusal(Exception):
    """The service refuses.

    Attributes:
        code: The error code, for example `TaskExists`.
        status: The HTTP status.
        text: The message.
        details: The `values` of the error.
    """

    def __init__(self, code: str, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.status, self.text = MESSAGES[code]
        self.details = details


@dataclass
class Pool:
    """A pool of nodes.

    Attributes:
        os: Of the nodes, which are made for containers (`container`) or for plain command lines.
        slots_per_node: How many one-slot tasks a node runs at once.
        nodes: How many nodes are there, ready, from the beginning; the least that scaling in leaves.
        start_delay_s: Seconds from the decision for a node to its first task.
        max_nodes: The most that scaling out makes.
        idle_s: Seconds without a task after which scaling in takes a node away.
        scale: `instant` follows the waiting tasks (the pool shows an autoscale formula then), `fixed` leaves the
            number of nodes to `resize`.
    """

    id: str
    os: Literal["linux", "windows"] = "linux"
    container: bool = True
    slots_per_node: int = 1
    nodes: int = 0
    start_delay_s: float = 0.5
    max_nodes: int = 8
    idle_s: float = 60.0
    scale: Literal["instant", "fixed"] = "instant"
    vm_size: str = "standard_d4s_v5"
    autoscale: bool = field(init=False)
    formula: str = "$TargetDedicatedNodes = min(8, $PendingTasks.GetSample(1));"
    interval: str = "PT5M"
    target: int = field(init=False)
    resizing: bool = False
    created_at: float = 0.0
    enabled_autoscale_at: float | None = None
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
    tasks_run: int = 0
    leaving: bool = False


@dataclass
class Task:
    """A task, with what it was created from."""

    serial: int
    job_id: str
    body: Json
    created_at: float
    changed_at: float
    state: TaskState = "active"
    previous: TaskState | None = None
    previous_at: float | None = None
    node_id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    result: Literal["success", "failure"] | None = None
    failure: Json | None = None
    retries: int = 0
    requeues: int = 0
    last_requeue_at: float | None = None
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
    """A job: where its tasks run and what becomes of it."""

    serial: int
    body: Json
    created_at: float
    changed_at: float
    state: JobState = "active"
    previous: JobState | None = None
    previous_at: float | None = None
    ended_at: float | None = None
    reason: str | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    version: int = 1

    @property
    def id(self) -> str:
        """The id, unique in the account."""
        return str(self.body["id"])

    @property
    def pool_id(self) -> str:
        """The pool that its tasks run on."""
        return str(self.body["poolInfo"]["poolId"])


@dataclass(frozen=True)
class TaskRun:
    """One run of a task on a node: all that an executor needs to carry it out.

    Attributes:
        attempt: Counts the runs of the task, from 1.
        image: The container image, None for a plain command line.
        environment: What the task was given and what Batch adds to it.
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


@dataclass(frozen=True)
class Command:
    """What the state machine wants done to the world: start a run, or stop it."""

    kind: Literal["start", "stop"]
    run: TaskRun
