"""One webhook delivery in, one answer out: the use case behind the HTTP function.

    size -> source address -> headers -> signature -> parse -> decide -> start a runner -> answer

Each step is as cheap as it can be while the delivery is not proven genuine, and GitHub and Azure are not asked before.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import assert_never

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.delivery.answer import Answer, misconfigured
from orchestrator.delivery.deadline import Workers
from orchestrator.delivery.keeper import Keeper
from orchestrator.delivery.source_check import SourceCheck
from orchestrator.delivery.webhook import (
    DeliveryHeaders,
    event_about_a_runner,
    is_signed,
    json_payload,
    ping_event,
    verify_signature,
    webhook_of,
)
from orchestrator.errors import (
    DeliveryRefused,
    OrchestratorError,
    RequestTooLarge,
    SettingsError,
    TransientError,
    UpstreamError,
)
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit
from orchestrator.jobs.event import EVENT, WorkflowJobEvent
from orchestrator.jobs.request import Retry, RetryLater, RunnerRequest
from orchestrator.lines import Line
from orchestrator.log import Log, about, also_about
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import HandleJob
from orchestrator.runtime import UPSTREAM_THREADS, Threads

log = Log(__name__)

# Seconds. GitHub waits 10 s for an answer. We spend at most 7 s on starting a runner, and 2 s on queueing the job, or
# what is left of the 7 s.
START_DEADLINE = 7.0
QUEUE_DEADLINE = 2.0


class DeliveryReceiver:
    """Receives deliveries.

    Args:
        settings: the app settings.
        source_check: refuses callers from elsewhere.
        handle: does what an admitted job needs.
        retry_later: puts jobs into the queue.
        upstream_threads: run `handle`; there are `UPSTREAM_THREADS`.
        queue_threads: run `retry_later`.
        start_deadline: seconds that one delivery may spend until `handle` has returned.
    """

    def __init__(
        self,
        settings: Settings,
        source_check: SourceCheck,
        handle: HandleJob,
        retry_later: RetryLater,
        *,
        upstream_threads: Threads,
        queue_threads: Threads,
        start_deadline: float = START_DEADLINE,
    ) -> None:
        self._settings = settings
        self._source_check = source_check
        self._handle = handle
        self._workers = Workers(upstream_threads, UPSTREAM_THREADS)
        self._keeper = Keeper(retry_later, queue_threads)
        self._start_deadline = start_deadline

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take one delivery and answer it; never raises, and always leaves its line in the log.

        Args:
            headers: the request's headers; looked up by names in lower case.
            body: the raw body.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        with about(
            delivery=headers.get("x-github-delivery", "")[:100],
            event=headers.get("x-github-event", "")[:100],
            forwarded_for=headers.get("x-forwarded-for", "")[-100:],
        ):
            try:
                answer = await self._receive(headers, body, started + self._start_deadline)
            except DeliveryRefused as error:
                answer = Answer(error.status, {"result": Result.REFUSED, "reason": str(error)})
            except SettingsError as error:
                answer = misconfigured(error)
            except TransientError as error:
                answer = Answer(503, {"result": Result.FAILED, "reason": str(error)})
            except UpstreamError as error:
                answer = Answer(500, {"result": Result.FAILED, "reason": str(error)})
            except Exception:  # a mistake of ours; it is logged, and the host need not answer for us
                log.exception(message="an unexpected error")
                answer = Answer(500, {"result": Result.FAILED, "reason": "an unexpected error: see the log"})
            log(
                _level(answer.status),
                Line.DELIVERY,
                status=answer.status,
                ms=round((clock() - started) * 1000),
                **answer.body,
            )
        return answer

    async def _receive(self, headers: Mapping[str, str], body: bytes, deadline: float) -> Answer:
        """Answer a delivery; `deadline` is a moment of the event loop's clock."""
        if len(body) > self._settings.max_request_bytes:
            raise RequestTooLarge(f"the body is over {self._settings.max_request_bytes} bytes (MaxRequestBytes)")
        secrets = self._settings.webhook_secrets
        await self._source_check.require_allowed(headers, lambda: is_signed(headers, body, secrets))
        delivery = DeliveryHeaders.parse(headers)
        verify_signature(body, delivery.signature, secrets)
        payload = json_payload(body, delivery.content_type)
        if delivery.event == "ping":
            return _pong(payload)
        if delivery.event != EVENT:
            return _ignored(f"the event is {delivery.event}, only {EVENT} starts runners")
        event = event_about_a_runner(payload)
        if event is None:
            return _ignored("only the action queued starts a runner, and completed may end one")
        also_about(job=event.workflow_job.id, repository=event.repository.full_name)
        admission = admit(event, self._settings)
        match admission:
            case Ignored(reason):
                return _ignored(reason)
            case Refused(reason):
                return Answer(403, {"result": Result.REFUSED, "reason": reason})
            case Admitted(profile):
                event = event.model_copy(update={"webhook": webhook_of(headers, event), "delivery": delivery.delivery})
                return await self._handle_job(event, profile, delivery.delivery, deadline)
            case _:
                assert_never(admission)

    async def _handle_job(self, event: WorkflowJobEvent, profile: Profile, delivery: str, deadline: float) -> Answer:
        self._source_check.refresh_soon()
        seconds = deadline - asyncio.get_running_loop().time()
        try:
            outcome = await self._workers.within(seconds, lambda: self._handle(event, profile))
        except TransientError as error:
            return await self._keep(event, delivery, error, deadline)
        except OrchestratorError:
            raise
        except Exception:  # a mistake of ours must not cost a job its runner; it is logged
            log.exception(message="an unexpected error")
            return await self._keep(event, delivery, TransientError("an unexpected error: see the log"), deadline)
        return _answer(outcome)

    async def _keep(self, event: WorkflowJobEvent, delivery: str, error: TransientError, deadline: float) -> Answer:
        retry = Retry(RunnerRequest(delivery=delivery, event=event), error.retry_after)
        seconds = max(deadline - asyncio.get_running_loop().time(), 0) + QUEUE_DEADLINE
        try:
            wait = await self._keeper.keep(retry, seconds)
        except SettingsError:
            raise
        except OrchestratorError as queue_error:
            return _not_kept(error, str(queue_error))
        except Exception:  # whatever it is, GitHub is to see that the delivery failed
            log.exception(message="an unexpected error")
            return _not_kept(error, "an unexpected error: see the log")
        return Answer(202, {"result": Result.KEPT, "reason": str(error), "next_try_in_s": round(wait)})


def _level(status: int) -> int:
    return logging.INFO if status < 300 else logging.WARNING if status < 500 else logging.ERROR  # noqa: PLR2004 - HTTP


def _answer(outcome: Outcome) -> Answer:
    match outcome.result:
        case Result.GONE:
            return _ignored("the delivery is late: the job waits no longer")
        case Result.REFUSED:
            return Answer(403, {"result": outcome.result, "reason": outcome.reason})
        case Result.WAITS:
            body = {"result": outcome.result, "reason": outcome.reason, "pool": outcome.pool}
            return Answer(202, {**body, "profile": outcome.profile.name})
        case Result.CREATED | Result.EXISTS | Result.REMOVED | Result.LEFT:
            body = {
                "result": outcome.result,
                "task": outcome.task_id,
                "pool": outcome.pool,
                "image": outcome.profile.image,
                "profile": outcome.profile.name,
            }
            reason = {"reason": outcome.reason} if outcome.reason else {}
            return Answer(201 if outcome.result == Result.CREATED else 200, {**body, **reason})
        case _:
            assert_never(outcome.result)


def _not_kept(error: TransientError, queue_trouble: str) -> Answer:
    return Answer(503, {"result": Result.FAILED, "reason": f"{error}; and it could not be kept: {queue_trouble}"})


def _ignored(reason: str) -> Answer:
    return Answer(200, {"result": Result.IGNORED, "reason": reason})


def _pong(payload: bytes) -> Answer:
    events = ping_event(payload).hook.events
    advice = (
        "the hook sends workflow_job events; `python -m orchestrator check` looks at all the rest"
        if EVENT in events or "*" in events
        else "let the hook send the event 'Workflow jobs' (workflow_job), and no other"
    )
    return Answer(200, {"result": Result.PONG, "advice": advice})
