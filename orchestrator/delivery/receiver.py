"""One webhook delivery in, one answer out: the use case behind the HTTP function.

    size -> source address -> headers -> signature -> parse -> decide -> provision -> answer

Each step is as cheap as it can be while the delivery is not proven genuine, and nothing upstream is asked before.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.config.profiles import RunnerProfile
from orchestrator.config.settings import Settings
from orchestrator.delivery.deadline import QUEUE, UPSTREAM, within
from orchestrator.delivery.hook_ranges import HookRanges
from orchestrator.delivery.source_address import caller_address, is_within
from orchestrator.delivery.webhook import (
    DeliveryHeaders,
    action_of,
    json_payload,
    ping_event,
    verify_signature,
    workflow_job_event,
)
from orchestrator.errors import (
    DeliveryRefused,
    OrchestratorError,
    RequestTooLarge,
    SettingsError,
    SignatureInvalid,
    SourceNotAllowed,
    TransientError,
    UpstreamError,
)
from orchestrator.jobs.admission import Ignored, admit
from orchestrator.jobs.event import EVENT, WorkflowJobEvent
from orchestrator.runners.provisioning import Outcome

logger = logging.getLogger(__name__)

# GitHub gives a delivery 10 s. What is not done in 7 is kept for later, and that may take 2 more.
DEADLINE = 7.0
KEEP_DEADLINE = 2.0
REFRESH_DEADLINE = 3.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer whose JSON body an operator reads in GitHub's *Recent Deliveries*."""

    status: int
    body: Mapping[str, object]

    @property
    def text(self) -> str:
        """The body as it goes over the wire."""
        return json.dumps(self.body)


class DeliveryReceiver:
    """Receives deliveries.

    Args:
        settings: the app settings.
        hook_ranges: where GitHub's own webhooks come from.
        serve: does what an admitted job needs (`Provisioner.serve`).
        keep: puts a job into the queue, given the delivery's id and the seconds to wait that a service asked for;
            returns the seconds until it is tried.
    """

    def __init__(
        self,
        settings: Settings,
        hook_ranges: HookRanges,
        serve: Callable[[WorkflowJobEvent, RunnerProfile], Outcome],
        keep: Callable[[WorkflowJobEvent, str, float | None], float],
    ) -> None:
        self._settings = settings
        self._hook_ranges = hook_ranges
        self._serve = serve
        self._keep = keep

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take one delivery and answer it; never raises what a caller could cause.

        Args:
            headers: the request's headers, names in lower case.
            body: the raw body.
        """
        started = time.monotonic()
        deadline = asyncio.get_running_loop().time() + DEADLINE
        about: dict[str, object] = {}
        try:
            answer = await self._receive(headers, body, deadline, about)
        except DeliveryRefused as error:
            answer = Answer(error.status, {"result": "refused", "reason": str(error)})
        except SettingsError as error:
            answer = misconfigured(error)
        except UpstreamError as error:
            answer = Answer(500, {"result": "failed", "reason": str(error)})
        log = logger.info if answer.status < 300 else logger.warning if answer.status < 500 else logger.error  # noqa: PLR2004 - HTTP
        log(
            "%s",
            json.dumps(
                {
                    "delivery": headers.get("x-github-delivery", "")[:100],
                    "event": headers.get("x-github-event", "")[:100],
                    "forwarded_for": headers.get("x-forwarded-for", "")[-100:],
                    "status": answer.status,
                    "ms": round((time.monotonic() - started) * 1000),
                    **answer.body,
                    **about,
                }
            ),
        )
        return answer

    async def _receive(
        self, headers: Mapping[str, str], body: bytes, deadline: float, about: dict[str, object]
    ) -> Answer:
        """Answer by a moment of the event loop's clock; note what the delivery is about once that can be trusted."""
        if len(body) > self._settings.max_request_bytes:
            raise RequestTooLarge(f"the body is over {self._settings.max_request_bytes} bytes (MaxRequestBytes)")
        await self._check_source(headers, body)
        delivery = DeliveryHeaders.parse(headers)
        verify_signature(body, delivery.signature, self._settings.webhook_secrets)
        payload = json_payload(body, delivery.content_type)
        if delivery.event == "ping":
            return _pong(payload)
        if delivery.event != EVENT:
            return _ignored(f"the event is {delivery.event}, only {EVENT} starts runners")
        action = action_of(payload)
        if action not in ("queued", "completed"):
            return _ignored("only the action queued starts a runner, and completed may end one")
        event = workflow_job_event(payload)
        about |= {"job": event.workflow_job.id, "repository": event.repository.full_name}
        admission = admit(event, self._settings)
        if isinstance(admission, Ignored):
            return _ignored(admission.reason)
        event = event.model_copy(update={"webhook": delivery.webhook_of(event)})
        return await self._serve_job(event, admission.profile, delivery.delivery, deadline)

    async def _check_source(self, headers: Mapping[str, str], body: bytes) -> None:
        """Refuse callers from elsewhere than `AllowedSources`.

        A list of GitHub's that may be out of date is read again only for a caller who knows the secret: nobody else
        can make this service call another one.
        """
        allowed = self._settings.allowed_sources
        if allowed.anywhere:
            return
        caller = caller_address(headers.get("x-forwarded-for"), self._settings.trusted_proxy_count)
        if caller is not None and is_within(caller, allowed.networks):
            return
        if caller is not None and allowed.github:
            if is_within(caller, self._hook_ranges.networks):
                return
            if self._hook_ranges.stale and self._is_signed(headers, body):
                await within(REFRESH_DEADLINE, UPSTREAM, self._hook_ranges.refresh)
                if is_within(caller, self._hook_ranges.networks):
                    return
        raise SourceNotAllowed("the caller's address is not among AllowedSources")

    def _is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        try:
            verify_signature(body, headers.get("x-hub-signature-256", ""), self._settings.webhook_secrets)
        except SignatureInvalid:
            return False
        return True

    async def _serve_job(
        self, event: WorkflowJobEvent, profile: RunnerProfile, delivery: str, deadline: float
    ) -> Answer:
        if self._settings.allowed_sources.github and self._hook_ranges.stale:
            UPSTREAM.submit(self._hook_ranges.refresh)
        try:
            done = await within(
                deadline - asyncio.get_running_loop().time(), UPSTREAM, lambda: self._serve(event, profile)
            )
        except TransientError as trouble:
            return await self._keep_for_later(event, delivery, trouble)
        except OrchestratorError:
            raise
        except Exception:  # a mistake of ours must not cost a job its runner
            logger.exception("an unexpected error")
            return await self._keep_for_later(event, delivery, TransientError("an unexpected error: see the log"))
        if done.result == "gone":
            return _ignored("the delivery is old, and the job waits no longer")
        return Answer(
            201 if done.result == "created" else 200,
            {
                "result": done.result,
                "task": done.task_id,
                "pool": done.pool,
                "image": done.image,
                "profile": done.profile,
            },
        )

    async def _keep_for_later(self, event: WorkflowJobEvent, delivery: str, trouble: TransientError) -> Answer:
        try:
            wait = await within(KEEP_DEADLINE, QUEUE, lambda: self._keep(event, delivery, trouble.retry_after))
        except TransientError as error:
            return Answer(503, {"result": "failed", "reason": f"{trouble}; and it could not be kept: {error}"})
        return Answer(202, {"result": "kept", "reason": str(trouble), "next_try_in_s": round(wait)})


def misconfigured(error: SettingsError) -> Answer:
    """Return the answer to everybody while app settings are missing or wrong: it names them, never a value."""
    settings = [{"setting": setting, "problem": problem} for setting, problem in error.problems]
    return Answer(500, {"result": "misconfigured", "settings": settings})


def _ignored(reason: str) -> Answer:
    return Answer(200, {"result": "ignored", "reason": reason})


def _pong(payload: bytes) -> Answer:
    events = ping_event(payload).hook.events
    advice = (
        "the hook sends workflow_job events: all is set"
        if EVENT in events or "*" in events
        else "let the hook send the event 'Workflow jobs' (workflow_job), and no other"
    )
    return Answer(200, {"result": "pong", "advice": advice})
