"""Runner tasks on Azure Batch: one Batch job per pool, one task per runner.

Source: Azure Batch service REST API 2025-06-01.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import requests
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
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from orchestrator.azure.docker_launch import docker_command, docker_environment
from orchestrator.errors import TransientError, UpstreamError, UpstreamRefused
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import RunnerTask, TaskState, is_task_id

logger = logging.getLogger(__name__)

# Seconds to connect, and between bytes of the answer. A delivery has 7 s in all.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 6
# As many connections are kept as the Functions worker may have threads.
CONNECTIONS = 32
# A finished task stays to answer "done already" for as long as GitHub redelivers (3 days on github.com, 7 on GHES).
RETENTION = timedelta(days=7)
# How long a finished task tells of the repository that it was for: as long as GitHub lets a job wait.
RECENT = timedelta(hours=24)

# The codes of "there is no such task".
GONE = ("TaskNotFound", "JobNotFound")
# What a task's failure is called when somebody ended it.
_ENDED = "TaskEnded"

WAITING = "state eq 'active'"
_READ = ["id", "state", "creationTime", "stateTransitionTime", "executionInfo", "constraints", "environmentSettings"]


def job_id(pool: str) -> str:
    """Return the id of the Batch job that holds a pool's runner tasks."""
    return f"github-runner-{pool}"


class RunnerTasks:
    """The runner tasks of one Batch account.

    Args:
        endpoint: `BatchAccountUrl`.
        credential: the account's key, or an Entra ID credential.
    """

    def __init__(self, endpoint: str, credential: AzureNamedKeyCredential | TokenCredential) -> None:
        session = requests.Session()
        adapter = HTTPAdapter(pool_maxsize=CONNECTIONS)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        transport = RequestsTransport(
            session=session, session_owner=False, connection_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT
        )
        # The queue repeats what failed; the SDK's own retries would sleep through the delivery's deadline.
        self._client = BatchClient(endpoint, credential, transport=transport, retry_total=0)

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
        found = None
        with _asked_to("look for a task", *GONE):
            found = _task_state(pool, self._client.get_task(job_id(pool), task_id, select=_READ))
        return found  # noqa: RET504 - the block may have ended before

    def waiting(self, pool: str) -> Iterable[TaskState]:
        """Return the tasks that wait for a node, the oldest first.

        Raises:
            UpstreamError: Batch does not tell, or not all.
        """
        return sorted(self._list(pool, WAITING), key=lambda task: task.created_at)

    def end_waiting(self, pool: str, task_id: str) -> bool:
        """End a task that still waits for a node; return False if there is none that does.

        Between the look and the end the task may start. Its container then needs seconds to become a runner, so no job
        is hurt.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with _asked_to("end a task", *GONE, "TaskCompleted"):
            task = self._client.get_task(job_id(pool), task_id, select=["id", "state"])
            if task.state == BatchTaskState.ACTIVE:
                self._client.terminate_task(job_id(pool), task_id)
                return True
        return False

    def listed(self, pools: Iterable[str], now: datetime) -> Iterator[TaskState]:
        """List the runner tasks that live or ended lately, and those that are past their retention.

        Forward through a task's states, so that one which moves on meanwhile is seen twice rather than never.

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
        """End a task, whether it waits or runs; one that is over or gone already is fine.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with _asked_to("end a task", *GONE, "TaskCompleted"):
            self._client.terminate_task(job_id(pool), task_id)

    def delete(self, pool: str, task_id: str) -> None:
        """Forget a task; one that is gone already is fine.

        Raises:
            UpstreamError: Batch does not do it.
        """
        with _asked_to("delete a task", *GONE):
            self._client.delete_task(job_id(pool), task_id)

    def _list(self, pool: str, clause: str) -> Iterator[TaskState]:
        with _asked_to("list the tasks", "JobNotFound"):  # then no runner was ever started on this pool
            for task in self._client.list_tasks(job_id(pool), filter=clause, select=_READ):
                if is_task_id(task.id or ""):
                    yield _task_state(pool, task)

    def _create_task(self, pool: str, options: BatchTaskCreateOptions) -> bool | None:
        """Create a task; return False if it exists already, None if the job does not exist yet."""
        lost_answer = False
        for last_try in (False, True):
            try:
                self._client.create_task(job_id(pool), options)
            except HttpResponseError as error:
                if _code(error) == "TaskExists":
                    return lost_answer  # then it is the one that we created a moment ago
                if _code(error) == "JobNotFound":
                    return None
                if _code(error) == "JobCompleted":
                    raise self._replace_job(pool) from None
                raise _understood(error, "add a task") from None
            except ServiceResponseError as error:
                # A kept connection may break just as it is used again. The task's id makes a second try harmless.
                if last_try or isinstance(error, ServiceResponseTimeoutError):
                    raise _understood(error, "add a task") from None
                lost_answer = True
            except AzureError as error:
                raise _understood(error, "add a task") from None
            else:
                return True
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _replace_job(self, pool: str) -> TransientError:
        """Delete a job that somebody has ended, so that the next try creates it anew; return the trouble till then."""
        logger.warning("the Batch job %s was ended from outside; it is made anew", job_id(pool))
        try:
            self._client.begin_delete_job(job_id(pool))
        except AzureError as error:
            return TransientError(f"the Batch job {job_id(pool)} was ended, and {_understood(error, 'delete it')}")
        return TransientError(f"the Batch job {job_id(pool)} was ended from outside and is being made anew")

    def _create_job(self, pool: str) -> None:
        options = BatchJobCreateOptions(
            id=job_id(pool),
            display_name=f"GitHub Actions runners on {pool}",
            pool_info=BatchPoolInfo(pool_id=pool),
            all_tasks_complete_mode=BatchAllTasksCompleteMode.NO_ACTION,
            constraints=BatchJobConstraints(max_task_retry_count=0),
        )
        with _asked_to("create a job", "JobExists"):  # another delivery was faster
            self._client.create_job(options)
            logger.info("created the Batch job %s", job_id(pool))


@contextmanager
def _asked_to(what: str, *fine: str) -> Iterator[None]:
    """Understand what Batch answers. An error of one of these codes ends the block and is none."""
    try:
        yield
    except AzureError as error:
        if not isinstance(error, HttpResponseError) or _code(error) not in fine:
            raise _understood(error, what) from None


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


def _code(error: HttpResponseError) -> str:
    return (error.error.code if error.error else None) or ""


def _understood(error: AzureError, what: str) -> UpstreamError:
    """Tell trouble that passes from trouble that stays."""
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return TransientError(f"Batch does not answer ({what}: {type(error).__name__})")
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if not isinstance(error, HttpResponseError) or status is None:
        reason = "no Entra ID token" if isinstance(error, ClientAuthenticationError) else type(error).__name__
        return TransientError(f"Batch cannot be asked to {what}: {reason}")
    answer = f"{status} {_code(error)}".strip()
    if status in {401, 403}:
        return UpstreamRefused(
            f"Batch refused to {what}: {answer}: is BatchAccountKey right, or has the identity a role on the account?"
        )
    # A conflict is a state that passes: a job being deleted or terminated, a quota that is reached.
    if status in {408, 409, 429} or status >= 500:  # noqa: PLR2004 - HTTP
        return TransientError(f"Batch cannot {what} now: {answer}", retry_after=_retry_after(error))
    return UpstreamRefused(f"Batch refused to {what}: {answer}{_details(error)}")


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", {})
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdecimal() else None


def _details(error: HttpResponseError) -> str:
    """The first line of Batch's own message; the others are request ids."""
    message = (error.error.message if error.error else "") or ""
    return f" ({message.splitlines()[0][:200]})" if message else ""
