"""What GitHub or Batch could not serve at once, tried again: the use case behind the queue function.

A message never fails back to the host, which would repeat it at a pace of its own and then put it aside without a word:
it ends as a runner, in the queue again with a longer wait, or among the given-up with one alert.
"""

import json
import logging
from collections.abc import Callable, Mapping

from orchestrator.config.profiles import RunnerProfile
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError, RepositoryNotAllowed, RequestMalformed, TransientError
from orchestrator.jobs.admission import Ignored, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import MAX_ATTEMPTS, RunnerRequest
from orchestrator.runners.provisioning import Outcome

logger = logging.getLogger(__name__)


class SlowLane:
    """Takes messages of the queue.

    Args:
        settings: the app settings.
        serve: does what an admitted job needs (`Provisioner.serve`).
        keep: puts a request back, given the seconds to wait that a service asked for (`RequestQueue.retry_later`).
        give_up: puts a message aside (`RequestQueue.dead_letter`).
    """

    def __init__(
        self,
        settings: Settings,
        serve: Callable[[WorkflowJobEvent, RunnerProfile], Outcome],
        keep: Callable[[RunnerRequest, float | None], float],
        give_up: Callable[[bytes, str], None],
    ) -> None:
        self._settings = settings
        self._serve = serve
        self._keep = keep
        self._give_up = give_up

    def take(self, message: bytes) -> None:
        """Try once more what a message asks for.

        Raises:
            TransientError: The queue itself does not answer; the host then shows the message again.
        """
        try:
            request = RunnerRequest.parse(message).again()
        except RequestMalformed as error:
            self._alert(message, str(error))
            return
        about = {
            "delivery": request.delivery,
            "job": request.event.workflow_job.id,
            "repository": request.event.repository.full_name,
            "attempt": request.attempt,
        }
        try:
            admission = admit(request.event, self._settings)
            if isinstance(admission, Ignored):
                _log(logging.WARNING, result="ignored", reason=f"no longer served: {admission.reason}", **about)
                return
            done = self._serve(request.event, admission.profile)
        except RepositoryNotAllowed as error:
            _log(logging.WARNING, result="refused", reason=f"no longer served: {error}", **about)
        except TransientError as trouble:
            self._keep_or_give_up(request, trouble, about)
        except OrchestratorError as error:
            self._alert(request.model_dump_json().encode(), str(error), **about)
        except Exception:  # a mistake of ours must not cost a job its runner
            logger.exception("an unexpected error")
            self._keep_or_give_up(request, TransientError("an unexpected error: see the log"), about)
        else:
            _log(logging.INFO, result=done.result, task=done.task_id, pool=done.pool, **about)

    def _keep_or_give_up(self, request: RunnerRequest, trouble: TransientError, about: Mapping[str, object]) -> None:
        if request.attempt >= MAX_ATTEMPTS:
            self._alert(request.model_dump_json().encode(), str(trouble), **about)
            return
        wait = self._keep(request, trouble.retry_after)
        _log(logging.WARNING, result="kept", reason=str(trouble), next_try_in_s=round(wait), **about)

    def _alert(self, message: bytes, reason: str, **about: object) -> None:
        self._give_up(message, reason)
        _log(logging.CRITICAL, result="given up", reason=reason, **about)


def _log(level: int, **fields: object) -> None:
    logger.log(level, "%s", json.dumps(fields))
