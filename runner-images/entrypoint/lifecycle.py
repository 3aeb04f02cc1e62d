"""One runner, from its registration to its end.

The runner's own program `bin/Runner.Listener` is started directly, as GitHub's service wrapper (RunnerService.js) does.
`run.sh` would hide its exit codes and lose its signals, and `config.cmd` would let cmd.exe read labels that workflow
authors choose.
"""

import os
import re
import signal
import subprocess
import sys
import time
from typing import BinaryIO, Dict, List, Mapping, NoReturn, Optional

from contract import (
    BROKEN,
    JOB_BROKEN_OFF,
    JOB_RAN,
    NO_JOB,
    NOT_REGISTERED,
    SIGNALLED,
    VERSION_REFUSED,
    Ended,
    Secret,
    Settings,
    say,
)
from systems import Linux

# What the listener ends with (actions/runner, Constants.Runner.ReturnCode): the first three mean "start me again".
RETRYABLE, RUNNER_UPDATING, RUN_ONCE_UPDATING = 2, 3, 4
DEPRECATED = 7

TICK = 0.1
RETRY_PAUSE = 5.0
# Seconds for a call of the listener that must end by itself.
REGISTRATION_LIMIT = 300.0
REMOVAL_LIMIT = 30.0
# Seconds more at the idle limit where GitHub will not remove the runner: a job may be on its way to it.
LAST_CHANCE = 30.0

LEFT_BEHIND = "its registration stays until GitHub forgets it, within a day"

# How GitHub says that it takes this version no more; while registering there is no exit code for that.
_REFUSED = re.compile(r"runner version .*(deprecated|no longer supported|not supported|minimum)", re.IGNORECASE)


class StopRequest:
    """Whether a signal has asked for the end.

    Attributes:
        number: the signal, 0 without one.
    """

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, _frame: object) -> None:
        """Take note of a signal; Windows' own ones count as SIGTERM."""
        self.number = number if number == signal.SIGINT else signal.SIGTERM


class Runner:
    """One runner.

    Args:
        settings: what the container is told.
        secret: what registers it.
        environment: for the listener and its job.
        system: Linux or Windows.
        stop: set by signals.
    """

    def __init__(
        self, settings: Settings, secret: Secret, environment: Mapping[str, str], system: Linux, stop: StopRequest
    ) -> None:
        self._settings = settings
        self._secret = secret
        # The listener ends with 7, not 1, when GitHub refuses its version.
        self._environment = dict(environment, ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE="1")
        self._system = system
        self._stop = stop
        self._job = False
        self._kept_once = False
        self._logs = os.path.join(settings.home, "_diag")
        self._old_logs = self._worker_logs()

    def run(self) -> NoReturn:
        """Register, wait for a job, let it run.

        Raises:
            Ended: always, with what happened.
        """
        extra = self._register()
        deadline = time.monotonic() + self._settings.idle_s
        while True:
            try:
                code = self._listen(extra, deadline)
            except Ended as ended:
                if ended.code != BROKEN or self._job_began():
                    raise
                raise Ended(BROKEN, f"{ended}; {self._give_back()}") from None
            if self._job_began():
                raise self._after_job(code)
            if code not in (RETRYABLE, RUNNER_UPDATING, RUN_ONCE_UPDATING) or time.monotonic() > deadline:
                break
            say(f"the runner ended with the passing error {code}; it starts again")
            self._pause(RETRY_PAUSE)
            if self._stop.number:
                break
        if self._stop.number:  # on Windows the stop of a container reaches every process in it
            raise self._stopped("before a job came; " + self._give_back())
        if code == 0:
            raise Ended(NO_JOB, "no job came: the registration was removed from outside")
        left = self._give_back()
        if code == DEPRECATED:
            raise Ended(VERSION_REFUSED, "GitHub refuses this version of the runner; " + left)
        raise Ended(NOT_REGISTERED, f"the runner could not wait for jobs (its code is {code}); {left}")

    # Registration ----------------------------------------------------------------------------------------------------

    def _register(self) -> Dict[str, str]:
        """Register, unless a JIT configuration has done so; return what the listener needs in its environment."""
        own = self._settings
        if own.expires_at is not None and time.time() >= own.expires_at:
            raise Ended(NOT_REGISTERED, "the registration expired while this task waited: nothing was tried")
        if self._secret.jit:
            say("registered already, by a JIT configuration")
            return self._system.take_jit(self._secret, own.home)
        say("registering {} at {} with the labels {}".format(own.name, own.url, own.labels or "of its system"))
        arguments = ["configure", "--unattended", "--ephemeral", "--disableupdate", "--replace"]
        options = {"url": own.url, "name": own.name, "work": own.work, "labels": own.labels, "runnergroup": own.group}
        for option, value in options.items():
            if value:
                arguments += ["--" + option, value]
        code, output = self._call(arguments, REGISTRATION_LIMIT)
        if self._stop.number:
            configured = os.path.exists(os.path.join(own.home, ".runner"))
            raise self._stopped("while registering; " + (self._give_back() if configured else "nothing was registered"))
        if code != 0 and _REFUSED.search(output):
            raise Ended(VERSION_REFUSED, "GitHub refuses this version of the runner")
        if code != 0:
            raise Ended(NOT_REGISTERED, "the runner was not registered: the lines above say why")
        return {}

    def _deregister(self) -> Optional[bool]:
        """Take the registration back; return whether that was done, None if it is not for this container to do.

        A registration token removes as well as a token made for removing, while it lasts.
        """
        if self._secret.jit or not self._secret.value:
            return None
        try:
            return self._call(["remove"], REMOVAL_LIMIT)[0] == 0
        except Ended:  # its program does not start
            return False

    def _give_back(self) -> str:
        """Take the registration back; return what became of it."""
        return self._told(self._deregister())

    def _told(self, removed: Optional[bool]) -> str:
        if self._secret.jit:
            return "the orchestrator removes its registration"
        return "its registration was removed" if removed else LEFT_BEHIND

    def _call(self, arguments: List[str], limit: float) -> "tuple[int, str]":
        """Let the listener do one thing with the token, which it gets by its environment while there is no job.

        A registration under way is not broken off by a signal: it could not be taken back.
        """
        environment = dict(self._environment, ACTIONS_RUNNER_INPUT_TOKEN=self._secret.value)
        os.makedirs(self._logs, exist_ok=True)
        with open(os.path.join(self._logs, arguments[0] + ".log"), "w+b") as said:
            process = self._start(arguments, environment, said)
            deadline = time.monotonic() + limit
            while self._system.poll(process) is None:
                if self._stop.number:
                    deadline = min(deadline, time.monotonic() + self._settings.stop_s)
                if time.monotonic() > deadline:
                    self._system.kill(process)
                time.sleep(TICK)
            said.seek(0)
            output = said.read()
        sys.stdout.buffer.write(output)  # as it is: not every console can show what the runner says
        sys.stdout.flush()
        return process.returncode, output.decode("utf-8", "replace")

    # Work ------------------------------------------------------------------------------------------------------------

    def _listen(self, extra: Mapping[str, str], deadline: float) -> int:
        """Let the listener run until it ends; return its code.

        Raises:
            Ended: at the idle limit, or by a signal.
        """
        process = self._start(["run"], dict(self._environment, **extra), None)
        while True:
            code = self._system.poll(process)
            if code is not None:
                return code
            if self._job_began():
                self._secret.forget()
                if self._stop.number:
                    self._system.interrupt(process)
                    raise Ended(JOB_BROKEN_OFF, "stopped during a job, which " + self._await_end(process))
            elif self._stop.number or time.monotonic() > deadline:
                left = self._leave(process)
                if left is None:
                    deadline = time.monotonic() + LAST_CHANCE
                elif self._stop.number:
                    raise self._stopped("before a job came; " + left)
                else:
                    raise Ended(NO_JOB, f"no job came in {self._settings.idle_s / 60:g} minutes; {left}")
            time.sleep(TICK)

    def _leave(self, process: "subprocess.Popen[bytes]") -> Optional[str]:
        """End a listener without a job; return what became of its registration, None if it stays for a job after all.

        It is held meanwhile, or ended first where a process cannot be held: it takes no job that it would not do, and
        none runs while the token is in use. A held listener may have started a worker that has no log yet. One that was
        ended first has ended its worker before.
        """
        held = self._system.hold(process)
        if held:
            self._job = self._system.has_child(process) or self._job
        else:
            self._system.interrupt(process)
            self._await_end(process)
        removed = None if self._job_began() else self._deregister()
        may_stay = held and not self._stop.number and not self._kept_once
        stays = self._job_began() or (removed is False and may_stay)
        self._kept_once = True
        if held and not stays:
            self._system.interrupt(process)
        if held:
            self._system.release(process)
        if stays:
            return None
        self._await_end(process)
        return self._told(removed)

    def _await_end(self, process: "subprocess.Popen[bytes]") -> str:
        """Wait for a listener that was asked to end; return how it did."""
        deadline = time.monotonic() + self._settings.stop_s
        while self._system.poll(process) is None:
            if time.monotonic() > deadline:
                self._system.kill(process)
                return "the runner did not end in time: it was killed"
            time.sleep(TICK)
        return "the runner ended and reported"

    def _after_job(self, code: int) -> Ended:
        if self._stop.number:
            return Ended(JOB_BROKEN_OFF, "stopped during a job, which the runner ended and reported")
        if code != 0:
            return Ended(JOB_BROKEN_OFF, f"the runner broke off during a job (its code is {code})")
        return Ended(JOB_RAN, "a job ran")

    def _stopped(self, when: str) -> Ended:
        return Ended(SIGNALLED + self._stop.number, "stopped " + when)

    def _job_began(self) -> bool:
        """Whether the runner was given a job: the job's worker has a log from its first moment on.

        Source: GitHub docs, "Monitoring and troubleshooting self-hosted runners": `_diag/Worker_...`, one for each job.
        """
        self._job = self._job or bool(self._worker_logs() - self._old_logs)
        return self._job

    def _worker_logs(self) -> "frozenset[str]":
        try:
            return frozenset(name for name in os.listdir(self._logs) if name.startswith("Worker_"))
        except OSError:
            return frozenset()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stop.number:
            time.sleep(TICK)

    def _start(
        self, arguments: List[str], environment: Dict[str, str], output: Optional[BinaryIO]
    ) -> "subprocess.Popen[bytes]":
        home = self._settings.home
        try:
            return self._system.start(
                [os.path.join(home, "bin", self._system.listener), *arguments],
                cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
            )  # fmt: skip
        except OSError as error:
            raise Ended(BROKEN, f"the runner's program does not start: {error.strerror}") from None
