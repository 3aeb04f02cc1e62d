"""Starts the host as a process of its own, and ends it."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
MASTER_KEY = "master"
# The host's own settings: function keys, separated by commas, and the master key.
KEYS = "SANDBOX_FUNCTION_KEYS"
MASTER = "SANDBOX_MASTER_KEY"
# What a process needs of the machine; everything else comes from the app settings.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "COVERAGE_PROCESS_START")


class HostFailed(Exception):
    """The host did not become ready; the message is its own."""


class FunctionsHost:
    """A host with one app; use it as a context manager.

    Args:
        app: the folder of `function_app.py`.
        settings: the app settings.
        keys: the function keys.
        front_end: whether it adds App Service's headers to each request.
        port: 0 for any.
        max_polling_interval: seconds between two looks at an empty queue, at most; None for host.json's.
        patience: seconds until a host that is not ready is ended.

    Attributes:
        url: its address, once started.
        functions: the names of the app's functions, once started.
    """

    def __init__(
        self,
        app: Path,
        settings: Mapping[str, str],
        *,
        keys: Sequence[str] = (),
        front_end: bool = False,
        port: int = 0,
        max_polling_interval: float | None = None,
        patience: float = 30.0,
    ) -> None:
        command = [sys.executable, "-m", "sandbox.functions", "--app", str(app), "--port", str(port)]
        command += ["--front-end"] if front_end else []
        if max_polling_interval is not None:
            command += ["--max-polling-interval", str(max_polling_interval)]
        self._command = command
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        opened_by = {KEYS: ",".join(keys), MASTER: MASTER_KEY}  # not as arguments, which everybody on the machine sees
        self._environment = {**inherited, "PYTHONPATH": str(ROOT), **opened_by, **settings}
        self._patience = patience
        self._lines: list[str] = []
        self.url = ""
        self.functions: tuple[str, ...] = ()

    @property
    def logs(self) -> str:
        """What the host and its functions have logged so far."""
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def start(self) -> Self:
        """Start the host; return when it answers.

        Raises:
            HostFailed: The app is broken, the process ended, or it was not ready in time.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command, env=self._environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        overdue = threading.Timer(self._patience, self._process.kill)
        overdue.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        overdue.cancel()
        ready: dict[str, Any] = json.loads(line) if line else {"ready": False, "error": ""}
        if not ready["ready"]:
            self._process.wait()  # it is ending by itself, or was killed
            self.stop()
            raise HostFailed(ready["error"] or self.logs or f"not ready after {self._patience} s")
        self.url = ready["url"]
        self.functions = tuple(ready["functions"])
        return self

    def run(self, function: str) -> int:
        """Start a timer function by hand; return the status of the answer (202)."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}/admin/functions/{function}", b"{}",
            {"x-functions-key": MASTER_KEY, "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own address
            return int(response.status)

    def stop(self) -> int:
        """End the process; return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self._lines.append(line)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
