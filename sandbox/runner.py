#!/usr/bin/env -S python3 -IS
"""Plays `bin/Runner.Listener` of actions/runner: `configure`, `run` and `remove`, against the GitHub stand-in.

The runner images' entrypoint starts it where the real program would be. What the entrypoint relies on is as there: the
files, the inputs in the environment, exit codes, signals and hooks. Standard library only and few modules of that, as
several of these start for each job; it runs on whatever Python 3 an image has, so it imports nothing of the sandbox.

A step named `run: COMMAND` runs that command; any other takes its share of the job's duration.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

VERSION = "2.338.0"

# Constants.Runner.ReturnCode
SUCCESS = 0
TERMINATED = 1
RETRYABLE = 2

INPUT = "ACTIONS_RUNNER_INPUT_"
# Longest wait for work in one request, in seconds.
LISTEN = 5.0

_UNAUTHORIZED, _FORBIDDEN = 401, 403


class Refused(Exception):
    """GitHub answered with an error.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Interrupted(Exception):
    """SIGINT or SIGTERM came."""


class Listener:
    """A runner's installation.

    Args:
        root: the folder with `bin`, where the runner keeps its files.
        environment: what it was started with.
    """

    def __init__(self, root: str, environment: Mapping[str, str]) -> None:
        self._root = root
        self._inputs = {
            name[len(INPUT) :].lower(): value for name, value in environment.items() if name.startswith(INPUT)
        }
        self._environment = {name: value for name, value in environment.items() if not name.startswith(INPUT)}
        self._os = environment.get("SANDBOX_RUNNER_OS", "Linux")
        self._version = environment.get("SANDBOX_RUNNER_VERSION", VERSION)
        self._url = self._secret = ""
        self._parent = os.getppid()

    def log(self, arguments: Sequence[str]) -> None:
        """Write down how it was called, as the real one does; that masks secrets, this does not."""
        os.makedirs(os.path.join(self._root, "_diag"), exist_ok=True)
        with open(os.path.join(self._root, "_diag", f"Runner_{os.getpid()}.log"), "w", encoding="utf-8") as file:
            file.write(" ".join(arguments))

    def configure(self, arguments: Sequence[str]) -> int:
        """Register; leave `.runner` and `.credentials`."""
        options = {**self._inputs, **_options(arguments)}
        self._url = options["url"]
        try:
            done = self._call(
                "POST", "register",
                {"token": options.get("token"), "url": self._url, "name": options.get("name") or socket.gethostname(),
                 "labels": [label for label in options.get("labels", "").split(",") if label],
                 "group": options.get("runnergroup"), "ephemeral": "ephemeral" in options,
                 "replace": "replace" in options, "os": self._os, "version": self._version},
            )  # fmt: skip
        except Refused as refused:
            if refused.status == _FORBIDDEN:
                print(f"Runner version v{self._version} is deprecated and cannot receive messages.")
            else:
                print(f"Http response code: {refused.status} from 'POST {self._url}'")
            return TERMINATED
        except OSError as error:
            print(f"An error occurred: {error}")
            return TERMINATED
        self._write(".runner", {
            "AgentId": done["id"], "AgentName": options.get("name", ""), "gitHubUrl": self._url,
            "Ephemeral": "ephemeral" in options, "DisableUpdate": "disableupdate" in options,
            "WorkFolder": options.get("work", "_work"),
        })  # fmt: skip
        self._write(".credentials", {"Scheme": "OAuth", "Data": {"clientId": done["secret"]}})
        print("√ Runner successfully added", flush=True)
        return SUCCESS

    def remove(self) -> int:
        """Take the registration back, with a token; only then the files go."""
        settings = self._read(".runner")
        self._url = settings.get("gitHubUrl", "")
        try:
            self._call("POST", "remove", {"id": settings["AgentId"], "token": self._inputs.get("token", "")})
        except (Refused, OSError) as error:
            print(f"Failed: Removing runner from the server: {error}")
            return TERMINATED
        self._forget()
        print("√ Runner removed successfully", flush=True)
        return SUCCESS

    def run(self) -> int:
        """Listen for jobs; an ephemeral runner does one."""
        if "jitconfig" in self._inputs:
            for name, text in json.loads(base64.b64decode(self._inputs["jitconfig"])).items():
                self._write(name, json.loads(base64.b64decode(text)))
        settings = self._read(".runner")
        self._url = settings.get("gitHubUrl") or self._environment.get("SANDBOX_GITHUB_URL", "")
        self._secret = self._read(".credentials")["Data"]["clientId"]
        try:
            self._call("POST", "connect", {})
        except Refused as refused:
            print(f"Failed to create a session. {refused}", flush=True)
            return TERMINATED
        except OSError as error:
            print(f"An error occurred: {error}", flush=True)
            return RETRYABLE
        print(f"Current runner version: '{self._version}'\n{_now()}: Listening for Jobs", flush=True)
        try:
            while True:
                job = self._ask()
                if job is not None and self._work(job) and settings.get("Ephemeral"):
                    self._forget()
                    return SUCCESS
        except Interrupted:
            print("Exiting...", flush=True)
            return SUCCESS
        except Refused:
            return SUCCESS  # the registration is gone: the real one says so in its log alone

    # Work ------------------------------------------------------------------------------------------------------------

    def _ask(self) -> dict[str, Any] | None:
        try:
            return self._call("GET", f"message?wait={LISTEN:g}", None).get("job")
        except Refused as refused:
            if refused.status == _UNAUTHORIZED:
                raise
        except OSError:
            if os.getppid() != self._parent:
                raise Interrupted from None  # nobody is there to end it
            # The line broke: ask again.
        time.sleep(0.1)
        return None

    def _work(self, job: Mapping[str, Any]) -> bool:
        """Do a job as the worker does, and report it; return False if it is no longer ours."""
        print(f"{_now()}: Running job: {job['name']}", flush=True)
        logs = os.path.join(self._root, "_diag")
        os.makedirs(logs, exist_ok=True)
        with open(os.path.join(logs, f"Worker_{time.strftime('%Y%m%d-%H%M%S')}-utc.log"), "w", encoding="utf-8"):
            pass
        try:
            self._call("POST", f"jobs/{job['id']}/started", {})
        except (Refused, OSError) as error:
            print(f"job {job['id']} is no longer ours: {error}", flush=True)
            return False
        conclusion = "cancelled"
        try:
            conclusion = "success" if self._steps(job) else "failure"
        finally:
            result = {"success": "Succeeded", "failure": "Failed", "cancelled": "Canceled"}[conclusion]
            self._call("POST", f"jobs/{job['id']}/finished", {"conclusion": conclusion})
            print(f"{_now()}: Job {job['name']} completed with result: {result}", flush=True)
        return True

    def _steps(self, job: Mapping[str, Any]) -> bool:
        hooks = [self._environment.get(f"ACTIONS_RUNNER_HOOK_JOB_{when}") for when in ("STARTED", "COMPLETED")]
        commands = [step[len("run: ") :] for step in job["steps"] if step.startswith("run: ")]
        done = self._command(["bash", "-e", hooks[0]]) if hooks[0] else True
        done = done and all(self._command(["bash", "-e", "-c", command]) for command in commands)
        time.sleep(job["duration_s"])
        return (self._command(["bash", "-e", hooks[1]]) if hooks[1] else True) and done

    def _command(self, command: Sequence[str]) -> bool:
        work = os.path.join(self._root, self._read(".runner").get("WorkFolder", "_work"))
        os.makedirs(work, exist_ok=True)
        process = subprocess.Popen(command, env=self._environment, cwd=work)  # noqa: S603 - a job is commands
        try:
            return process.wait() == 0
        except Interrupted:
            process.kill()
            process.wait()
            raise

    # Files and wire --------------------------------------------------------------------------------------------------

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        with open(os.path.join(self._root, name), "w", encoding="utf-8") as file:
            json.dump(content, file)

    def _read(self, name: str) -> dict[str, Any]:
        with open(os.path.join(self._root, name), encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
        return found

    def _forget(self) -> None:
        for name in (".runner", ".credentials"):
            os.remove(os.path.join(self._root, name))

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        host, _, port = self._url.partition("://")[2].partition("/")[0].partition(":")
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} /_runner/{path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
            f"User-Agent: actions-runner\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        )
        if self._secret:
            head += f"Authorization: Bearer {self._secret}\r\n"
        with socket.create_connection((host, int(port or 80)), timeout=LISTEN + 10) as line:
            line.sendall(head.encode() + b"\r\n" + data)
            answer = b"".join(iter(lambda: line.recv(65536), b""))
        first, _, text = answer.partition(b"\r\n\r\n")
        if not first:
            raise ConnectionError("no answer")
        status = int(first.split()[1])
        content: dict[str, Any] = json.loads(text) if text else {}
        if status >= 400:  # noqa: PLR2004 - HTTP
            raise Refused(status, str(content.get("error", status)))
        return content


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """Read `--name value` and `--flag`."""
    options: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        if argument.startswith("--"):
            value = arguments[index + 1] if index + 1 < len(arguments) else "--"
            options[argument[2:]] = "" if value.startswith("--") else value
    return options


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())


def _interrupt(_number: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    if "--version" in arguments:
        print(VERSION)
        return SUCCESS
    listener = Listener(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))), os.environ)
    listener.log(arguments)
    if arguments[:1] == ["configure"]:
        return listener.configure(arguments[1:])
    if arguments[:1] == ["remove"]:
        return listener.remove()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    return listener.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
