"""The wiring: app settings, the receiver of deliveries, and three things that are built when they are first needed.

Most deliveries are refused or ignored, and need neither the clients of GitHub and Batch (*upstream*) nor the queue, so
these are imported late: when a job needs them, or in the background once a genuine delivery has been answered. What
answers claims is imported with the first claim. They are built apart: a request can be kept while the rest cannot even
be built.
"""
# ruff: noqa: PLC0415 - see above

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.config.advice import advice
from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.delivery.answer import PRIVATE, Answer, misconfigured
from orchestrator.delivery.deadline import within
from orchestrator.delivery.hook_ranges import HookRanges
from orchestrator.delivery.receiver import DeliveryReceiver
from orchestrator.delivery.retry import RetryHandler
from orchestrator.delivery.source_check import SourceCheck, require_operator
from orchestrator.errors import SettingsError, SourceNotAllowed, TransientError
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.request import Retry
from orchestrator.lines import Line
from orchestrator.log import Log
from orchestrator.quotas.rule import warnings as quota_warnings
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runtime import MakeLock, Runtime

if TYPE_CHECKING:
    from orchestrator.azure.request_queue import RequestQueue
    from orchestrator.claims.receiver import ClaimReceiver
    from orchestrator.status.facts import Status
    from orchestrator.upstream import Upstream

log = Log(__name__)

# Seconds. An operator waits for `revive`, and App Service's front end would wait for 230.
REVIVE_DEADLINE = 60.0
# Somewhat more than `orchestrator.explain.gather.PATIENCE`, after which what was not answered is told as such.
EXPLAIN_DEADLINE = 25.0
# Seconds between an answer and the warm-up that follows it, so that the answer has left by then.
WARM_UP_AFTER = 1.0
# Only genuine deliveries have these results: nobody else can make this process work.
_GENUINE = (Result.IGNORED, Result.PONG)
# `ReconcileMinutes` while the settings cannot be read.
DEFAULT_RECONCILE_MINUTES = 5


class Once[T]:
    """A value that is made when it is first needed, by one thread. If making it raises, the next call tries again."""

    def __init__(self, make: Callable[[], T], *, lock: MakeLock = threading.Lock) -> None:
        self._make = make
        self._lock = lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        """Return the value."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]


class Application:
    """The orchestrator as configured by app settings. Safe under threads.

    Args:
        environment: the app settings; what is wrong with them is logged, and answered to everybody, by name.
        runtime: the process's clock, threads and locks.
    """

    def __init__(self, environment: Mapping[str, str], runtime: Runtime | None = None) -> None:
        self._runtime = runtime = runtime or Runtime()
        self._upstream = Once(self._connect, lock=runtime.lock)
        self._queue = Once(self._make_queue, lock=runtime.lock)
        self._claims = Once(self._make_claim_receiver, lock=runtime.lock)
        self._is_warm = False
        try:
            self._configured: Settings | SettingsError = Settings.from_environment(environment)
        except SettingsError as error:
            self._configured = error
            message = "misconfigured, every delivery is answered with 500"
            log(logging.CRITICAL, Line.MISCONFIGURED, message=message, result=Result.MISCONFIGURED, reason=str(error))
            return
        settings = self._configured
        hook_ranges = HookRanges(lambda etag: self._upstream().hook_ranges(etag), runtime.clock, lock=runtime.lock)
        self._receiver = DeliveryReceiver(
            settings,
            SourceCheck(settings, hook_ranges, runtime.hook_range_threads),
            handle=self._handle,
            retry_later=self._retry_later,
            upstream_threads=runtime.upstream_threads,
            queue_threads=runtime.queue_threads,
        )
        for sentence in [*advice(settings), *quota_warnings(settings)]:
            log(logging.WARNING, Line.ADVICE, message=sentence)
        if settings.allowed_sources.github:
            log(
                logging.INFO,
                Line.HOOK_RANGES,
                message="until GitHub's first answer its hook ranges are those shipped with the release",
            )
        if settings.warm_up:
            self._warm_up(0)

    @classmethod
    def from_environment(cls) -> "Application":
        """Return the application that this process's environment describes."""
        return cls(os.environ)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one webhook delivery."""
        if isinstance(self._configured, SettingsError):
            return misconfigured(self._configured)
        answer = await self._receiver.receive(headers, body)
        if answer.body["result"] in _GENUINE:
            self._warm_up(WARM_UP_AFTER)
        return answer

    async def claim(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a container that claims its registration."""
        if isinstance(self._configured, SettingsError):
            from orchestrator.claims.receiver import misconfigured as misconfigured_for_all

            return misconfigured_for_all()
        return await self._claims().receive(headers, body)

    def retry(self, message: bytes) -> None:
        """Try once more what a message of the queue asks for.

        Raises:
            SettingsError: App settings are wrong; the host keeps the message.
            TransientError: The queue does not answer; the host keeps the message.
        """
        queue = self._queue()
        handler = RetryHandler(
            self._settings,
            self._handle,
            queue.retry_later,
            queue.dead_letter,
            clock=self._runtime.clock,
            threads=self._runtime.retry_threads,
        )
        handler.retry(message)

    def reconcile(self) -> None:
        """Find and mend what deliveries and the queue have missed; see `ControlLoop`.

        Raises:
            SettingsError: App settings are wrong.
        """
        self._upstream().control_loop.run()

    @property
    def schedule(self) -> str:
        """When `reconcile` is due, as an NCRONTAB expression; also while app settings are wrong."""
        misconfigured = isinstance(self._configured, SettingsError)
        minutes = DEFAULT_RECONCILE_MINUTES if misconfigured else self._settings.reconcile_minutes
        return f"0 */{minutes} * * * *"

    async def revive(self, headers: Mapping[str, str]) -> Answer:
        """Put every request that was given up back into the queue.

        Args:
            headers: the request's headers; looked up by names in lower case.
        """
        try:
            require_operator(headers, self._settings)
            revived, foreign = await within(
                REVIVE_DEADLINE, self._runtime.queue_threads, lambda: self._queue().revive()
            )
        except SettingsError as error:
            return misconfigured(error)
        except SourceNotAllowed as error:
            return _not_allowed(error, headers)
        except TransientError as error:
            return Answer(503, {"result": Result.FAILED, "reason": str(error)})
        return Answer(200, {"result": Result.REVIVED, "requests": revived, "left": foreign})

    async def explain(self, headers: Mapping[str, str], job: str) -> Answer:
        """Tell an operator why a job waits, or what became of it.

        Wrong settings are a verdict like any other: whoever asks is to read it.

        Args:
            headers: the request's headers; looked up by names in lower case.
            job: what names the job: its address at GitHub, or its id.
        """
        from orchestrator.explain.reference import ReferenceMalformed, parse_reference
        from orchestrator.explain.report import document
        from orchestrator.explain.verdict import misconfigured as misconfigured_verdict

        as_json = "application/json" in headers.get("accept", "")
        if isinstance(self._configured, SettingsError):
            return _explained(document(None, misconfigured_verdict(self._configured)), as_json=as_json)
        settings = self._configured
        try:
            require_operator(headers, settings)
            reference = parse_reference(job, settings.github_web_url, settings.github_api_url)
            report = await within(
                EXPLAIN_DEADLINE, self._runtime.explain_threads, lambda: self._upstream().explainer.explain(reference)
            )
        except SourceNotAllowed as error:
            return _not_allowed(error, headers)
        except ReferenceMalformed as error:
            return _refused(400, Result.REFUSED, str(error), as_json=as_json)
        except TransientError as error:
            return _refused(503, Result.FAILED, str(error), as_json=as_json)
        log(
            logging.INFO,
            Line.EXPLAINED,
            message="explained to an operator",
            job=reference.job_id,
            verdict=report["verdict"],
        )
        return _explained(report, as_json=as_json)

    async def health(self, headers: Mapping[str, str], *, full: bool) -> Answer:
        """Look at the set-up, and tell an operator what is wrong with it. Wrong settings are told like all the rest.

        Args:
            headers: the request's headers; looked up by names in lower case.
            full: whether the lines are shown that are ok.
        """
        from orchestrator.health.conclusions import misconfigured as misconfigured_lines
        from orchestrator.health.finding import document

        as_json = "application/json" in headers.get("accept", "")
        if isinstance(self._configured, SettingsError):
            return _found(document(misconfigured_lines(self._configured)), as_json=as_json)
        try:
            require_operator(headers, self._configured)
            report = await within(
                EXPLAIN_DEADLINE, self._runtime.explain_threads, lambda: self._upstream().checkup.report(full=full)
            )
        except SourceNotAllowed as error:
            return _not_allowed(error, headers)
        except TransientError as error:
            return _refused(503, Result.FAILED, str(error), as_json=as_json)
        return _found(report, as_json=as_json)

    async def status(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        """Show an operator how things are: as a page, or as JSON where the request accepts that.

        Args:
            headers: the request's headers; looked up by names in lower case.
            query: its parameters. A function key among them (`code`) goes into the page's links, which would not lead
                anywhere without it; one in a header does not.
        """
        from orchestrator.status.document import document
        from orchestrator.status.page import Links, page
        from orchestrator.status.style import HEADERS

        as_json = "application/json" in headers.get("accept", "")
        if isinstance(self._configured, SettingsError):
            return misconfigured(self._configured)
        try:
            require_operator(headers, self._configured)
            status = await within(EXPLAIN_DEADLINE, self._runtime.explain_threads, self._status)
        except SourceNotAllowed as error:
            return _not_allowed(error, headers)
        except TransientError as error:
            return _refused(503, Result.FAILED, str(error), as_json=as_json)
        links = Links(query.get("code"), refreshes=query.get("refresh") != "off")
        html = None if as_json else page(status, links)
        return Answer(200, document(status), html, "text/html", HEADERS)

    @property
    def boosts_pools(self) -> bool:
        """Whether `PoolBoost` is on, so that `tend_pools` must be called about once a minute."""
        return not isinstance(self._configured, SettingsError) and self._configured.pool_boost == "resize"

    def tend_pools(self) -> None:
        """Go on with every boost that was begun, whichever process began it; nothing is done while boosts are off."""
        if self.boosts_pools:
            self._upstream().tend_pools()

    @property
    def _settings(self) -> Settings:
        if isinstance(self._configured, SettingsError):
            raise self._configured
        return self._configured

    def _warm_up(self, after: float) -> None:
        """Have the clients made in the background, once, so that the first job need not wait for that."""
        if not self._is_warm:
            self._is_warm = True
            self._runtime.start_timer(after, self._make_clients)

    def _make_clients(self) -> None:
        try:
            self._upstream()
            self._queue()
        except Exception:  # nobody waits for this thread
            log.exception(message="the clients could not be made ahead; the next job that needs them tries again")

    def _status(self) -> "Status":
        return self._upstream().board.status()

    def _handle(self, event: WorkflowJobEvent, profile: Profile) -> Outcome:
        return self._upstream().handle(event, profile)

    def _retry_later(self, retries: Sequence[Retry]) -> Sequence[float]:
        return self._queue().retry_later(retries)

    def _connect(self) -> "Upstream":
        from orchestrator.upstream import connect

        return connect(self._settings, self._runtime, queue=self._queue)

    def _make_claim_receiver(self) -> "ClaimReceiver":
        from orchestrator.claims.receiver import ClaimReceiver

        runtime = self._runtime
        return ClaimReceiver(
            self._settings,
            lambda claim, text, nonce: self._upstream().admit(claim, text, nonce),
            threads=runtime.claim_threads,
            clock=runtime.clock,
            lock=runtime.lock,
        )

    def _make_queue(self) -> "RequestQueue":
        from orchestrator.azure.request_queue import RequestQueue

        return RequestQueue(self._settings.azure_web_jobs_storage, self._settings.egress)


def _not_allowed(error: SourceNotAllowed, headers: Mapping[str, str]) -> Answer:
    refusal = {"result": Result.REFUSED, "reason": str(error)}
    log(logging.WARNING, Line.REFUSED_CALL, forwarded_for=headers.get("x-forwarded-for", "")[-100:], **refusal)
    return Answer(error.status, refusal)


def _explained(report: Mapping[str, object], *, as_json: bool) -> Answer:
    from orchestrator.explain.report import text

    return Answer(200, report, None if as_json else text(report), headers=PRIVATE)


def _found(report: Mapping[str, object], *, as_json: bool) -> Answer:
    """Return a report on the set-up; a failure is one to whoever looks at the status alone."""
    from orchestrator.health.finding import State, text

    status = 503 if report["state"] == State.FAIL else 200
    return Answer(status, report, None if as_json else text(report), headers=PRIVATE)


def _refused(status: int, result: Result, reason: str, *, as_json: bool) -> Answer:
    return Answer(status, {"result": result, "reason": reason}, None if as_json else f"{reason}\n", headers=PRIVATE)
