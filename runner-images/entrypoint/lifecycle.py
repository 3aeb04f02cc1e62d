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
    BAD_SETTINGS,
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
from runner_logs import VERSION_REFUSED as REFUSED_WORDS
from runner_logs import RunnerLogs
from systems import Linux

# What the listener ends with (actions/runner, Constants.Runner.ReturnCode): the first three mean "start me again".
RETRYABLE, RUNNER_UPDATING, RUN_ONCE_UPDATING = 2, 3, 4
DEPRECATED = 7

TICK = 0.1
RETRY_PAUSE = 5.0
# Logs are named by the second, so a program that is started in the same second may find its log's name taken.
NAME_PAUSE = 1.0
# Seconds for a call of the listener that must end by itself.
REGISTRATION_LIMIT = 300.0
REMOVAL_LIMIT = 30.0
# Seconds more where a job may be on its way: GitHub will not remove the runner, or took back the job that it gave it.
LAST_CHANCE = 30.0

# What became of a registration.
REMOVED = "its registration was removed"
GONE_ALREADY = "its registration was gone already"
LEFT_BEHIND = "its registration stays until GitHub forgets it, within a day"
NOT_OURS = "the orchestrator removes its registration"

# What the runner says (actions/runner, RunnerDotcomServer.cs and ConfigurationManager.cs): GitHub knows the runner no
# more, or the listener has heard that and deleted its files.
_GONE = re.compile(r"NotFound from 'DELETE|config files are missing", re.IGNORECASE)
# A removal that failed has said that it did; without that the program broke before.
_REMOVING = re.compile(r"Failed: Removing runner", re.IGNORECASE)
_NO_GROUP = re.compile(r"Could not find any self-hosted runner group named")


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
        self._kept_once = False
        self._logs = RunnerLogs(settings.home)

    def run(self) -> NoReturn:
        """Register, wait for a job, let it run.

        Raises:
            Ended: always, with what happened.
        """
        try:
            self._run()
        except Ended as ended:
            if ended.code in (BROKEN, NOT_REGISTERED):
                self._logs.show(self._secret.value)
            raise

    def _run(self) -> NoReturn:
        extra = self._register()
        self._logs.skip()
        deadline = time.monotonic() + self._settings.idle_s
        while True:
            try:
                code = self._listen(extra, deadline)
            except Ended as ended:
                if ended.code != BROKEN or self._logs.job_began():
                    raise
                raise Ended(BROKEN, f"{ended}; {self._deregister()}") from None
            if self._logs.job_began():
                raise self._after_job(code)
            if code not in (RETRYABLE, RUNNER_UPDATING, RUN_ONCE_UPDATING) or time.monotonic() > deadline:
                break
            say(f"the runner ended with the passing error {code}; it starts again")
            extra = {}  # its files are there; it could not write them once more
            self._pause(RETRY_PAUSE)
            if self._stop.number:
                break
        if self._stop.number:  # on Windows the stop of a container reaches every process in it
            raise self._stopped("before a job came; " + self._deregister())
        if code == 0:
            raise Ended(NO_JOB, "no job was run: the registration was removed from outside, or the job was taken back")
        left = self._deregister()
        if code == DEPRECATED or self._logs.version_refused:
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
        # A call that failed in the end may have registered all the same.
        configured = os.path.exists(os.path.join(own.home, ".runner"))
        if self._stop.number:
            raise self._stopped(
                "while registering; " + (self._deregister() if configured else "nothing was registered")
            )
        if code == 0:
            return {}
        left = "; " + self._deregister() if configured else ""
        if REFUSED_WORDS.search(output):
            raise Ended(VERSION_REFUSED, "GitHub refuses this version of the runner" + left)
        if _NO_GROUP.search(output):
            raise Ended(
                BAD_SETTINGS, "GHR_GROUP names a runner group that GitHub does not have for this address" + left
            )
        raise Ended(NOT_REGISTERED, "the runner was not registered: the lines above say why" + left)

    def _deregister(self) -> str:
        """Take the registration back, if that is for this container to do; return what became of it.

        A registration token removes as well as a token made for removing, while it lasts.
        """
        self._logs.look()
        if self._secret.jit:
            return NOT_OURS
        if not self._secret.value:
            return LEFT_BEHIND
        try:
            code, output = self._call(["remove"], REMOVAL_LIMIT)
            if code != 0 and not _REMOVING.search(output):
                time.sleep(NAME_PAUSE)
                code, output = self._call(["remove"], REMOVAL_LIMIT)
        except Ended:  # its program does not start
            return LEFT_BEHIND
        self._logs.skip()
        if _GONE.search(output):
            return GONE_ALREADY
        return REMOVED if code == 0 else LEFT_BEHIND

    def _call(self, arguments: List[str], limit: float) -> "tuple[int, str]":
        """Let the listener do one thing with the token, which it gets by its environment while there is no job.

        A registration under way is not broken off by a signal: it could not be taken back.
        """
        environment = dict(self._environment, ACTIONS_RUNNER_INPUT_TOKEN=self._secret.value)
        os.makedirs(self._logs.folder, exist_ok=True)
        with open(os.path.join(self._logs.folder, arguments[0] + ".log"), "w+b") as said:
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
        # The runner masks it, and here it is once more: this may be kept for long. The rest stays as it is, as not
        # every console can show what the runner says.
        sys.stdout.buffer.write(output.replace(self._secret.value.encode(), b"***"))
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
            if self._logs.job_began():
                self._secret.forget()
                if self._stop.number:
                    self._system.interrupt(process)
                    raise Ended(JOB_BROKEN_OFF, "stopped during a job, which " + self._await_end(process))
            elif self._stop.number or time.monotonic() > deadline:
                left = self._leave(process)
                if left is None:
                    deadline = time.monotonic() + LAST_CHANCE
                else:
                    raise self._unused(left)
            elif self._logs.look():
                deadline = min(deadline, time.monotonic() + LAST_CHANCE)
            time.sleep(TICK)

    def _unused(self, left: str) -> Ended:
        """Return why a listener that had no job was ended, with what became of its registration."""
        if self._stop.number:
            return self._stopped("before a job came; " + left)
        if self._logs.lost_assignment:
            return Ended(NO_JOB, "GitHub gave the runner a job and took it back; " + left)
        if not self._logs.had_session:
            return Ended(
                NOT_REGISTERED,
                "registered, but GitHub's job service was never reached: the lines above say why, "
                "and the network must let *.actions.githubusercontent.com through; " + left,
            )
        return Ended(NO_JOB, f"no job came in {self._settings.idle_s / 60:g} minutes; {left}")

    def _leave(self, process: "subprocess.Popen[bytes]") -> Optional[str]:
        """End a listener without a job; return what became of its registration, None if it stays for a job after all.

        It is held meanwhile, or ended first where a process cannot be held: it takes no job that it would not do, and
        none runs while the token is in use. A held listener may have started a worker that has no log yet. One that was
        ended first has ended its worker before.
        """
        held = self._system.hold(process)
        if not held:
            self._system.interrupt(process)
            self._await_end(process)
        elif self._system.has_child(process):
            self._logs.note_job()
        left = None if self._logs.job_began() else self._deregister()
        if left == LEFT_BEHIND and held and not self._stop.number and not self._kept_once:
            left = None
        self._kept_once = True
        if held:
            if left is not None:
                self._system.interrupt(process)
            self._system.release(process)
        if left is not None:
            self._await_end(process)
        return left

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
