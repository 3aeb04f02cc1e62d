#!/usr/bin/env -S python3 -IS
"""Plays `bin/Runner.Listener` of actions/runner: `configure`, `run` and `remove`, against the GitHub stand-in.

The runner images' entrypoint starts it where the real program would be. What the entrypoint relies on is as there: the
files, the inputs in the environment, what it says and logs (`runner_texts.json` beside it), exit codes, signals and
hooks. Standard library only and few modules of that, as several of these start for each job; it runs on whatever Python
3 an image has, so it imports nothing of the sandbox.

These variables make it behave as the real one does in trouble: `SANDBOX_RUNNER_VERSION`; `SANDBOX_RUNNER_REFUSAL`, the
words for a refused version; `SANDBOX_RUNNER_BREAKS=after-registering`; `SANDBOX_RUNNER_UPDATE`, GitHub asks it to
update itself; `SANDBOX_BROKER_URL`, where it looks for jobs.

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
RUN_ONCE_UPDATING = 4
DEPRECATED = 7

INPUT = "ACTIONS_RUNNER_INPUT_"
# Longest wait for work in one request, in seconds.
LISTEN = 5.0
# Seconds between two tries to reach the job service; 30 for the real one.
RECONNECT = 0.2

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _UNPROCESSABLE = 401, 403, 404, 422
_NAMES = {_UNAUTHORIZED: "Unauthorized", _FORBIDDEN: "Forbidden", _NOT_FOUND: "NotFound"}

with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "runner_texts.json"), encoding="utf-8") as _file:
    TEXTS = {name: found["text"] for name, found in json.load(_file).items()}


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


class NoSession(Exception):
    """The job service refuses this runner."""


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
        self._url = self._secret = self._log = ""
        self._parent = os.getppid()

    def log(self, text: str) -> None:
        """Write a line of the log, whose name has seconds; the real one masks secrets in it, this does not."""
        os.makedirs(os.path.join(self._root, "_diag"), exist_ok=True)
        self._log = self._log or os.path.join(self._root, "_diag", f"Runner_{_stamp()}-utc.log")
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(f"[{_now()} INFO Listener] {text}\n")

    def _say(self, text: str, **values: object) -> None:
        """Print one of the runner's texts, which its log has too."""
        said = TEXTS[text].format(now=_now(), version=self._version, request="0400:1", **values)
        print(said, flush=True)
        self.log(f"WRITE LINE: {said}")

    def configure(self, arguments: Sequence[str]) -> int:
        """Register; leave `.runner` and `.credentials`."""
        options = {**self._inputs, **_options(arguments)}
        self._url = options["url"]
        group = options.get("runnergroup")
        try:
            done = self._call(
                "POST", "register",
                {"token": options.get("token"), "url": self._url, "name": options.get("name") or socket.gethostname(),
                 "labels": [label for label in options.get("labels", "").split(",") if label],
                 "group": group, "ephemeral": "ephemeral" in options,
                 "replace": "replace" in options, "os": self._os, "version": self._version},
            )  # fmt: skip
        except Refused as refused:
            if refused.status == _UNPROCESSABLE and "runner group" in str(refused):
                self._say("error", reason=TEXTS["no_group"].format(group=group))
                return TERMINATED
            self._say("http", status=_NAMES.get(refused.status, refused.status), method="POST", url=self._url)
            if str(refused).startswith("minimum "):
                self._say(self._environment.get("SANDBOX_RUNNER_REFUSAL", "update_required"), floor=str(refused)[8:])
            self._say("error", reason=f"Response status code does not indicate success: {refused.status}.")
            return TERMINATED
        except OSError as error:
            self._say("error", reason=error)
            return TERMINATED
        self._write(".runner", {
            "AgentId": done["id"], "AgentName": options.get("name", ""), "gitHubUrl": self._url,
            "Ephemeral": "ephemeral" in options, "DisableUpdate": "disableupdate" in options,
            "WorkFolder": options.get("work", "_work"),
        })  # fmt: skip
        self._write(".credentials", {"Scheme": "OAuth", "Data": {"clientId": done["secret"]}})
        if self._environment.get("SANDBOX_RUNNER_BREAKS") == "after-registering":
            self._say("error", reason="Access to the path 'svc.sh' is denied.")
            return TERMINATED
        self._say("added")
        return SUCCESS

    def remove(self) -> int:
        """Take the registration back, with a token; only then the files go."""
        try:
            settings = self._read(".runner")
        except FileNotFoundError:
            self._say("nothing_to_remove")
            return SUCCESS
        self._url = settings.get("gitHubUrl", "")
        try:
            self._call("POST", "remove", {"id": settings["AgentId"], "token": self._inputs.get("token", "")})
        except (Refused, OSError) as error:
            if isinstance(error, Refused):
                status = _NAMES.get(error.status, str(error.status))
                self._say("http", status=status, method="Delete", url=f"{self._url}/actions/runners/1")
            self._say("removing_failed")
            self._say("error", reason=error)
            return TERMINATED
        self._forget()
        self._say("removed")
        return SUCCESS

    def run(self) -> int:
        """Listen for jobs; an ephemeral runner does one."""
        if "jitconfig" in self._inputs:
            for name, text in json.loads(base64.b64decode(self._inputs["jitconfig"])).items():
                self._write(name, json.loads(base64.b64decode(text)))
        settings = self._read(".runner")
        own = self._environment
        self._url = own.get("SANDBOX_BROKER_URL") or settings.get("gitHubUrl") or own.get("SANDBOX_GITHUB_URL", "")
        self._secret = self._read(".credentials")["Data"]["clientId"]
        try:
            self._connect()
            print(f"Current runner version: '{self._version}'")
            self._say("listening")
            if "SANDBOX_RUNNER_UPDATE" in own and not _is_true(settings.get("DisableUpdate")):
                self.log(TEXTS["updating"])
                return RUN_ONCE_UPDATING
            while True:
                job = self._ask()
                if job is not None and self._work(job) and _is_true(settings.get("Ephemeral")):
                    self._forget()
                    return SUCCESS
        except Interrupted:
            print("Exiting...", flush=True)
            return SUCCESS
        except Refused as refused:
            if refused.status == _FORBIDDEN:
                self._say("error", reason=TEXTS["deprecated"].format(version=self._version))
                asked = own.get("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE")
                return DEPRECATED if asked else TERMINATED
            self._say("gone")
            self._forget()
            return SUCCESS
        except NoSession:
            return TERMINATED

    def _connect(self) -> None:
        """Get a session; where the job service cannot be reached, try again for ever."""
        first = True
        while True:
            try:
                self._call("POST", "connect", {"version": self._version})
            except Refused as refused:
                reason = TEXTS["deprecated"].format(version=self._version) if refused.status == _FORBIDDEN else refused
                self._say("no_session", reason=reason)
                raise NoSession from None
            except OSError as error:
                if first:
                    self._say("connect_error", reason=error)
                first = False
                self._stay()
                time.sleep(RECONNECT)
            else:
                self.log(TEXTS["session"])
                return

    # Work ------------------------------------------------------------------------------------------------------------

    def _ask(self) -> dict[str, Any] | None:
        try:
            return self._call("GET", f"message?wait={LISTEN:g}", None).get("job")
        except Refused as refused:
            if refused.status in (_UNAUTHORIZED, _FORBIDDEN):
                raise
        except OSError:
            self._stay()
            # The line broke: ask again.
        time.sleep(0.1)
        return None

    def _stay(self) -> None:
        """Go on without GitHub, unless nobody is there to end this program."""
        if os.getppid() != self._parent:
            raise Interrupted

    def _work(self, job: Mapping[str, Any]) -> bool:
        """Do a job as the worker does, and report it; if GitHub took it back, listen on to nothing."""
        try:
            self._call("POST", f"jobs/{job['id']}/started", {})
        except OSError as error:
            self.log(f"Caught exception from acquiring job message: {error}")
            return False
        except Refused:
            self.log(TEXTS["skipping"].format(job=job["id"]))
            while True:
                self._stay()
                time.sleep(0.1)
        logs = os.path.join(self._root, "_diag")
        os.makedirs(logs, exist_ok=True)
        with open(os.path.join(logs, f"Worker_{_stamp()}-utc.log"), "w", encoding="utf-8"):
            pass
        self._say("running", job=job["name"])
        conclusion = "failure"
        try:
            conclusion = "success" if self._steps(job) else "failure"
        finally:
            self._call("POST", f"jobs/{job['id']}/finished", {"conclusion": conclusion})
            self._say("completed", job=job["name"], result={"success": "Succeeded"}.get(conclusion, "Failed"))
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


def _is_true(value: object) -> bool:
    """Read a truth of `.runner`: GitHub's JIT configurations have text there."""
    return str(value).lower() == "true"


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())


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
    listener.log(" ".join(arguments))
    if arguments[:1] == ["configure"]:
        return listener.configure(arguments[1:])
    if arguments[:1] == ["remove"]:
        return listener.remove()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    return listener.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
