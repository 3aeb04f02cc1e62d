"""What the runner writes into its folder `_diag`: whether a job began, and how the wait for one goes.

Its words are those of actions/runner (BrokerMessageListener.cs, Runner.cs, Terminal.cs), which masks secrets in them.
"""

import os
import re
import sys
from typing import List

# How GitHub says that it takes this version no more. It has several ways, and while registering no exit code.
VERSION_REFUSED = re.compile(
    r"runner update required|minimum runner version"
    r"|runner version\b.{0,80}(deprecated|out of date|no longer|not supported)",
    re.IGNORECASE,
)
# Either of them means that GitHub's job service was reached.
_SESSION = re.compile(r"Session created|Listening for Jobs")
# The listener was given a job and then refused it. It goes on listening, but an ephemeral runner's registration ends
# with the job that it was given, so nothing comes any more (actions/runner#4617).
_LOST = re.compile(r"Skipping message Job\.")

# How much of a log is shown: lines, and characters of a line.
TAIL = 100
WIDTH = 500
_CHUNK = 1 << 20


class RunnerLogs:
    """The logs that are written from now on.

    Args:
        home: where the runner is installed.

    Attributes:
        folder: where they are.
        had_session: whether the listener has ever reached GitHub's job service.
        lost_assignment: whether GitHub gave it a job and took that back before it began.
        version_refused: whether GitHub has refused its version.
    """

    def __init__(self, home: str) -> None:
        self.folder = os.path.join(home, "_diag")
        self.had_session = self.lost_assignment = self.version_refused = False
        self._job = False
        self._old_jobs = frozenset(self._names("Worker_"))
        self._read = {}  # type: dict[str, int]
        self._rest = b""
        self._listener = ""

    def job_began(self) -> bool:
        """Whether the runner was given a job: the job's worker has a log from its first moment on.

        Source: GitHub docs, "Monitoring and troubleshooting self-hosted runners": `_diag/Worker_...`, one for each job.
        """
        self._job = self._job or bool(frozenset(self._names("Worker_")) - self._old_jobs)
        return self._job

    def note_job(self) -> None:
        """Take note that a job began, although it has no log yet."""
        self._job = True

    def skip(self) -> None:
        """Leave out what is there: it is of a call that has ended."""
        self._rest = b""
        self._read = {name: self._size(name) for name in self._names("Runner_")}

    def look(self) -> bool:
        """Read what is new in the listener's log; only before a job has begun, which could write there too.

        Returns:
            Whether it tells that an assignment was lost, for the first time.
        """
        knew = self.lost_assignment
        for name in self._names("Runner_"):
            start = self._read.get(name, 0)
            new = self._content(name, start, _CHUNK)
            if not new:
                continue
            self._read[name] = start + len(new)
            self._listener = name
            whole, end, self._rest = (self._rest + new).rpartition(b"\n")
            text = (whole + end).decode("utf-8", "replace")
            self.had_session = self.had_session or bool(_SESSION.search(text))
            self.lost_assignment = self.lost_assignment or bool(_LOST.search(text))
            self.version_refused = self.version_refused or bool(VERSION_REFUSED.search(text))
        return self.lost_assignment and not knew

    def show(self, secret: str) -> None:
        """Print the end of the listener's log, or else of the newest; nothing once a job began, which may write it.

        Args:
            secret: masked by the runner, and here once more.
        """
        name = self._listener or "".join(self._names("Runner_")[-1:])
        if self.job_began() or not name:
            return
        text = self._content(name, max(0, self._size(name) - TAIL * WIDTH), TAIL * WIDTH).decode("utf-8", "replace")
        if secret:
            text = text.replace(secret, "***")
        lines = [f"ghr: the end of the runner's own log, {name}:"]
        lines += ["    " + line[:WIDTH] for line in text.splitlines()[-TAIL:]]
        sys.stdout.buffer.write("\n".join(lines).encode() + b"\n")  # not every console can show what is in it
        sys.stdout.flush()

    def _names(self, prefix: str) -> List[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if name.startswith(prefix))
        except OSError:
            return []

    def _size(self, name: str) -> int:
        try:
            return os.path.getsize(os.path.join(self.folder, name))
        except OSError:
            return 0

    def _content(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a log, nothing where it cannot be read: no runner ends because of its log."""
        if self._size(name) <= start:
            return b""
        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError:
            return b""
