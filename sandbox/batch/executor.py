"""Carries out runs of tasks as processes, each in a folder of its own with its `stdout.txt`."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sandbox.batch.docker import container_environment
from sandbox.batch.model import TaskRun

ROOT = Path(__file__).parents[2]
GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class Executor(Protocol):
    """What runs tasks."""

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Begin a run; call `finished` with its exit code when it has ended by itself."""

    def stop(self, run: TaskRun) -> None:
        """End a run that was started."""

    def close(self) -> None:
        """End everything."""


class ProcessExecutor:
    """Runs each task as a process that plays the runner container.

    Args:
        command: the process; it is given the container's environment and little else.
    """

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "sandbox.runner")) -> None:
        self._command = list(command)
        self._folder = tempfile.TemporaryDirectory(prefix="batch-")
        self._lock = threading.Lock()
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._waiters: list[threading.Thread] = []

    def stdout(self, task_id: str) -> Path:
        """Return where a task's output is written."""
        return Path(self._folder.name) / task_id / "stdout.txt"

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Start a process for the run."""
        output = self.stdout(run.task_id)
        output.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "AZ_BATCH_TASK_WORKING_DIR": str(output.parent),
            **(run.environment if run.image else container_environment(run.command_line, run.environment)),
        }
        system = ["--os", "Windows" if run.os == "windows" else "Linux"]
        with output.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*self._command, *system], env=environment, cwd=output.parent, stdout=stream, stderr=stream
            )
        waiter = threading.Thread(target=self._wait, args=(run, process, finished), daemon=True)
        with self._lock:
            self._processes[run.task_id, run.attempt] = process
            self._waiters.append(waiter)
        waiter.start()

    def stop(self, run: TaskRun) -> None:
        """Ask the process to end, and make it after a while."""
        with self._lock:
            process = self._processes.get((run.task_id, run.attempt))
        if process is not None:
            _end(process)

    def close(self) -> None:
        """End every process and remove the folders."""
        with self._lock:
            processes, waiters = list(self._processes.values()), list(self._waiters)
        for process in processes:
            process.terminate()
        for process in processes:
            _end(process)
        for waiter in waiters:
            waiter.join()
        self._folder.cleanup()

    def _wait(self, run: TaskRun, process: subprocess.Popen[bytes], finished: Callable[[TaskRun, int], None]) -> None:
        code = process.wait()
        with self._lock:
            self._processes.pop((run.task_id, run.attempt), None)
        finished(run, code if code >= 0 else 128 - code)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
