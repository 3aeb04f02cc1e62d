"""What becomes of GitHub's webhook deliveries on their way: late, twice, never, or a connection that fails."""

import functools
import random
from collections import Counter
from collections.abc import Callable, Mapping

from sandbox.chaos.ledger import Ledger
from sandbox.chaos.simulated_host import job_of
from sandbox.chaos.threads import Threads
from sandbox.github.hooks import Delivery, HookResponse, Post


class Deliveries:
    """Decides when and how often a delivery is sent, and carries it to its receiver.

    Args:
        threads: the workers that carry them.
        ledger: is told of each, for the story of its job.
        seed: of delays and of what goes wrong.
        faults: counts what went wrong.
        post: takes a delivery that arrives.

    Attributes:
        troubled: whether anything goes wrong.
    """

    def __init__(self, threads: Threads, ledger: Ledger, *, seed: int, faults: "Counter[str]", post: Post) -> None:
        self._threads = threads
        self._ledger = ledger
        self._random = random.Random(f"{seed}-world")  # noqa: S311 - a simulation; the word decides what a seed means
        self._faults = faults
        self._post = post
        self._jobs: dict[str, int] = {}
        self._dropped = False
        self.troubled = False

    def deliver(self, delivery: Delivery, attempt: Callable[[], None]) -> None:
        """Decide what becomes of a delivery (what `GitHub` calls `deliver`)."""
        job = (delivery.payload.get("workflow_job") or {}).get("id", 0)
        self._jobs[delivery.guid] = job
        name = f"delivery {delivery.guid[:8]} {delivery.action}{' (redelivered)' if delivery.redelivery else ''}"
        draw, dropped = self._random, False
        delays = [draw.uniform(0.1, 2.0)]
        if self.troubled:
            luck = draw.random()
            if luck < 0.02:  # noqa: PLR2004 - shares
                self._faults["webhook: never sent"] += 1
                self.tell(job, f"{name}: GitHub never sends it")
                if delivery.action == "queued":
                    self._ledger.untold(job)
                return
            if luck < 0.05:  # noqa: PLR2004
                self._faults["webhook: connection failed"] += 1
                dropped = True
            elif luck < 0.09:  # noqa: PLR2004
                self._faults["webhook: sent twice"] += 1
                delays.append(draw.uniform(0.1, 400))
            elif luck < 0.13:  # noqa: PLR2004
                self._faults["webhook: minutes late"] += 1
                delays[0] = draw.uniform(60, 900)
        for delay in delays:
            self._threads.later(delay, functools.partial(self._attempt, attempt, job, name, dropped=dropped))

    def send(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> HookResponse:
        """Carry a delivery to its receiver (what `GitHub` calls `send`)."""
        dropped, self._dropped = self._dropped, False
        if dropped:
            return HookResponse("failed to connect to host", 502)
        answer = self._post(url, headers, body, seconds)
        self.tell(
            job_of(body) or 0, f"delivery {headers['X-GitHub-Delivery'][:8]} answered: {answer.code} {answer.body}"
        )
        return answer

    def tell(self, about: str | int, text: str) -> None:
        """Add a line to the story of a job, given its id or the guid of a delivery about it."""
        job = self._jobs.get(about, 0) if isinstance(about, str) else about
        self._ledger.tell(job, self._threads.loop.now(), text)

    def _attempt(self, attempt: Callable[[], None], job: int, name: str, *, dropped: bool) -> None:
        self.tell(job, f"{name}: sent{', but the connection fails' if dropped else ''}")
        self._dropped = dropped
        attempt()
