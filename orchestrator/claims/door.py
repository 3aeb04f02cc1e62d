"""One claim in, one runner's registration out: the use case behind `ClaimRunner`.

    Batch: does its task run, with this claim? -> first use -> still wanted? -> register

The claim's MAC and its age were checked before (`orchestrator.claims.receiver`). Each step has its refusals, with a
code of their own. What leaves is always the JIT configuration of one runner: nothing that opens more.
"""

import hmac
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from orchestrator.claims.use import Use, name_of
from orchestrator.clock import Clock
from orchestrator.errors import CallsSpent, RunnerNameTaken, SettingsError, TransientError, UpstreamError
from orchestrator.jobs.event import WorkflowJob, WorkflowJobEvent
from orchestrator.runners.claim import Claim
from orchestrator.runners.claim_refusal import ClaimCode, refusal
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.registration import Registrar, Registration, another_name
from orchestrator.runners.scope import ScopeAccess
from orchestrator.runtime import MakeLock

# Seconds until the next try where Batch does not say yet that the task runs, or where an earlier try goes on.
SHORT_WAIT = 2.0
# GitHub is not asked about a job that was queued within this time: it hardly ended since.
JOB_IS_FRESH = timedelta(minutes=2)


@dataclass(frozen=True)
class ClaimingTask:
    """What Batch says of a task whose container claims.

    Attributes:
        state: whether its container has not started yet, runs or has ended.
        started_at: when it was started last, if it was.
        claim: the claim that it carries; empty if it carries none.
        notes: what it says about its runner.
    """

    state: Literal["waiting", "running", "finished"]
    started_at: datetime | None
    claim: str = field(repr=False)
    notes: TaskNotes


class UseRecords(Protocol):
    """Where first uses are kept, for all processes."""

    def create(self, name: str, content: bytes) -> bytes | None:
        """Create a record; return what it holds if there is one of this name already, and None otherwise."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a record that there is."""


@dataclass(frozen=True)
class Admission:
    """What a container gets.

    Attributes:
        environment: the variables that it lays over its own; holds a secret.
        runner: the name of its runner.
        remark: what else the log is to say.
    """

    environment: Mapping[str, str] = field(repr=False)
    runner: str
    remark: str | None = None


class Door:
    """Hands over registrations. Safe under threads.

    Args:
        task: asks Batch for a task, by its Batch job and its id; None if there is none.
        uses: keeps who has used which claim.
        registrar: registers runners, each with a JIT configuration.
        remove: takes a registered runner away, if it is still there.
        job: asks GitHub for an event's job, as it is now.
        is_needed: whether the last pass, if that was lately, found another job that may need the runner; takes the
            profile's name and the task's id.
        web_url: GitHub's address for people, without a trailing slash.
        clock: the time.
        lock: makes a lock.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a claim needs
        self,
        *,
        task: Callable[[str, str], ClaimingTask | None],
        uses: UseRecords,
        registrar: Registrar,
        remove: Callable[[ScopeAccess, int], None],
        job: Callable[[WorkflowJobEvent], WorkflowJob],
        is_needed: Callable[[str, str], bool],
        web_url: str,
        clock: Clock,
        lock: MakeLock = threading.Lock,
    ) -> None:
        self._task = task
        self._uses = uses
        self._registrar = registrar
        self._remove = remove
        self._job = job
        self._is_needed = is_needed
        self._web_url = web_url
        self._clock = clock
        self._lock = lock()
        self._in_progress: set[tuple[str, str]] = set()

    def admit(self, claim: Claim, text: str, nonce: str) -> Admission:
        """Return what the container needs to become a runner.

        Args:
            claim: what it may ask for.
            text: the claim as it was sent.
            nonce: what this start of the container alone knows.

        Raises:
            ClaimRefused: It gets nothing, or nothing now.
        """
        asked_at = self._clock()
        with self._alone(claim):
            task, started_at = self._running(claim, text)
            record = self._first_use(claim, text, Use.of(nonce), started_at, asked_at)
            self._require_wanted(claim.task_id, task)
            with _understood(ClaimCode.GITHUB):
                name, registration = self._register(claim)
            remark = self._note(record, Use.of(nonce, registration.runner_id, self._clock()))
        environment = {
            "GHR_URL": claim.access.scope.url(self._web_url),
            "GHR_NAME": name,
            "GHR_JITCONFIG": registration.secret,
        }
        return Admission(environment, name, remark)

    @contextmanager
    def _alone(self, claim: Claim) -> Iterator[None]:
        """Let a task claim once at a time: a container that gave up waiting asks again while its first try goes on."""
        key = claim.batch_job, claim.task_id
        with self._lock:
            is_first = key not in self._in_progress
            self._in_progress.add(key)
        if not is_first:
            raise refusal(ClaimCode.IN_PROGRESS, "an earlier try of this task still goes on", retry_after=SHORT_WAIT)
        try:
            yield
        finally:
            with self._lock:
                self._in_progress.discard(key)

    def _running(self, claim: Claim, text: str) -> tuple[ClaimingTask, datetime]:
        """Return the task, and when Batch started it, if it runs with this claim."""
        with _understood(ClaimCode.BATCH):
            task = self._task(claim.batch_job, claim.task_id)
        if task is None:
            raise refusal(ClaimCode.NO_TASK, "Batch has no such task")
        if not hmac.compare_digest(task.claim.encode(errors="replace"), text.encode()):
            raise refusal(ClaimCode.OTHER_CLAIM, "the task on Batch does not carry this claim")
        if task.state == "finished":
            raise refusal(ClaimCode.ENDED, "the task has ended")
        if task.state == "waiting" or task.started_at is None:
            raise refusal(ClaimCode.NOT_RUNNING, "Batch does not say yet that the task runs", retry_after=SHORT_WAIT)
        return task, task.started_at

    def _first_use(self, claim: Claim, text: str, own: Use, started_at: datetime, asked_at: datetime) -> str:
        """Return the name of the record that this container is the first to use the claim, for this start of its task.

        A container whose answer was lost asks again with its nonce; the runner that was made for it is removed. But a
        request that came before that runner was made is one that the container has given up: by now it may be the
        runner, by a later request to another process.
        """
        name, use = self._recorded(claim, own, started_at)
        if not use.is_by_same(own):
            # Batch runs a task again when its node was lost, and may have done so since it was asked.
            _, now_started_at = self._running(claim, text)
            if now_started_at != started_at:
                name, use = self._recorded(claim, own, now_started_at)
        if not use.is_by_same(own):
            raise refusal(ClaimCode.USED, "somebody else has used the claim of this task before its container")
        if use.noted_at is not None and use.noted_at > asked_at:
            raise refusal(ClaimCode.IN_PROGRESS, "a later try of this task was answered", retry_after=SHORT_WAIT)
        if use.runner is not None:
            with _understood(ClaimCode.GITHUB):
                self._remove(claim.access, use.runner)
        return name

    def _recorded(self, claim: Claim, own: Use, started_at: datetime) -> tuple[str, Use]:
        """Return the record of one start of the task: its name, and what it holds. It is made where there is none."""
        name = name_of(claim.batch_job, claim.task_id, started_at)
        with _understood(ClaimCode.STORAGE):
            content = self._uses.create(name, own.encode())
        return name, own if content is None else Use.decode(content)

    def _require_wanted(self, task_id: str, task: ClaimingTask) -> None:
        """Check that a job needs the runner: GitHub gives it to any job that matches, not to its own alone.

        So it is refused only where its own job ended without a runner, and no other job of its profile is known to
        wait. Where GitHub does not tell, it may start.
        """
        origin = task.notes.origin
        if origin is None:
            return
        queued_at = origin.event.workflow_job.created_at
        if queued_at is not None and self._clock() - queued_at < JOB_IS_FRESH:
            return
        with _understood(ClaimCode.GITHUB):
            try:
                job = self._job(origin.event)
            except CallsSpent:  # there is none left for the registration either
                raise
            except UpstreamError:
                return
        ended_without_runner = job.conclusion is not None and not job.had_runner
        if ended_without_runner and not self._is_needed(origin.profile, task_id):
            raise refusal(ClaimCode.NOT_WANTED, "its job ended without a runner, and no other needs this one")

    def _register(self, claim: Claim) -> tuple[str, Registration]:
        """Register the runner; return its name and its registration.

        An earlier start of the task may have left a runner of the first name.
        """
        for name in (claim.task_id, another_name(claim.task_id)):
            try:
                return name, self._registrar.register(claim.access, name, claim.labels, claim.group)
            except RunnerNameTaken:
                continue
        raise TransientError("GitHub knows a runner of the task's name already, and one of another name")

    def _note(self, record: str, use: Use) -> str | None:
        """Take note of the runner; return why that was not possible, if so.

        Without the note a lost answer costs a runner that never comes online, which a pass removes.
        """
        try:
            self._uses.replace(record, use.encode())
        except (UpstreamError, SettingsError) as error:
            return f"its runner could not be noted: {error}"
        return None


@contextmanager
def _understood(code: ClaimCode) -> Iterator[None]:
    """Raise what an error of a service means for the container.

    A wait is told only where the service named one: without, the container's pauses grow from try to try.

    Args:
        code: names the service that does not answer.
    """
    try:
        yield
    except TransientError as error:
        raise refusal(code, str(error), retry_after=error.retry_after) from None
    except (UpstreamError, SettingsError) as error:
        raise refusal(ClaimCode.UPSTREAM_REFUSED, str(error)) from None
