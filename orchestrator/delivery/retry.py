"""A kept request, tried again: the use case behind the queue function.

A message never fails back to the Functions host, which would repeat it at a pace of its own and then put it aside
without a word. Each of its requests ends in one of three ways: its job has a runner, it is in the queue again with a
longer wait, or it is given up, with one alert.
"""

import contextvars
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import assert_never

from orchestrator.clock import Clock
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError, RequestMalformed, TransientError
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit
from orchestrator.jobs.request import MAX_ATTEMPTS, Retry, RetryLater, RunnerRequest
from orchestrator.lines import Line
from orchestrator.log import Log, about
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import HandleJob

log = Log(__name__)

# Seconds that one try may take. What takes longer goes on alone, which is harmless, and is tried again later.
TRY_DEADLINE = 60.0

# Puts a message into the queue of given-up requests, with the reason.
type DeadLetter = Callable[[bytes, str], None]


class RetryHandler:
    """Takes messages of the queue.

    Args:
        settings: the app settings.
        handle: does what an admitted job needs.
        retry_later: puts requests back into the queue.
        dead_letter: puts a message aside for good.
        clock: the time.
        threads: run `handle`.
        deadline: seconds that the requests of a message may take.
    """

    def __init__(
        self,
        settings: Settings,
        handle: HandleJob,
        retry_later: RetryLater,
        dead_letter: DeadLetter,
        *,
        clock: Clock,
        threads: Executor,
        deadline: float = TRY_DEADLINE,
    ) -> None:
        self._settings = settings
        self._handle = handle
        self._retry_later = retry_later
        self._dead_letter = dead_letter
        self._clock = clock
        self._threads = threads
        self._deadline = deadline

    def retry(self, message: bytes) -> None:
        """Try once more what a message asks for.

        Raises:
            TransientError: The queue itself does not answer; the host then shows the message again.
        """
        try:
            requests = [request.next_attempt() for request in RunnerRequest.parse_all(message)]
        except RequestMalformed as error:
            self._give_up(message, str(error))
            return
        end = self._clock() + timedelta(seconds=self._deadline)
        begun = [(request, self._begin(request)) for request in requests]
        again = []
        for request, done in begun:
            trouble = self._end(request, done, end) if done else None
            if trouble:
                again.append((request, trouble))
        self._keep(again)

    def _about(self, request: RunnerRequest) -> AbstractContextManager[None]:
        return about(
            delivery=request.delivery,
            job=request.event.workflow_job.id,
            repository=request.event.repository.full_name,
            attempt=request.attempt,
            kept_for_s=round((self._clock() - request.kept_since).total_seconds()),
        )

    def _begin(self, request: RunnerRequest) -> Future[Outcome] | None:
        """Begin to start a runner; return None if the job is no longer served."""
        admission = admit(request.event, self._settings)
        with self._about(request):
            match admission:
                case Ignored(reason):
                    log(logging.WARNING, Line.RETRY, result=Result.IGNORED, reason=f"no longer served: {reason}")
                case Refused(reason):
                    log(logging.WARNING, Line.RETRY, result=Result.REFUSED, reason=f"no longer served: {reason}")
                case Admitted(profile):
                    context = contextvars.copy_context()  # the ids of the log
                    return self._threads.submit(context.run, self._handle, request.event, profile)
                case _:
                    assert_never(admission)
        return None

    def _end(self, request: RunnerRequest, done: Future[Outcome], end: datetime) -> TransientError | None:
        """Wait for a try until `end`; return why the request is to be tried again, if it is."""
        with self._about(request):
            try:
                outcome = self._outcome(done, end)
            except TransientError as error:
                if request.attempt < MAX_ATTEMPTS:
                    return error
                self._give_up(request.model_dump_json().encode(), str(error))
            except OrchestratorError as error:
                self._give_up(request.model_dump_json().encode(), str(error))
            else:
                level = logging.WARNING if outcome.result == Result.REFUSED else logging.INFO
                reason = {"reason": outcome.reason} if outcome.reason else {}
                log(level, Line.RETRY, result=outcome.result, task=outcome.task_id, pool=outcome.pool, **reason)
        return None

    def _outcome(self, done: Future[Outcome], end: datetime) -> Outcome:
        """Return what became of the job.

        Raises:
            TransientError: It took too long, or failed in a way that nobody foresaw.
            OrchestratorError: It failed.
        """
        try:
            return done.result(max((end - self._clock()).total_seconds(), 0))
        except OrchestratorError:
            raise
        except Exception as error:  # a mistake of ours must not cost a job its runner; it is logged
            if isinstance(error, TimeoutError) and not done.done():  # else the time-out is that of the work
                done.cancel()  # if it waits for a thread; otherwise it goes on alone
                raise TransientError(f"not done within {self._deadline:.2g} s") from None
            log.exception(message="an unexpected error")
            raise TransientError("an unexpected error: see the log") from None

    def _keep(self, again: Sequence[tuple[RunnerRequest, TransientError]]) -> None:
        """Put requests back into the queue, those that are due at the same time together."""
        if not again:
            return
        with _asking_the_queue():
            waits = self._retry_later([Retry(request, error.retry_after) for request, error in again])
        for (request, error), wait in zip(again, waits, strict=True):
            with self._about(request):
                log(logging.WARNING, Line.RETRY, result=Result.KEPT, reason=str(error), next_try_in_s=round(wait))

    def _give_up(self, message: bytes, reason: str) -> None:
        with _asking_the_queue():
            self._dead_letter(message, reason)
        log(logging.CRITICAL, Line.RETRY, result=Result.GIVEN_UP, reason=reason)


@contextmanager
def _asking_the_queue() -> Iterator[None]:
    """Raise TransientError instead of whatever the queue raises, so that the host shows the message again."""
    try:
        yield
    except OrchestratorError:
        raise
    except Exception as error:
        log.exception(message="an unexpected error")
        raise TransientError("the queue does not do its part: an unexpected error") from error
