"""The pools of a Batch account: their size, and whether a formula or the orchestrator decides on it.

A pool's autoscale formula is saved in a note: a Batch job without tasks, whose environment holds the formula. Batch
creates a job of one id only once, so only one process can write the note. No other store is needed.

Source: Azure Batch service REST API 2025-06-01.
"""

from datetime import timedelta

from azure.batch.models import (
    AllocationState,
    BatchJobCreateOptions,
    BatchPoolEnableAutoScaleOptions,
    BatchPoolInfo,
    BatchPoolResizeOptions,
    EnvironmentSetting,
)
from azure.core import MatchConditions

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import list_jobs, note_id
from orchestrator.azure.errors import ErrorCode, expecting, pool_error, translating
from orchestrator.azure.transport import TimeOuts
from orchestrator.pool_boost import Autoscale, PoolState, SavedAutoscale

# No delivery waits for a boost, and its next step repeats what failed.
TIME_OUTS = TimeOuts(connect=3, read=20, total=30)
# Seconds between the SDK's own polls of a resize, in a thread of its own. Nobody reads the outcome.
POLLING_INTERVAL = 60

_FORMULA = "AUTOSCALE_FORMULA"
_INTERVAL = "AUTOSCALE_INTERVAL_SECONDS"


class PoolClient:
    """The pools of one Batch account.

    The identity needs *Azure Batch Data Contributor* on the account: what *Azure Batch Job Submitter* lacks is the
    action `Microsoft.Batch/batchAccounts/pools/write`.

    Args:
        account: the Batch account.
    """

    def __init__(self, account: BatchAccount) -> None:
        self._client = account.client(TIME_OUTS)

    def get(self, pool: str) -> PoolState:
        """Return the pool's state."""
        with translating("look at a pool", pool_error):
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
        """Return how many slots the pool's waiting and running runner tasks take, in all of its Batch jobs."""
        with translating("count tasks", pool_error):
            return sum(self._slots_wanted(job) for job in list_jobs(self._client).get(pool.lower(), ()))

    def _slots_wanted(self, job: str) -> int:
        counts = expecting(lambda: self._client.get_job_task_counts(job), "JobNotFound")
        if isinstance(counts, ErrorCode):  # it was deleted since it was listed
            return 0
        return counts.task_slot_counts.active + counts.task_slot_counts.running

    def write_note(self, pool: str, autoscale: Autoscale) -> bool:
        """Save the pool's formula in a note; return False if the pool has a note already."""
        options = BatchJobCreateOptions(
            id=note_id(pool),
            display_name=f"{pool} is being enlarged; this job remembers its autoscale formula",
            pool_info=BatchPoolInfo(pool_id=pool),
            common_environment_settings=[
                EnvironmentSetting(name=_FORMULA, value=autoscale.formula),
                EnvironmentSetting(name=_INTERVAL, value=f"{autoscale.interval.total_seconds():.0f}"),
            ],
        )
        with translating("write a note", pool_error):
            exists = expecting(lambda: self._client.create_job(options), "JobExists", "JobBeingDeleted")
        return not exists

    def read_note(self, pool: str) -> SavedAutoscale | None:
        """Return what the pool's note saves, None if the pool has no note."""
        with translating("read a note", pool_error):
            job = expecting(lambda: self._client.get_job(note_id(pool)), "JobNotFound")
            if isinstance(job, ErrorCode):
                return None
            values = {setting.name: setting.value or "" for setting in job.common_environment_settings or ()}
            autoscale = Autoscale(values[_FORMULA], timedelta(seconds=float(values[_INTERVAL])))
            return SavedAutoscale(autoscale, job.creation_time, job.etag)

    def delete_note(self, pool: str, saved: SavedAutoscale) -> None:
        """Delete the note that was read; a note that was written since then stays."""
        with translating("forget a note", pool_error):
            expecting(
                lambda: self._client.begin_delete_job(
                    note_id(pool), etag=saved.version, match_condition=MatchConditions.IfNotModified
                ),
                "JobNotFound", "JobBeingDeleted", "ConditionNotMet",
            )  # fmt: skip

    def disable_autoscale(self, pool: str) -> None:
        """Switch autoscale off; the pool keeps its size."""
        with translating("switch autoscale off", pool_error):
            self._client.disable_pool_auto_scale(pool)

    def resize(self, pool: str, dedicated: int, spot: int) -> None:
        """Set the pool's target sizes."""
        with translating("resize a pool", pool_error):
            self._client.begin_resize_pool(
                pool,
                BatchPoolResizeOptions(target_dedicated_nodes=dedicated, target_low_priority_nodes=spot),
                polling_interval=POLLING_INTERVAL,
            )

    def enable_autoscale(self, pool: str, autoscale: Autoscale) -> None:
        """Switch autoscale on."""
        with translating("switch autoscale on", pool_error):
            self._client.enable_pool_auto_scale(
                pool,
                BatchPoolEnableAutoScaleOptions(
                    auto_scale_formula=autoscale.formula, auto_scale_evaluation_interval=autoscale.interval
                ),
            )
