"""A kept request, tried again: the use case behind the queue function.

A message never fails back to the Functions host, which would repeat it at a pace of its own and then put it aside
without a word. It ends in one of three ways: its job has a runner, it is in the queue again with a longer wait, or it
is given up, with one alert.
"""

import contextvars
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import assert_never

from orchestrator.clock import Clock
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError, RequestMalformed, TransientError
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit
from orchestrator.jobs.request import MAX_ATTEMPTS, RetryLater, RunnerRequest
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
        retry_later: puts a request back into the queue.
        dead_letter: puts a message aside for good.
        clock: the time.
        threads: run `handle`.
        deadline: seconds that `handle` may take.
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
            request = RunnerRequest.parse(message).next_attempt()
        except RequestMalformed as error:
            self._give_up(message, str(error))
            return
        with about(
            delivery=request.delivery,
            job=request.event.workflow_job.id,
            repository=request.event.repository.full_name,
            attempt=request.attempt,
            kept_for_s=round((self._clock() - request.kept_since).total_seconds()),
        ):
            self._retry(request)

    def _retry(self, request: RunnerRequest) -> None:
        admission = admit(request.event, self._settings)
        match admission:
            case Ignored(reason):
                log(logging.WARNING, result=Result.IGNORED, reason=f"no longer served: {reason}")
            case Refused(reason):
                log(logging.WARNING, result=Result.REFUSED, reason=f"no longer served: {reason}")
            case Admitted():
                self._start(request, admission)
            case _:
                assert_never(admission)

    def _start(self, request: RunnerRequest, admission: Admitted) -> None:
        try:
            outcome = self._handled(request, admission)
        except TransientError as error:
            self._retry_or_give_up(request, error)
        except OrchestratorError as error:
            self._give_up(request.model_dump_json().encode(), str(error))
        except Exception:  # a mistake of ours must not cost a job its runner; it is logged
            log.exception(message="an unexpected error")
            self._retry_or_give_up(request, TransientError("an unexpected error: see the log"))
        else:
            level = logging.WARNING if outcome.result == Result.REFUSED else logging.INFO
            reason = {"reason": outcome.reason} if outcome.reason else {}
            log(level, result=outcome.result, task=outcome.task_id, pool=outcome.pool, **reason)

    def _handled(self, request: RunnerRequest, admission: Admitted) -> Outcome:
        """Return what became of the job.

        Raises:
            TransientError: It took too long.
        """
        context = contextvars.copy_context()  # the ids of the log
        done = self._threads.submit(context.run, self._handle, request.event, admission.profile)
        try:
            return done.result(self._deadline)
        except TimeoutError:
            if done.done():  # the time-out is that of the work
                raise
            raise TransientError(f"not done within {self._deadline:.2g} s") from None

    def _retry_or_give_up(self, request: RunnerRequest, error: TransientError) -> None:
        if request.attempt >= MAX_ATTEMPTS:
            self._give_up(request.model_dump_json().encode(), str(error))
            return
        with _asking_the_queue():
            wait = self._retry_later(request, error.retry_after)
        log(logging.WARNING, result=Result.KEPT, reason=str(error), next_try_in_s=round(wait))

    def _give_up(self, message: bytes, reason: str) -> None:
        with _asking_the_queue():
            self._dead_letter(message, reason)
        log(logging.CRITICAL, result=Result.GIVEN_UP, reason=reason)


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
