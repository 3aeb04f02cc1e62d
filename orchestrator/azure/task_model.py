"""A runner's task as Batch has it: what is asked of the service, and how its answer is read (pure).

Source: Azure Batch service REST API 2025-06-01, Tasks.
"""

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.azure.task_failure import ENDED, failure_text
from orchestrator.clock import LONG_AGO
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import PROFILE, RunnerTask, TaskState

# A finished task stays to answer "done already" for as long as GitHub redelivers (3 days on github.com, 7 on GHES).
RETENTION = timedelta(days=7)


# What is asked for of a task that waits or runs, and of one that finished. The second says nothing of its runner: the
# environment of a finished task holds a secret that is of no use any more, and is most of what would be sent.
SELECT = (
    "id,state,displayName,creationTime,stateTransitionTime,executionInfo,constraints,environmentSettings,requiredSlots"
)
SELECT_FINISHED = "id,state,displayName,creationTime,stateTransitionTime,executionInfo,requiredSlots"

# stdout.txt and stderr.txt, seen from the task's working directory. Batch takes this slash on Windows, too.
OUTPUT = "../std*.txt"

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?")
_HOURS = (24.0, 1.0, 1 / 60, 1 / 3600)


def repository_of(task: Mapping[str, Any]) -> str:
    """Return the full name of the repository that a task was started for; empty if its name does not tell."""
    name = task.get("displayName", "").partition(" run ")[0]
    return sys.intern(name) if "/" in name else ""


def profile_of(task: Mapping[str, Any]) -> str:
    """Return the name of the profile that a task was started for; empty if its name does not tell."""
    return sys.intern(task.get("displayName", "").partition(PROFILE)[2])


def created_at(task: Mapping[str, Any]) -> datetime:
    """Return when a task was created. A task of the same id may be created again when this one is deleted."""
    return _moment(task.get("creationTime")) or LONG_AGO


def output_path(job: str, task_id: str) -> str:
    """Return the folder of a task's output in the container; Batch tells its ids apart without case, blobs with it."""
    return f"{job}/{task_id}".lower()


def task_options(task: RunnerTask, job: str) -> dict[str, Any]:
    """Return what Batch is asked to create for a runner.

    As the service reads it, and not as the SDK's models: these take a tenth of the time that creating a task takes.

    Args:
        task: the runner's task.
        job: the Batch job that it is for.
    """
    by_docker = task.launch == "docker"
    environment = docker_environment(task) if by_docker else task.environment
    # Batch starts Windows containers for administrators only, and Docker obeys nobody else.
    elevation = "admin" if task.os == "windows" or by_docker else "nonadmin"
    options = {
        "id": task.task_id,
        "displayName": task.display_name,
        "commandLine": docker_command(task) if by_docker else "",  # the image's entrypoint
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": elevation}},
        "environmentSettings": [{"name": name, "value": value} for name, value in environment.items()],
        "constraints": {
            "maxWallClockTime": f"PT{round(task.max_hours * 3600)}S",
            "retentionTime": f"P{RETENTION.days}D",
            "maxTaskRetryCount": 0,  # a second run would find its registration used or expired
        },
        "requiredSlots": task.slots,
    }
    if not by_docker:
        options["containerSettings"] = {
            "imageName": task.image,
            "containerRunOptions": f"--rm {task.run_options}".strip(),
            "workingDirectory": "containerImageDefault",
            # Without this list Batch mounts the node's whole task directory, other runners' tasks included.
            "containerHostBatchBindMounts": [],
        }
    if task.logs is not None:
        destination = {
            "containerUrl": task.logs.container_url,
            "path": output_path(job, task.task_id),
            "identityReference": {"resourceId": task.logs.identity},
        }
        options["outputFiles"] = [
            {
                "filePattern": OUTPUT,
                "destination": {"container": destination},
                "uploadOptions": {"uploadCondition": "taskcompletion"},
            }
        ]
    return options


def task_state(pool: str, job: str, task: Mapping[str, Any], notes: TaskNotes | None = None) -> TaskState:
    """Return what Batch says of a runner's task, with what its environment says about its runner.

    Args:
        pool: the task's pool.
        job: its Batch job.
        task: Batch's answer.
        notes: what its environment says, where it was read before.
    """
    state, repository = task["state"], repository_of(task)
    if notes is None:
        notes = TaskNotes.read(environment_of(task))
    if state == "completed":
        return finished_task(pool, job, task, notes, repository)
    about = task.get("executionInfo") or {}
    return TaskState(
        task_id=task["id"],
        pool=pool,
        batch_job=job,
        state="waiting" if state == "active" else "running",
        created_at=created_at(task),
        started_at=_moment(about.get("startTime")),
        max_hours=_hours((task.get("constraints") or {}).get("maxWallClockTime")),
        slots=task.get("requiredSlots") or 1,
        runs_before=_runs_before(about),
        notes=notes,
        repository=repository,
        profile=profile_of(task),
    )


def finished_task(pool: str, job: str, task: Mapping[str, Any], notes: TaskNotes, repository: str) -> TaskState:
    """Return what Batch says of a task that is over.

    Args:
        pool: the task's pool.
        job: its Batch job.
        task: Batch's answer.
        notes: what is known about its runner.
        repository: the repository that it was started for.
    """
    about = task.get("executionInfo") or {}
    failure = about.get("failureInfo")
    return TaskState.quickly(
        task_id=task["id"],
        pool=pool,
        state="finished",
        created_at=created_at(task),
        started_at=_moment(about.get("startTime")),
        ended_at=_moment(about.get("endTime") or task.get("stateTransitionTime")),
        exit_code=about.get("exitCode"),
        ended_by_request=failure is not None and failure.get("code") == ENDED,
        failure=failure_text(failure) if failure else None,
        slots=task.get("requiredSlots") or 1,
        runs_before=_runs_before(about),
        notes=notes,
        batch_job=job,
        repository=repository,
        profile=profile_of(task),
    )


def environment_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Return a task's environment, which holds secrets."""
    settings = task.get("environmentSettings") or ()
    return {setting["name"]: setting.get("value") or "" for setting in settings}


def _runs_before(about: Mapping[str, Any]) -> int:
    return int(about.get("retryCount", 0) + about.get("requeueCount", 0))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hours(duration: str | None) -> float | None:
    """Read an ISO 8601 duration of days, hours, minutes and seconds; None if there is none."""
    found = _DURATION.fullmatch(duration or "")
    return sum(float(part or 0) * hours for part, hours in zip(found.groups(), _HOURS, strict=True)) if found else None
