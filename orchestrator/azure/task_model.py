"""A runner's task as Batch has it: what is asked of the service, and how its answer is read (pure).

Source: Azure Batch service REST API 2025-06-01, Tasks.
"""

from datetime import UTC, datetime, timedelta

from azure.batch.models import (
    AutoUserScope,
    AutoUserSpecification,
    BatchTask,
    BatchTaskConstraints,
    BatchTaskContainerSettings,
    BatchTaskCreateOptions,
    BatchTaskState,
    ContainerWorkingDirectory,
    ElevationLevel,
    EnvironmentSetting,
    UserIdentity,
)

from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.azure.task_failure import ENDED, failure_text
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState

# A finished task stays to answer "done already" for as long as GitHub redelivers (3 days on github.com, 7 on GHES).
RETENTION = timedelta(days=7)


def task_options(task: RunnerTask) -> BatchTaskCreateOptions:
    """Return what Batch is asked to create for a runner."""
    by_docker = task.launch == "docker"
    environment = docker_environment(task) if by_docker else task.environment
    return BatchTaskCreateOptions(
        id=task.task_id,
        display_name=task.display_name,
        command_line=docker_command(task) if by_docker else "",  # the image's entrypoint
        container_settings=None
        if by_docker
        else BatchTaskContainerSettings(
            image_name=task.image,
            container_run_options=f"--rm {task.run_options}".strip(),
            working_directory=ContainerWorkingDirectory.CONTAINER_IMAGE_DEFAULT,
            # Without this list Batch mounts the node's whole task directory, other runners' tasks included.
            container_host_batch_bind_mounts=[],
        ),
        user_identity=UserIdentity(
            auto_user=AutoUserSpecification(
                scope=AutoUserScope.POOL,
                # Batch starts Windows containers for administrators only, and Docker obeys nobody else.
                elevation_level=ElevationLevel.ADMIN if task.os == "windows" or by_docker else ElevationLevel.NON_ADMIN,
            )
        ),
        environment_settings=[EnvironmentSetting(name=name, value=value) for name, value in environment.items()],
        constraints=BatchTaskConstraints(
            max_wall_clock_time=timedelta(hours=task.max_hours),
            retention_time=RETENTION,
            max_task_retry_count=0,  # a second run would register with a token that has expired
        ),
        required_slots=task.slots,
    )


def task_state(pool: str, job: str, task: BatchTask) -> TaskState:
    """Return what Batch says of a runner's task.

    Args:
        pool: the task's pool.
        job: its Batch job.
        task: Batch's answer.
    """
    about = task.execution_info
    limit = task.constraints.max_wall_clock_time if task.constraints else None
    environment = {setting.name: setting.value or "" for setting in task.environment_settings or ()}
    failure = about.failure_info if about else None
    finished = task.state == BatchTaskState.COMPLETED
    return TaskState(
        task_id=task.id or "",
        pool=pool,
        batch_job=job,
        state="finished" if finished else "waiting" if task.state == BatchTaskState.ACTIVE else "running",
        created_at=_utc(task.creation_time) or datetime.min.replace(tzinfo=UTC),
        started_at=_utc(about.start_time) if about else None,
        ended_at=(_utc(about.end_time) if about else None) or (_utc(task.state_transition_time) if finished else None),
        exit_code=about.exit_code if about else None,
        ended_by_request=failure is not None and failure.code == ENDED,
        failure=failure_text(failure) if failure else None,
        max_hours=limit.total_seconds() / 3600 if limit else None,
        slots=task.required_slots or 1,
        runs_before=about.retry_count + about.requeue_count if about else 0,
        notes=TaskNotes.read(environment),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
