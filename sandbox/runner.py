"""Plays the runner container: `python -m sandbox.runner` registers at the GitHub stand-in, takes one job and leaves.

It reads the environment that the real image reads (`GHR_…`) and ends with the same exit codes. Standard library only,
because one process starts per job.
"""

import argparse
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit

JOB_RAN = 0
VERSION_REFUSED = 7
NO_JOB = 69
NOT_REGISTERED = 75
BAD_SETTINGS = 78

LISTEN = 5.0
"""Longest wait for work in one request, in seconds."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Ended(Exception):
    """The runner is over.

    Attributes:
        code: The exit code of the process.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """What the container is told."""

    url: str
    name: str
    labels: tuple[str, ...]
    token: str | None = field(repr=False)
    jitconfig: str | None = field(repr=False)
    group: str | None
    ephemeral: bool
    idle_s: float

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings from an environment.

        Raises:
            Ended: 78, one of them is missing or malformed.
        """
        get = environment.get
        url, token, jitconfig = get("GHR_URL", ""), get("GHR_TOKEN"), get("GHR_JITCONFIG")
        if urlsplit(url).scheme not in ("http", "https"):
            raise Ended(BAD_SETTINGS, "GHR_URL is not an address")
        if not token and not jitconfig:
            raise Ended(BAD_SETTINGS, "neither GHR_TOKEN nor GHR_JITCONFIG is set")
        try:
            idle_s = 60 * float(get("GHR_IDLE_MINUTES", "10"))
        except ValueError:
            raise Ended(BAD_SETTINGS, "GHR_IDLE_MINUTES is not a number") from None
        return cls(
            url=url,
            name=get("GHR_NAME") or f"runner-{os.getpid()}",
            labels=tuple(label.strip() for label in get("GHR_LABELS", "").split(",") if label.strip()),
            token=token,
            jitconfig=jitconfig,
            group=get("GHR_GROUP") or None,
            ephemeral=get("GHR_EPHEMERAL", "true").lower() in ("1", "true", "yes"),
            idle_s=idle_s,
        )


class Runner:
    """One registration at the stand-in, from its first to its last request."""

    def __init__(self, settings: Settings, system: str) -> None:
        self._settings = settings
        self._system = system
        parts = urlsplit(settings.url)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._secret = ""
        self._working = False

    def register(self) -> None:
        """Register (unless a JIT configuration did that already) and open the session.

        Raises:
            Ended: 7 when the version is refused, 75 for every other trouble.
        """
        own = self._settings
        try:
            if own.jitconfig:
                session = self._call("POST", "connect", {"jitconfig": own.jitconfig})
            else:
                self._secret = self._call(
                    "POST", "register",
                    {"token": own.token, "url": own.url, "name": own.name, "labels": own.labels, "group": own.group,
                     "ephemeral": own.ephemeral, "replace": True, "os": self._system},
                )["secret"]  # fmt: skip
                session = self._call("POST", "connect", {})
        except urllib.error.HTTPError as error:
            if error.code == 403:  # noqa: PLR2004 - forbidden
                raise Ended(VERSION_REFUSED, "GitHub refuses this version") from None
            raise Ended(NOT_REGISTERED, f"registration failed with status {error.code}") from None
        except OSError:
            raise Ended(NOT_REGISTERED, "GitHub does not answer") from None
        self._secret = session["secret"]
        print(f"listening for jobs as {session['name']}", flush=True)

    def work(self) -> None:
        """Wait for a job and do it; return when it is done.

        Raises:
            Ended: 69 when none came in time.
        """
        deadline = time.monotonic() + self._settings.idle_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self.leave()
                raise Ended(NO_JOB, "no job came")
            job = self._ask(min(LISTEN, left))
            if job is not None and self._do(job):
                return

    def leave(self) -> None:
        """Take the registration back, where GitHub lets a runner do that."""
        if self._secret and not self._settings.jitconfig:
            try:
                self._call("POST", "remove", {})
            except OSError as error:
                print(f"could not remove the registration: {error}", flush=True)

    def stop(self, number: int, _frame: FrameType | None) -> NoReturn:
        """End at a signal: give back the registration, or the job as cancelled."""
        if not self._working:
            self.leave()
        sys.exit(128 + number)

    def _ask(self, wait: float) -> dict[str, Any] | None:
        try:
            return self._call("GET", f"message?wait={wait:.3f}", None).get("job")
        except urllib.error.HTTPError as error:
            if error.code == 401:  # noqa: PLR2004 - the registration is gone
                raise Ended(NO_JOB, "the registration was removed") from None
        except OSError:
            pass  # the line broke: ask again
        time.sleep(0.1)
        return None

    def _do(self, job: Mapping[str, Any]) -> bool:
        path = f"jobs/{job['id']}"
        try:
            self._call("POST", f"{path}/started", {})
        except OSError as error:  # taken back meanwhile
            print(f"job {job['id']} is no longer ours: {error}", flush=True)
            return False
        self._working = True
        print(f"running job {job['name']}", flush=True)
        time.sleep(job["duration_s"])
        self._call("POST", f"{path}/finished", {"conclusion": "success"})
        print(f"job {job['name']} completed", flush=True)
        self._working = False
        return True

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "actions-runner"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{self._base}/_runner/{path}", data, headers, method=method
        )
        with _DIRECT.open(request, timeout=LISTEN + 10) as response:
            text = response.read()
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer


def main(arguments: list[str] | None = None) -> int:
    """Play one runner; return the exit code."""
    parser = argparse.ArgumentParser(description="play the runner container")
    parser.add_argument("--os", default="Linux", help="the operating system it claims to run on")
    options = parser.parse_args(arguments)
    try:
        runner = Runner(Settings.read(os.environ), options.os)
        signal.signal(signal.SIGTERM, runner.stop)
        signal.signal(signal.SIGINT, runner.stop)
        runner.register()
        runner.work()
    except Ended as ended:
        print(ended, flush=True)
        return ended.code
    return JOB_RAN


if __name__ == "__main__":
    sys.exit(main())
