"""Carries out runs of tasks: the runner images' own entrypoint as a process, or an image as a container.

Each task has a folder with its `stdout.txt` and `stderr.txt`, and with a runner distribution that plays actions/runner.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sandbox.batch.docker import container_environment
from sandbox.batch.model import TaskRun

ROOT = Path(__file__).parents[2]
ENTRYPOINT = ROOT / "runner-images" / "entrypoint"
RUNNER = ROOT / "sandbox" / "runner.py"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class Executor(Protocol):
    """What runs tasks."""

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Begin a run; call `finished` with its exit code when it has ended by itself."""

    def stop(self, run: TaskRun) -> None:
        """End a run that was started."""

    def files(self, task_id: str) -> Mapping[str, bytes]:
        """Return what a task has written, by name: `stdout.txt` and `stderr.txt`."""

    def close(self) -> None:
        """End everything."""


class ProcessExecutor:
    """Runs each task as a process: the entrypoint of the runner images, over a fake distribution of the runner.

    Root stays root there, if these are its processes: a developer's machine has no user for runners.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="batch-")
        self._lock = threading.Lock()
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._waiters: list[threading.Thread] = []

    def files(self, task_id: str) -> Mapping[str, bytes]:
        """Return what a task has written, by name."""
        return {path.name: path.read_bytes() for path in (Path(self._folder.name) / task_id).glob("std*.txt")}

    def start(self, run: TaskRun, finished: Callable[[TaskRun, int], None]) -> None:
        """Start a process for the run."""
        folder = Path(self._folder.name) / run.task_id
        folder.mkdir(exist_ok=True)
        given = run.environment if run.image else container_environment(run.command_line, run.environment)
        environment = {**given, **fake_runner(run), "AZ_BATCH_TASK_WORKING_DIR": str(folder)}
        command, own = self.command(run, folder, environment)
        with (folder / "stdout.txt").open("ab") as stdout, (folder / "stderr.txt").open("ab") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, env=own, cwd=folder, stdout=stdout, stderr=stderr
            )
        waiter = threading.Thread(target=self._wait, args=(run, process, finished), daemon=True)
        with self._lock:
            self._processes[run.task_id, run.attempt] = process
            self._waiters.append(waiter)
        waiter.start()

    def command(
        self, run: TaskRun, folder: Path, environment: Mapping[str, str]
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """Return the command of a run, and the environment to start it with."""
        home = folder / f"runner-{run.attempt}"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "Runner.Listener").symlink_to(RUNNER)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return (
            [sys.executable, "-I", "-S", str(ENTRYPOINT)],
            {"PATH": path, "GHR_HOME": str(home), "GHR_USER": "root", **environment},
        )

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


def fake_runner(run: TaskRun) -> dict[str, str]:
    """Return what the fake runner must know beside what a real one is told."""
    return {
        "SANDBOX_RUNNER_OS": "Windows" if run.os == "windows" else "Linux",
        "SANDBOX_GITHUB_URL": run.environment.get("GHR_URL", ""),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
