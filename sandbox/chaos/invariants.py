"""What must be true of the whole simulation; what must be true of each job is the ledger's."""

from collections import Counter
from collections.abc import Iterable

from orchestrator.azure.batch_jobs import note_id
from orchestrator.azure.request_queue import POISON, REQUESTS
from orchestrator.delivery.answer import Answer
from orchestrator.reconcile.job_search import CALLS_PER_REPOSITORY
from orchestrator.runners.claim_refusal import ClaimCode
from orchestrator.runners.task import task_of_runner
from sandbox.chaos.answers import documented_answers
from sandbox.chaos.foreign import Foreign
from sandbox.chaos.ledger import Key, Ledger, is_ours
from sandbox.chaos.operator_setup import LINUX_POOL, WINDOWS_POOL
from sandbox.chaos.simulated_batch import SimulatedBatch
from sandbox.chaos.simulated_containers import SimulatedContainers
from sandbox.chaos.simulated_host import RECONCILE, TEND_POOLS, TimerTrigger
from sandbox.chaos.virtual_time import VirtualLoop
from sandbox.github import GitHub
from sandbox.github.model import Runner
from sandbox.storage_queue import QueueService

# Seconds between two looks at the runners that have no job.
LOOK_EVERY = 30.0
# Calls to GitHub, Batch and the queue that are enough. A job needs one or two, three if it is cancelled. A pass asks
# Batch nine times, twice more for the sizes of the pools, the queues four times, GitHub once per scope, hook and list
# of repositories, three times for each repository, and once more for each unfinished run (counted apart). What fails is
# tried again from the beginning: two calls ask whether the job still waits, one registers, one makes the task, one
# takes the registration back, and one keeps the request.
CALLS_PER_JOB, CALLS_PER_PASS, CALLS_FOR_A_REPOSITORY, CALLS_PER_FAULT = 4, 24, 3, 6
# The same of a look at a pool that may be boosted: the pool, its Batch jobs and their tasks, the note, autoscale, Batch
# jobs and tasks again, its size.
CALLS_PER_LOOK = 8
# The same of a claim: the task, the note of its first use, whether the job still waits, the registration, and the note
# of the runner.
CALLS_PER_CLAIM = 5
# Statuses and results of the documented answers that no delivery of GitHub's is given while the settings are right.
_NOT_FOR_GITHUB = frozenset({400, 401, 413, 415, "misconfigured"})
# Codes of the answers that no container of ours is given while the settings are right.
_NOT_FOR_CONTAINERS = frozenset(
    {
        ClaimCode.OFF, ClaimCode.SOURCE, ClaimCode.TOO_LARGE, ClaimCode.MALFORMED, ClaimCode.TOO_OFTEN,
        ClaimCode.KEY_UNKNOWN, ClaimCode.FORGED, ClaimCode.EXPIRED, ClaimCode.UPSTREAM_REFUSED,
        ClaimCode.MISCONFIGURED, ClaimCode.ERROR,
    }
)  # fmt: skip
_POOLS = (LINUX_POOL, WINDOWS_POOL)
# The Batch jobs that hold a pool's formula while a boost has switched it off.
_BOOST_NOTES = tuple(note_id(pool) for pool in _POOLS)


class Invariants:
    """Looks at everything, and tells the ledger of what should not be.

    Args:
        ledger: keeps the books.
        loop: virtual time.
        github: where runners may be left over.
        batch: where tasks may be left over.
        queue: where messages may be left over.
        containers: tells which tasks could take a job.
        foreign: what must not be touched.
    """

    def __init__(
        self,
        ledger: Ledger,
        loop: VirtualLoop,
        *,
        github: GitHub,
        batch: SimulatedBatch,
        queue: QueueService,
        containers: SimulatedContainers,
        foreign: Foreign,
    ) -> None:
        self._ledger = ledger
        self._loop = loop
        self._github = github
        self._batch = batch
        self._queue = queue
        self._containers = containers
        self._foreign = foreign
        self._enough_calls = 0
        self._answers = frozenset(pair for pair in documented_answers() if not _NOT_FOR_GITHUB & set(pair))

    # While it runs ---------------------------------------------------------------------------------------------------

    def look(self, outages: Iterable[tuple[float, float]]) -> None:
        """Compare runners with jobs, and pools with their maximum.

        Args:
            outages: when each total outage began and ended, in epoch seconds.
        """
        unused: dict[Key, list[str]] = {}
        ours = self._batch.jobs_on(_POOLS)
        for job, task_id, state in self._batch.live_tasks():
            record = self._ledger.record_of(task_id) if job in ours else None
            if record is not None and (state == "active" or self._containers.unused(job, task_id)):
                unused.setdefault(record.key, []).append(task_id)
        now = self._loop.now()
        pardon = sum(max(0.0, min(end, now) - begin) for begin, end in outages if end > now - 7200)
        self._ledger.look(unused, now, now - LOOK_EVERY, pardon)
        for pool in self._batch.pools():
            if pool.target + pool.spot_target > pool.max_nodes:
                self.violate("no pool above its maximum", f"{pool.id} shall have {pool.target + pool.spot_target}")

    def answered(self, answer: Answer) -> None:
        """Hold an answer to a delivery of GitHub's against the documentation."""
        if (answer.status, answer.body.get("result")) not in self._answers:
            self.violate("answers are documented", f"{answer.status} {answer.text}")

    def claiming(self) -> None:
        """Take into account that a claim is about to make calls."""
        self._enough_calls += CALLS_PER_CLAIM

    def claim_answered(self, answer: Answer, *, may_be_used: bool) -> None:
        """Check that a container of ours is refused for nothing but what happened to its task or its job.

        Args:
            answer: to its claim.
            may_be_used: whether somebody else uses claims.
        """
        code = answer.body.get("code")
        if code in _NOT_FOR_CONTAINERS or (code == ClaimCode.USED and not may_be_used):
            self.violate("no container is refused without a cause", f"{answer.status} {answer.text}")

    def firing(self, timer: TimerTrigger) -> None:
        """Take into account that a timer function is about to make calls."""
        if timer is RECONCILE:
            runs = Counter(run.status for run in self._github.state.runs.values())
            waiting = min(runs.pop("waiting", 0), CALLS_PER_REPOSITORY)
            repositories = CALLS_FOR_A_REPOSITORY * len(self._github.state.repositories)
            self._enough_calls += CALLS_PER_PASS + repositories + waiting + runs.total() - runs["completed"]
        elif timer is TEND_POOLS:
            self._enough_calls += CALLS_PER_LOOK * len(_POOLS)

    # At its end ------------------------------------------------------------------------------------------------------

    def left_over(self) -> list[str]:
        """Name everything of ours that is still there."""
        ours = self._batch.jobs_on(_POOLS)
        found = [f"task {task} is {state}" for job, task, state in self._batch.live_tasks() if job in ours]
        left_to_github = self.left_to_github()
        found += [
            f"runner {runner.name} is registered"
            for runner in self._github.runners
            if is_ours(runner.name) and runner not in left_to_github
        ]
        for queue in (REQUESTS, POISON):
            found += [f"a message in {queue}" for _ in self._queue.texts(queue)]
        return found + [f"the Batch job {note}" for note in _BOOST_NOTES if self._batch.has_job(note)]

    def left_to_github(self) -> list[Runner]:
        """Return the registrations of ours that only GitHub can clear away, which it does within a day.

        A process that dies between a JIT registration and its task leaves one behind, and so does a Batch job that is
        deleted while its runners are gone: nothing tells these from the runners of another installation.
        """
        known = self._batch.known_tasks(self._batch.jobs_on(_POOLS))
        return [
            runner
            for runner in self._github.runners
            if is_ours(runner.name)
            and runner.ephemeral
            and not runner.online
            and not runner.busy
            and task_of_runner(runner.name) not in known
        ]

    def check_end(self, *, calls: int, faults: int, boosted: bool) -> None:
        """Check what must be true when everything has settled.

        Args:
            calls: that the application has made.
            faults: how often something went wrong that makes more of them necessary.
            boosted: whether each job may have been a reason to look at a pool.
        """
        for thing in self.left_over():
            self.violate("nothing is left over", thing)
        for pool in self._batch.pools():
            if not pool.autoscale:
                self.violate("autoscale is on at the end", f"{pool.id} keeps its size")
        for problem in self._foreign.problems():
            self.violate("nothing foreign is touched", problem)
        per_job = CALLS_PER_JOB + (CALLS_PER_LOOK if boosted else 0)
        enough = self._enough_calls + per_job * len(self._ledger.records) + CALLS_PER_FAULT * faults
        if calls > enough:
            self.violate("calls stay within the budget", f"{calls} calls, where {enough} are enough")

    def violate(self, invariant: str, what: str) -> None:
        """Note that an invariant is broken."""
        self._ledger.violate(invariant, what, self._loop.now())
