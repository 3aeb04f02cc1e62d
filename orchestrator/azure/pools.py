"""Pools on Azure Batch: their size, and who decides on it.

A pool's note is a Batch job that never has a task: making it is atomic, and its environment holds the formula. So the
account itself remembers, and no other store is needed.

Source: Azure Batch service REST API 2025-06-01.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from azure.batch import BatchClient
from azure.batch.models import (
    AllocationState,
    BatchJobCreateOptions,
    BatchPoolEnableAutoScaleOptions,
    BatchPoolInfo,
    BatchPoolResizeOptions,
    EnvironmentSetting,
)
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError

from orchestrator.azure.tasks import job_id
from orchestrator.errors import TransientError
from orchestrator.pool_boost import Autoscale, Note, PoolState

# Seconds to connect, and between bytes of the answer. Nobody waits for a boost.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 20
# Seconds between the looks at a resize that the SDK takes on its own, until it is done. Nobody asks it for the outcome.
LOOK_INTERVAL = 60

_FORMULA = "AUTOSCALE_FORMULA"
_INTERVAL = "AUTOSCALE_INTERVAL_SECONDS"


def note_id(pool: str) -> str:
    """Return the id of the Batch job that is a pool's note."""
    return f"github-boost-{pool}"


class PoolClient:
    """The pools of one Batch account.

    The identity needs *Azure Batch Data Contributor* on the account: what *Azure Batch Job Submitter* lacks is the data
    action `Microsoft.Batch/batchAccounts/pools/write`.

    Args:
        endpoint: `BatchAccountUrl`.
        credential: the account's key, or an Entra ID credential.
    """

    def __init__(self, endpoint: str, credential: AzureNamedKeyCredential | TokenCredential) -> None:
        # The next look repeats what failed.
        self._client = BatchClient(
            endpoint, credential, retry_total=0, connection_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT
        )

    def look(self, pool: str) -> PoolState:
        """Return how the pool is."""
        with _asked_to("look at a pool"):
            found = self._client.get_pool(pool)
        formula = found.auto_scale_formula if found.enable_auto_scale else None
        interval = found.auto_scale_evaluation_interval or timedelta(minutes=15)  # the service's own default
        return PoolState(
            steady=found.allocation_state == AllocationState.STEADY,
            dedicated=found.target_dedicated_nodes or 0,
            spot=found.target_low_priority_nodes or 0,
            slots_per_node=found.task_slots_per_node or 1,
            autoscale=Autoscale(formula, interval) if formula is not None else None,
        )

    def slots_wanted(self, pool: str) -> int:
        """Return how many slots the pool's waiting and running runner tasks take."""
        with _asked_to("count tasks"):
            try:
                counts = self._client.get_job_task_counts(job_id(pool)).task_slot_counts
            except HttpResponseError as error:
                if _code(error) == "JobNotFound":  # the pool never had a runner
                    return 0
                raise
        return counts.active + counts.running

    def write_note(self, pool: str, autoscale: Autoscale) -> bool:
        """Write the pool's note; return False if there is one already."""
        options = BatchJobCreateOptions(
            id=note_id(pool),
            display_name=f"{pool} is being enlarged; this job remembers its autoscale formula",
            pool_info=BatchPoolInfo(pool_id=pool),
            common_environment_settings=[
                EnvironmentSetting(name=_FORMULA, value=autoscale.formula),
                EnvironmentSetting(name=_INTERVAL, value=f"{autoscale.interval.total_seconds():.0f}"),
            ],
        )
        with _asked_to("write a note"):
            try:
                self._client.create_job(options)
            except HttpResponseError as error:
                if _code(error) in {"JobExists", "JobBeingDeleted"}:
                    return False
                raise
        return True

    def read_note(self, pool: str) -> Note | None:
        """Return the pool's note, None if there is none."""
        with _asked_to("read a note"):
            try:
                job = self._client.get_job(note_id(pool))
            except HttpResponseError as error:
                if _code(error) == "JobNotFound":
                    return None
                raise
        values = {setting.name: setting.value or "" for setting in job.common_environment_settings or ()}
        autoscale = Autoscale(values[_FORMULA], timedelta(seconds=float(values[_INTERVAL])))
        return Note(autoscale, job.creation_time, job.etag)

    def forget(self, pool: str, note: Note) -> None:
        """Take this note away; one that was written since stays."""
        with _asked_to("forget a note"):
            try:
                self._client.begin_delete_job(
                    note_id(pool), etag=note.version, match_condition=MatchConditions.IfNotModified
                )
            except HttpResponseError as error:
                if _code(error) not in {"JobNotFound", "JobBeingDeleted", "ConditionNotMet"}:
                    raise

    def disable_autoscale(self, pool: str) -> None:
        """Switch autoscale off; the pool keeps its size."""
        with _asked_to("switch autoscale off"):
            self._client.disable_pool_auto_scale(pool)

    def resize(self, pool: str, dedicated: int, spot: int) -> None:
        """Give the pool new targets."""
        with _asked_to("resize a pool"):
            self._client.begin_resize_pool(
                pool,
                BatchPoolResizeOptions(target_dedicated_nodes=dedicated, target_low_priority_nodes=spot),
                polling_interval=LOOK_INTERVAL,
            )

    def enable_autoscale(self, pool: str, autoscale: Autoscale) -> None:
        """Switch autoscale on."""
        with _asked_to("switch autoscale on"):
            self._client.enable_pool_auto_scale(
                pool,
                BatchPoolEnableAutoScaleOptions(
                    auto_scale_formula=autoscale.formula, auto_scale_evaluation_interval=autoscale.interval
                ),
            )


@contextmanager
def _asked_to(what: str) -> Iterator[None]:
    """Understand whatever Batch answers; the next look may succeed, or find that there is nothing left to do."""
    try:
        yield
    except HttpResponseError as error:
        hint = ": the identity needs Azure Batch Data Contributor" if error.status_code in {401, 403} else ""
        raise TransientError(f"Batch does not {what}: {error.status_code} {_code(error)}{hint}") from None
    except AzureError as error:
        raise TransientError(f"Batch does not answer ({what}: {type(error).__name__})") from None


def _code(error: HttpResponseError) -> str:
    return (error.error.code if error.error else None) or ""
