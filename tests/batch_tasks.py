"""Runner tasks for a stand-in of Batch, and an executor that leaves them alone."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from orchestrator.runners.task import RunnerTask
from sandbox.batch.model import TaskRun

# A workflow job that is queued then is younger than the process and all of its settings.
SETTLED = datetime(2100, 1, 1, tzinfo=UTC)


class NoExecutor:
    """Runs nothing."""

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Do nothing."""

    def stop(self, run: TaskRun) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def task(**changes: Any) -> RunnerTask:
    """Return a runner's task."""
    values: dict[str, Any] = {
        "task_id": "runner-1-1",
        "pool": "linux",
        "account": "acme",
        "display_name": "acme/app run 1 job 1 attempt 1",
        "image": "acme.azurecr.io/githubactions-runner:x",
        "os": "linux",
        "run_options": "",
        "slots": 1,
        "max_hours": 7,
        "environment": {"GHR_TOKEN": "s3cret"},
        "queued_at": SETTLED,
    }
    return RunnerTask(**values | changes)
