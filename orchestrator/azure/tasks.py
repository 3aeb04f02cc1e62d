"""Runner tasks on Azure Batch: one Batch job per pool, one task per runner.

Source: Azure Batch service REST API 2025-06-01.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from azure.batch import BatchClient
from azure.batch.models import (
    AutoUserScope,
    AutoUserSpecification,
    BatchAllTasksCompleteMode,
    BatchJobConstraints,
    BatchJobCreateOptions,
    BatchPoolInfo,
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
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
from azure.core.exceptions import AzureError, ServiceResponseError, ServiceResponseTimeoutError

from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.azure.errors import ErrorCode, expecting, task_error, translating
from orchestrator.azure.paging import entries
from orchestrator.azure.transport import bounded
from orchestrator.errors import TransientError
from orchestrator.log import Log
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState, is_task_id

log = Log(__name__)

# Seconds to connect, between bytes of the answer, and for one answer in all. A delivery has 7 s in all.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 6
TOTAL_TIMEOUT = 15
# A finished task stays to answer "done already" for as long as GitHub redelivers (3 days on github.com, 7 on GHES).
RETENTION = timedelta(days=7)
# Tasks that finished within this time are listed, so that their repositories stay in view: as long as GitHub lets a job
# wait.
RECENT = timedelta(hours=24)

# The codes of "there is no such task".
GONE = ("TaskNotFound", "JobNotFound")
# The code of a task's failure when somebody ended the task.
_ENDED = "TaskEnded"

WAITING = "state eq 'active'"
_READ = ["id", "state", "creationTime", "stateTransitionTime", "executionInfo", "constraints", "environmentSettings"]


class RunnerTasks:
    """The runner tasks of one Batch account.

    Args:
        endpoint: `BatchAccountUrl`.
        credential: the account's key, or an Entra ID credential.
        read_timeout: seconds between bytes of an answer.
        total_timeout: seconds for one answer in all.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AzureNamedKeyCredential | TokenCredential,
        *,
        read_timeout: float = READ_TIMEOUT,
        total_timeout: float = TOTAL_TIMEOUT,
    ) -> None:
        self._client = BatchClient(endpoint, credential, **bounded(CONNECT_TIMEOUT, read_timeout, total_timeout))

    def add(self, task: RunnerTask) -> bool:
        """Create the task, and its pool's job where there is none yet; return False if the task exists already.

        Raises:
            TransientError: Batch does not answer, is busy, or the job is being deleted.
            UpstreamRefused: Batch will not take it.
        """
        options = _task_options(task)
        created = self._create_task(task.pool, options)
        if created is None:
            self._create_job(task.pool)
            created = self._create_task(task.pool, options)
        if created is None:
            raise TransientError(f"the Batch job {job_id(task.pool)} disappeared as soon as it was created")
        return created

    def state(self, pool: str, task_id: str) -> TaskState | None:
        """Return what is known of a task; None if there is none.

        Raises:
            UpstreamError: Batch does not tell.
        """
        with translating("look for a task"):
            task = expecting(lambda: self._client.get_task(job_id(pool), task_id, select=_READ), *GONE)
        return None if isinstance(task, ErrorCode) else _task_state(pool, task)

    def waiting(self, pool: str) -> Iterable[TaskState]:
        """Return the tasks that wait for a node, the oldest first.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        return sorted(self._list(pool, WAITING), key=lambda task: task.created_at)

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits for a node; return False if the task does not wait or does not exist.

        The task may start between the two calls. Its container then needs seconds to become a runner, so no job is
        interrupted.

        Raises:
            UpstreamError: Batch does not do it.
        """

        def end_if_waiting() -> bool:
            task = self._client.get_task(job_id(pool), task_id, select=["id", "state"])
            if task.state != BatchTaskState.ACTIVE:
                return False
            self._client.terminate_task(job_id(pool), task_id)
            return True

        with translating("end a task"):
            return expecting(end_if_waiting, *GONE, "TaskCompleted") is True

    def listed(self, pools: Iterable[str], now: datetime) -> Iterator[TaskState]:
        """List the runner tasks that wait, run or finished lately, and those that are past their retention.

        The states are listed in the order in which a task goes through them. So a task that changes its state during
        the listing is listed twice, and never missed.

        Args:
            pools: the pools to look at.
            now: the time.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        filters = (
            WAITING,
            "state eq 'running'",
            f"state eq 'completed' and stateTransitionTime ge {_date_time(now - RECENT)}",
            f"state eq 'completed' and stateTransitionTime lt {_date_time(now - RETENTION)}",
        )
        for pool in pools:
            for clause in filters:
                yield from self._list(pool, clause)

    def end(self, pool: str, task_id: str) -> None:
        """End a task, whether it waits or runs. A task that has finished, or does not exist, is no error.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with translating("end a task"):
            expecting(lambda: self._client.terminate_task(job_id(pool), task_id), *GONE, "TaskCompleted")

    def delete(self, pool: str, task_id: str) -> None:
        """Delete a task. A task that does not exist is no error.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with translating("delete a task"):
            expecting(lambda: self._client.delete_task(job_id(pool), task_id), *GONE)

    def _list(self, pool: str, clause: str) -> list[TaskState]:
        def read() -> list[TaskState]:
            tasks = self._client.list_tasks(job_id(pool), filter=clause, select=_READ)
            return [_task_state(pool, task) for task in entries(tasks) if is_task_id(task.id or "")]

        with translating("list the tasks"):
            found = expecting(read, "JobNotFound")
        return [] if isinstance(found, ErrorCode) else found  # without a job no runner was ever started on this pool

    def _create_task(self, pool: str, options: BatchTaskCreateOptions) -> bool | None:
        """Create a task; return False if it exists already, None if the job does not exist yet."""
        with translating("add a task"):
            try:
                return self._create_task_once(pool, options)
            except ServiceResponseTimeoutError:
                raise
            except ServiceResponseError:
                # A kept connection may break just as it is used again. The task's id makes a second try harmless.
                created = self._create_task_once(pool, options)
        # If the task exists, the first try created it, and only the answer was lost.
        return None if created is None else True

    def _create_task_once(self, pool: str, options: BatchTaskCreateOptions) -> bool | None:
        match expecting(
            lambda: self._client.create_task(job_id(pool), options), "TaskExists", "JobNotFound", "JobCompleted"
        ):
            case "TaskExists":
                return False
            case "JobNotFound":
                return None
            case "JobCompleted":
                raise self._replace_job(pool)
        return True

    def _replace_job(self, pool: str) -> TransientError:
        """Delete a job that somebody has ended, so that the next try creates it anew; return the error to raise now."""
        log(logging.WARNING, message="the Batch job was ended from outside; it is made anew", batch_job=job_id(pool))
        try:
            self._client.begin_delete_job(job_id(pool))
        except AzureError as error:
            return TransientError(f"the Batch job {job_id(pool)} was ended, and {task_error(error, 'delete it')}")
        return TransientError(f"the Batch job {job_id(pool)} was ended from outside and is being made anew")

    def _create_job(self, pool: str) -> None:
        options = BatchJobCreateOptions(
            id=job_id(pool),
            display_name=f"GitHub Actions runners on {pool}",
            pool_info=BatchPoolInfo(pool_id=pool),
            all_tasks_complete_mode=BatchAllTasksCompleteMode.NO_ACTION,
            constraints=BatchJobConstraints(max_task_retry_count=0),
        )
        with translating("create a job"):
            # If the job exists, another delivery was faster.
            exists = expecting(lambda: self._client.create_job(options), "JobExists")
        if not exists:
            log(logging.INFO, message="created the Batch job", batch_job=job_id(pool))


def _task_options(task: RunnerTask) -> BatchTaskCreateOptions:
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


def _task_state(pool: str, task: BatchTask) -> TaskState:
    about = task.execution_info
    limit = task.constraints.max_wall_clock_time if task.constraints else None
    environment = {setting.name: setting.value or "" for setting in task.environment_settings or ()}
    failure = about.failure_info if about else None
    finished = task.state == BatchTaskState.COMPLETED
    return TaskState(
        task_id=task.id or "",
        pool=pool,
        state="finished" if finished else "waiting" if task.state == BatchTaskState.ACTIVE else "running",
        created_at=_utc(task.creation_time) or datetime.min.replace(tzinfo=UTC),
        started_at=_utc(about.start_time) if about else None,
        ended_at=(_utc(about.end_time) if about else None) or (_utc(task.state_transition_time) if finished else None),
        exit_code=about.exit_code if about else None,
        ended_by_request=failure is not None and failure.code == _ENDED,
        max_hours=limit.total_seconds() / 3600 if limit else None,
        notes=TaskNotes.read(environment),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _date_time(moment: datetime) -> str:
    """A moment as Batch's OData filters take it."""
    return f"DateTime'{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
