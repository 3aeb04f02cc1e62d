"""Runner tasks for a stand-in of Batch, and an executor that leaves them alone."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.runners.task import RunnerTask
from sandbox.batch.model import TaskRun

# A workflow job that is queued then is younger than the process and all of its settings.
SETTLED = datetime(2100, 1, 1, tzinfo=UTC)


class NoExecutor:
    """Runs nothing: a run ends when a test says so.

    Attributes:
        output: what tasks have written, by the file's name.
        runs: those that were started, and what takes note of their end.
    """

    def __init__(self) -> None:
        self.output: dict[str, bytes] = {}
        self.runs: list[tuple[TaskRun, Callable[[TaskRun, int], None]]] = []

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Take note of it."""
        self.runs.append((run, finished))

    def end(self, exit_code: int = 0) -> None:
        """End the run that was started last."""
        run, finished = self.runs[-1]
        finished(run, exit_code)

    def files(self, _task_id: str) -> Mapping[str, bytes]:
        """Return what tasks have written."""
        return self.output

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
