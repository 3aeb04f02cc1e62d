"""How a container claims its registration: what the entrypoint of the runner images does, in virtual time."""

import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from sandbox.batch.model import TaskRun
from sandbox.chaos.threads import Threads

# The entrypoint's exit code for each answer that ends it, if it is the function's own: one with a code.
EXIT_CODES: Mapping[int, int] = {400: 78, 401: 78, 403: 78, 409: 77, 410: 69, 413: 78}
NO_ANSWER = 75
# Seconds: how long a container goes on asking, and waits for one answer; the limits of its first and of its longest
# pause; the longest pause that an answer may ask for.
WAIT, PATIENCE, FIRST_PAUSE, LONGEST_PAUSE, LONGEST_ASKED = 600.0, 60.0, 1.0, 30.0, 120.0
_OK = 200


@dataclass(frozen=True)
class Claimed:
    """What came of a claim.

    Attributes:
        environment: what the container was given; empty if it got nothing.
        exit_code: with which it then ends.
    """

    environment: Mapping[str, str]
    exit_code: int = 0


class Claiming:
    """Asks for registrations, each in a worker of its own.

    Args:
        threads: the workers.
        seed: of nonces and pauses.
        tell: takes a line for the story of a task.
    """

    def __init__(self, threads: Threads, seed: int, tell: Callable[[str, str], None]) -> None:
        self._threads = threads
        self._random = random.Random(f"{seed}-claims")  # noqa: S311 - a simulation
        self._tell = tell

    def start(self, run: TaskRun, is_over: Callable[[], bool]) -> "Future[Claimed]":
        """Begin to claim for a run of a task.

        Args:
            run: whose environment holds the claim.
            is_over: whether the container has ended meanwhile.
        """
        return self._threads.submit(self._claim, run, is_over, self.nonce())

    def nonce(self) -> str:
        """Return what no other container has."""
        return f"{self._random.getrandbits(256):064x}"

    def ask(self, environment: Mapping[str, str], nonce: str) -> tuple[int, Mapping[str, str], Mapping[str, object]]:
        """Ask once; return status, headers and JSON object of the answer, with status 0 if there is none."""
        url = urlsplit(environment["GHR_CLAIM_URL"])
        body = json.dumps({"claim": environment["GHR_CLAIM"], "nonce": nonce})
        with urllib3.HTTPConnectionPool(url.hostname or "", url.port, timeout=PATIENCE, retries=False) as pool:
            try:
                answer = pool.request("POST", url.path, body=body, headers={"Content-Type": "application/json"})
                found = json.loads(answer.data)
            except (HTTPError, ValueError):
                return 0, {}, {}
        return answer.status, answer.headers, found if isinstance(found, dict) else {}

    def _claim(self, run: TaskRun, is_over: Callable[[], bool], nonce: str) -> Claimed:
        now = self._threads.loop.time
        end, pause = now() + float(run.environment.get("GHR_CLAIM_WAIT", WAIT)), FIRST_PAUSE
        while not is_over():
            status, headers, body = self.ask(run.environment, nonce)
            self._tell(run.task_id, f"claim answered: {status or 'not at all'} {body.get('code', '')}".rstrip())
            given = body.get("environment")
            if status == _OK and isinstance(given, dict):
                return Claimed(given)
            if status in EXIT_CODES and "code" in body:
                return Claimed({}, EXIT_CODES[status])
            asked, chance = headers.get("Retry-After", ""), self._random.random()
            wait = min(float(asked), LONGEST_ASKED) * (1 + chance / 2) if asked.isdigit() else pause * chance
            pause = min(2 * pause, LONGEST_PAUSE)
            if now() + wait > end:
                break
            self._threads.sleep(wait)
        return Claimed({}, NO_ANSWER)
