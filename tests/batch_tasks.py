"""Runner tasks for a stand-in of Batch, and an executor that leaves them alone."""

from collections.abc import Callable
from typing import Any

from orchestrator.runners.task import RunnerTask
from sandbox.batch.model import TaskRun


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
        "display_name": "acme/app run 1 job 1 attempt 1",
        "image": "acme.azurecr.io/githubactions-runner:x",
        "os": "linux",
        "run_options": "",
        "slots": 1,
        "max_hours": 7,
        "environment": {"GHR_TOKEN": "s3cret"},
    }
    return RunnerTask(**values | changes)
