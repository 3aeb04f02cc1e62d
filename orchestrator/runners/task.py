"""A runner's task: what Batch is asked to run, what Batch says of it, and its id (pure).

The id is the key of everything that starts runners: whoever tries to start a runner for a job uses the same id, and
Batch answers that the task exists already. `orchestrator.runners.notes` has what a task says about its runner.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, Self

from orchestrator.config.profiles import Launch, Priority, System
from orchestrator.config.settings import TaskLogs
from orchestrator.jobs.event import WorkflowJob, WorkflowJobEvent
from orchestrator.runners.exit_codes import AFTER_A_JOB, BEFORE_A_JOB
from orchestrator.runners.notes import SAYS_NOTHING, TaskNotes

_TASK_ID = re.compile(r"(runner-(\d+)-(\d+))(?:-r(\d+))?")
_RUNNER_NAME = re.compile(r"(runner-\d+-\d+(?:-r\d+)?)(?:-[0-9a-f]{4})?")

# How `TaskState.failure` begins where Batch could not pull the image.
IMAGE_NOT_PULLED = "the image cannot be pulled"
# The image's own default of the idle limit.
_IDLE_MINUTES = 10.0
# How long a task without a job lasts beside its idle limit, at most: to pull the image, to register and to leave.
_LASTS_BESIDE_IDLING = timedelta(minutes=20)

# What stands before the profile's name in a task's display name.
PROFILE = " profile "


@dataclass(frozen=True)
class RunnerTask:
    """A runner's container as Batch shall run it.

    Attributes:
        task_id: unique for the workflow job and its attempt, which makes starting it again harmless.
        pool: the pool's id.
        account: the login of the organization or user that the repository belongs to.
        display_name: what the portal shows.
        image: full image reference.
        os: what the pool's nodes run.
        run_options: for creating the container, beside `--rm`.
        slots: task slots on the node.
        max_hours: wall-clock limit.
        environment: what the runner image reads; holds secrets.
        launch: `batch`: Batch starts the container; `docker`: the task's command line does.
        priority: before or after which tasks of its pool it is started.
        queued_at: when its workflow job was queued, if GitHub says so.
        logs: where its output is kept, if it is.
    """

    task_id: str
    pool: str
    account: str
    display_name: str
    image: str
    os: System
    run_options: str
    slots: int
    max_hours: float
    environment: Mapping[str, str] = field(repr=False)
    launch: Launch = "batch"
    priority: Priority = "normal"
    queued_at: datetime | None = None
    logs: TaskLogs | None = None


@dataclass(frozen=True)
class TaskState:
    """What Batch tells of a runner's task.

    Attributes:
        task_id: its id.
        pool: the pool it is for.
        state: `waiting` for a free slot, `running`, or `finished`.
        created_at: when it was created.
        started_at: when its container was started, if it was.
        ended_at: when it finished, if it has.
        exit_code: the image's (see its table), if it came so far.
        ended_by_request: it finished because somebody ended it.
        failure: why it failed, in Batch's words, if it did.
        max_hours: its wall-clock limit.
        slots: how many slots of a node it takes.
        runs_before: how often Batch ran it before, and lost the node.
        notes: what it says about its runner.
        batch_job: the id of the Batch job that holds it. Two Batch jobs of a pool may hold tasks of one id.
        repository: the full name of the repository of its job, where its display name tells. A finished task may have
            the notes of another task of this repository.
        profile: the name of the profile that it was started for, where its display name tells.

    What passes keep of a finished task has neither `slots` nor `runs_before`.
    """

    task_id: str
    pool: str
    state: Literal["waiting", "running", "finished"]
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    ended_by_request: bool = False
    failure: str | None = None
    max_hours: float | None = None
    slots: int = 1
    runs_before: int = 0
    notes: TaskNotes = SAYS_NOTHING
    batch_job: str = ""
    repository: str = ""
    profile: str = ""

    @classmethod
    def quickly(cls, **attributes: Any) -> Self:
        """Return one of very many: a pass may see fifty thousand at once, and a frozen dataclass's constructor is slow.

        Args:
            attributes: those without a default, and any others.
        """
        found = object.__new__(cls)
        found.__dict__.update(attributes)
        return found

    @property
    def key(self) -> tuple[str, str, str]:
        """Tells it from all other tasks of the account."""
        return self.pool, self.batch_job, self.task_id

    @property
    def event(self) -> WorkflowJobEvent | None:
        """The job that it was started for, as GitHub told of it; None if its notes do not say."""
        return self.notes.origin.event if self.notes.origin is not None else None

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labels that its runner registers with, in lower case."""
        return frozenset(label.lower() for label in self.notes.labels)

    @property
    def job_key(self) -> str:
        """The id without the number of the replacement: the same for all tasks of one job and attempt."""
        return job_key_of(self.task_id)

    @property
    def ran_a_job(self) -> bool:
        """Whether a job began in it, perhaps another one than that it was started for.

        Where the exit code does not tell (the node was lost, no memory, an older image), a task that lasted for longer
        than a runner waits had a job.
        """
        if self.state != "finished" or self.exit_code in BEFORE_A_JOB:
            return False
        return self.exit_code in AFTER_A_JOB or self._outlasted_its_idle_limit

    @property
    def _outlasted_its_idle_limit(self) -> bool:
        if self.started_at is None or self.ended_at is None:
            return False
        idle = timedelta(minutes=_IDLE_MINUTES if self.notes.idle_minutes is None else self.notes.idle_minutes)
        return self.ended_at - self.started_at > idle + _LASTS_BESIDE_IDLING

    @property
    def end(self) -> datetime:
        """When it finished; when it was created if nothing tells that."""
        return self.ended_at or self.created_at

    @property
    def failed(self) -> bool:
        """Whether it ended by itself and no job had begun in it."""
        return self.state == "finished" and not self.ran_a_job and not self.ended_by_request

    @property
    def outcome(self) -> Literal["job", "ended", "failed"]:
        """What became of a finished task: a job began in it, somebody ended it, or it ended by itself without a job."""
        if self.ran_a_job:
            return "job"
        return "ended" if self.ended_by_request else "failed"

    @property
    def ending(self) -> str:
        """How it ended: the image's exit code, or else what Batch says."""
        return f"exit code {self.exit_code}" if self.exit_code is not None else self.failure or "no exit code"


def task_id(job: WorkflowJob, replacement: int = 0) -> str:
    """Return the id of a job's runner task: the idempotency key of everything that starts runners.

    Args:
        job: the workflow job; a re-run has another attempt and other ids.
        replacement: 0 for its first runner, else how often one was replaced.
    """
    return f"runner-{job.id}-{job.run_attempt}" + (f"-r{replacement}" if replacement else "")


def is_task_id(text: str) -> bool:
    """Whether this is the id of a runner task; others in the same Batch job are none of our business."""
    return _TASK_ID.fullmatch(text) is not None


def job_key_of(text: str) -> str:
    """Return the id of the first task of the same job and attempt."""
    found = _TASK_ID.fullmatch(text)
    return found[1] if found else text


def replacement_of(text: str) -> int:
    """Return the number of a replacement, 0 for a job's first task."""
    found = _TASK_ID.fullmatch(text)
    return int(found[4] or 0) if found else 0


def events_of(tasks: Iterable[TaskState]) -> Iterator[WorkflowJobEvent]:
    """Yield the jobs that tasks were started for, of those that say so."""
    return (event for task in tasks if (event := task.event) is not None)


def task_of_runner(name: str) -> str | None:
    """Return the id of the task that a runner of this name belongs to, if it is named like one of ours."""
    found = _RUNNER_NAME.fullmatch(name)
    return found[1] if found else None
