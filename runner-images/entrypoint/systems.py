"""What the entrypoint asks of Linux and of Windows."""

import contextlib
import os
import signal
import subprocess
import threading
from typing import Any, Dict, MutableMapping, Optional, Sequence

from contract import BAD_SETTINGS, BROKEN, Ended, Secret, Settings, jit_config, jit_files, say

# man 2 prctl
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


class Linux:
    """A process tree in a container, or on a developer's machine."""

    home = "/opt/runner"
    listener = "Runner.Listener"
    signals = (signal.SIGTERM, signal.SIGINT)  # type: tuple[signal.Signals, ...]

    def __init__(self) -> None:
        self._ended = {}  # type: Dict[int, int]

    def become(self, settings: Settings, environment: MutableMapping[str, str]) -> None:
        """Drop root, and close this process to everybody, so that the secret in its environment and memory is safe.

        Args:
            settings: which user to become, and whether the job may become root again.
            environment: of the runner and its job; gets that user's home.

        Raises:
            Ended: 78, there is no such user; 70, the kernel does not close this process.
        """
        import ctypes  # noqa: PLC0415 - Windows goes without

        control = ctypes.CDLL(None).prctl
        self._drop_root(settings.user, environment)
        if not os.access(environment.get("HOME", ""), os.W_OK):
            environment["HOME"] = settings.home  # a user that the image does not know has none
        if not settings.allow_sudo:
            control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Last: a change of user undoes it. /proc/PID/{environ,mem,fd} then belong to root and no debugger attaches
        # (man 5 proc, man 2 ptrace), while the job runs as the same user.
        if control(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise Ended(BROKEN, "the kernel does not close this process")

    def _drop_root(self, user: str, environment: MutableMapping[str, str]) -> None:
        import pwd  # noqa: PLC0415 - there is none on Windows

        if os.geteuid() != 0:
            say(f"root is not dropped: this is user {os.geteuid()} already")
            return
        if user == "root":
            say("root is not dropped: GHR_USER says so")
            return
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise Ended(BAD_SETTINGS, "GHR_USER names a user that this system does not have") from None
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        environment.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)

    def outlast_end(self) -> None:
        """Do nothing: a signal leaves this process the time that it needs."""

    def take_jit(self, secret: Secret, home: str) -> Dict[str, str]:
        """Place the files of a JIT configuration as the runner would, so that it is in no environment.

        Like every registration they are readable for the runner's user, and so for its job.

        Returns:
            What the listener needs in its environment: nothing.
        """
        for name, content in jit_files(secret.value).items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(os.path.join(home, name), flags, 0o600), "wb") as file:
                file.write(content)
        return {}

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program in a session of its own, so that it is ours to signal."""
        return subprocess.Popen(command, start_new_session=True, **options)

    def poll(self, process: "subprocess.Popen[bytes]") -> Optional[int]:
        """Return how a process ended, or None; collect orphans on the way, which is the duty of process 1."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self._ended[pid] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if process.returncode is None:
            process.returncode = self._ended.pop(process.pid, None)
        return process.returncode

    def interrupt(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask the listener to end: it breaks off its job, if it has one, and reports it as failed."""
        process.send_signal(signal.SIGINT)

    def hold(self, process: "subprocess.Popen[bytes]") -> bool:
        """Keep the listener from taking a job; return whether that is possible."""
        process.send_signal(signal.SIGSTOP)
        # The signal alone stops nothing yet: a thread may be about to start a worker.
        with contextlib.suppress(ChildProcessError):  # it has ended meanwhile
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return True

    def has_child(self, process: "subprocess.Popen[bytes]") -> bool:
        """Return whether a held listener has started a program: waiting for jobs, that is a job's worker alone."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            # OSError: that one has ended meanwhile
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
                # man 5 proc: PID (NAME) STATE PARENT ..., and a name may hold anything
                if int(file.read().rpartition(b")")[2].split()[1]) == process.pid:
                    return True
        return False

    def release(self, process: "subprocess.Popen[bytes]") -> None:
        """Let it go on."""
        process.send_signal(signal.SIGCONT)

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a program and what it started, whatever they think of it."""
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.killpg(process.pid, signal.SIGKILL)


class Windows(Linux):
    """The same on Windows, where the image's own user is what the runner runs as."""

    home = "C:\\runner"
    listener = "Runner.Listener.exe"
    # The C runtime makes SIGBREAK of every console event but Ctrl-C; the stop of a container is one.
    signals = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGTERM))

    def become(self, settings: Settings, environment: MutableMapping[str, str]) -> None:
        """Do nothing: there is no root to drop, and deleting a variable empties it for other processes' eyes too."""

    def outlast_end(self) -> None:
        """Have Windows wait for this process when it ends the container.

        Windows ends a process as soon as its handler of that event returns, and Python's returns once it has written to
        the wakeup descriptor. Into a full pipe it writes for ever, in a thread that Windows has made for it, while the
        main thread does what is left to do. A handler by ctypes would not be called: that loads user32.dll, and Windows
        does not tell a process with windows in this way (cpython#85470).
        """
        _, full = os.pipe()
        # More than a pipe holds, so this thread never ends either.
        threading.Thread(target=os.write, args=(full, bytes(1 << 20)), daemon=True).start()
        signal.set_wakeup_fd(full)

    def take_jit(self, secret: Secret, home: str) -> Dict[str, str]:  # noqa: ARG002 - the runner places the files
        """Hand a JIT configuration over as the runner's input, which it takes out of its environment at once.

        Its key must be encrypted for Windows; that is better left to the runner.
        """
        return {"ACTIONS_RUNNER_INPUT_JITCONFIG": jit_config(jit_files(secret.value))}

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program in a process group of its own, which can get a Ctrl-Break alone."""
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200)
        return subprocess.Popen(command, creationflags=group, **options)

    def poll(self, process: "subprocess.Popen[bytes]") -> Optional[int]:
        """Return how a process ended, or None."""
        return process.poll()

    def interrupt(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask the listener to end."""
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", 1))

    def hold(self, process: "subprocess.Popen[bytes]") -> bool:  # noqa: ARG002 - it stays as it is
        """Return False: Windows has no way to hold a process."""
        return False

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a program and what it started."""
        subprocess.call(["taskkill", "/T", "/F", "/PID", str(process.pid)], stdout=subprocess.DEVNULL)  # noqa: S607
