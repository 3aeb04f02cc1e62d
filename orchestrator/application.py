"""The wiring: app settings -> clients -> use cases.

Every client is made at its first use and kept. Their packages are imported then too: a delivery that is refused or
ignored needs none of them, and most deliveries are.
"""
# ruff: noqa: PLC0415 - see above

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator.config.profiles import RunnerProfile
from orchestrator.config.settings import Settings
from orchestrator.delivery.deadline import QUEUE, within
from orchestrator.delivery.hook_ranges import HookRanges, PublishedRanges
from orchestrator.delivery.receiver import Answer, DeliveryReceiver, misconfigured
from orchestrator.errors import SettingsError, TransientError
from orchestrator.jobs.event import WorkflowJobEvent

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

    from orchestrator.azure.request_queue import RequestQueue
    from orchestrator.azure.tasks import RunnerTasks
    from orchestrator.delivery.retry import SlowLane
    from orchestrator.github.client import GitHubClient
    from orchestrator.github.credentials import Credential
    from orchestrator.github.runners import Runners
    from orchestrator.github.session import GitHubSession
    from orchestrator.github.workflow_jobs import WorkflowJobs
    from orchestrator.pool_boost import PoolBoost
    from orchestrator.reconcile.control_loop import ControlLoop
    from orchestrator.runners.provisioning import Outcome, Provisioner

logger = logging.getLogger(__name__)

REVIVE_DEADLINE = 60.0  # seconds; an operator waits, and the front end would wait for 230


class Lazy[T]:
    """A value made at its first use, by one thread; what making it raises reaches the caller, and it is tried again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
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
        clock: epoch seconds.
    """

    def __init__(self, environment: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self._problem: SettingsError | None = None
        self._clock = clock
        try:
            self._settings = Settings.from_environment(environment)
        except SettingsError as error:
            self._problem = error
            logger.critical("misconfigured, every delivery is answered with 500: %s", error)
            return
        self._github = Lazy(self._make_github)
        self._credential = Lazy(self._make_credential)
        self._session = Lazy(self._make_session)
        self._runners = Lazy(self._make_runners)
        self._jobs = Lazy(self._make_jobs)
        self._tasks = Lazy(self._make_tasks)
        self._provisioner = Lazy(self._make_provisioner)
        self._control_loop = Lazy(self._make_control_loop)
        self._queue = Lazy(self._make_queue)
        self._slow_lane = Lazy(self._make_slow_lane)
        self._batch_credential = Lazy(self._make_batch_credential)
        self._pool_boost = Lazy(self._make_pool_boost)
        self._receiver = DeliveryReceiver(self._settings, HookRanges(self._published_ranges), self.serve, self._keep)
        if self._settings.allowed_sources.github:
            logger.info("until GitHub's first answer its hook ranges are those shipped with the release")

    @classmethod
    def from_environment(cls) -> "Application":
        """Return the application that this process's environment describes."""
        return cls(os.environ)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one webhook delivery."""
        if self._problem is not None:
            return misconfigured(self._problem)
        return await self._receiver.receive(headers, body)

    def retry(self, message: bytes) -> None:
        """Try once more what a message of the queue asks for.

        Raises:
            SettingsError: App settings are wrong; the host keeps the message.
            TransientError: The queue does not answer; the host keeps the message.
        """
        if self._problem is not None:
            raise self._problem
        self._slow_lane().take(message)

    def reconcile(self) -> None:
        """Find and mend what deliveries and the queue have missed; see `ControlLoop`.

        Raises:
            SettingsError: App settings are wrong.
        """
        if self._problem is not None:
            raise self._problem
        self._control_loop().run()

    @property
    def schedule(self) -> str:
        """When `reconcile` is due, as an NCRONTAB expression; also while app settings are wrong."""
        minutes = 5 if self._problem is not None else self._settings.reconcile_minutes
        return f"0 */{minutes} * * * *"

    async def revive(self) -> Answer:
        """Put every request that was given up back into the queue."""
        if self._problem is not None:
            return misconfigured(self._problem)
        try:
            revived, foreign = await within(REVIVE_DEADLINE, QUEUE, lambda: self._queue().revive())
        except TransientError as error:
            return Answer(503, {"result": "failed", "reason": str(error)})
        return Answer(200, {"result": "revived", "requests": revived, "left": foreign})

    def serve(self, event: WorkflowJobEvent, profile: RunnerProfile) -> "Outcome":
        """Do what an admitted job needs; see `Provisioner.serve`."""
        outcome = self._provisioner().serve(event, profile)
        if self.boosts_pools and outcome.result == "created":
            self._schedule_boost(outcome.pool)
        return outcome

    @property
    def boosts_pools(self) -> bool:
        """Whether `PoolBoost` is on, so that `tend_pools` must be called about once a minute."""
        return self._problem is None and self._settings.pool_boost == "resize"

    def tend_pools(self) -> None:
        """Go on with every boost that was begun, whoever began it; see `PoolBoost.step_all`. No-op while it is off."""
        if self.boosts_pools:
            self._pool_boost().step_all(sorted({profile.pool for profile in self._settings.profiles}))

    def _schedule_boost(self, pool: str) -> None:
        try:
            self._pool_boost().schedule(pool)
        except Exception:  # the job has its task, and that is what counts
            logger.exception("the pool %s is not boosted", pool)

    def _keep(self, event: WorkflowJobEvent, delivery: str, retry_after: float | None) -> float:
        from orchestrator.jobs.request import RunnerRequest

        return self._queue().retry_later(RunnerRequest(delivery=delivery, event=event), retry_after)

    def _published_ranges(self, etag: str | None) -> PublishedRanges:
        from orchestrator.github.meta import published_hook_ranges

        token = self._settings.github_token
        authorization = f"Bearer {token.get_secret_value()}" if token else None
        return published_hook_ranges(self._github(), authorization, etag)

    def _make_github(self) -> "GitHubClient":
        from orchestrator.github.client import GitHubClient

        return GitHubClient(self._settings.github_api_url, self._clock)

    def _make_credential(self) -> "Credential":
        from orchestrator.github.credentials import AppCredential, TokenCredential

        settings = self._settings
        app_serves = settings.runner_scope != "enterprise"  # no App may register an enterprise's runners
        if app_serves and settings.github_app_id is not None and settings.github_app_private_key is not None:
            key = settings.github_app_private_key.get_secret_value()
            return AppCredential(self._github(), settings.github_app_id, key)
        if settings.github_token is not None:
            return TokenCredential(settings.github_token.get_secret_value())
        raise SettingsError([("GithubToken", "is missing")])

    def _make_session(self) -> "GitHubSession":
        from orchestrator.github.session import GitHubSession

        return GitHubSession(self._github(), self._credential())

    def _make_runners(self) -> "Runners":
        from orchestrator.github.runners import Runners

        return Runners(self._session())

    def _make_jobs(self) -> "WorkflowJobs":
        from orchestrator.github.workflow_jobs import WorkflowJobs

        return WorkflowJobs(self._session())

    def _make_batch_credential(self) -> "AzureNamedKeyCredential | TokenCredential":
        from orchestrator.azure.identity import batch_credential

        settings = self._settings
        client_id = settings.azure_web_jobs_storage.client_id
        return batch_credential(settings.batch_account_name, settings.batch_account_key, client_id)

    def _make_tasks(self) -> "RunnerTasks":
        from orchestrator.azure.tasks import RunnerTasks

        return RunnerTasks(self._settings.batch_account_url, self._batch_credential())

    def _make_provisioner(self) -> "Provisioner":
        from orchestrator.github.registrars import JitRegistrar, TokenRegistrar
        from orchestrator.runners.provisioning import Provisioner

        registrar = (
            JitRegistrar(self._runners(), self._clock)
            if self._settings.runner_registration == "jit"
            else TokenRegistrar(self._runners())
        )
        return Provisioner(
            self._settings, registrar, self._tasks(), lambda job: self._jobs().is_queued(job), self._clock
        )

    def _make_control_loop(self) -> "ControlLoop":
        from orchestrator.azure.tasks import RETENTION
        from orchestrator.github.app import GitHubApp
        from orchestrator.github.credentials import AppCredential
        from orchestrator.github.hook_deliveries import HookDeliveries
        from orchestrator.reconcile.control_loop import ControlLoop
        from orchestrator.reconcile.reconciler import Reconciler
        from orchestrator.reconcile.redelivery import Redelivery

        credential = self._credential()
        app = credential if isinstance(credential, AppCredential) else None
        return ControlLoop(
            self._tasks(),
            sorted({profile.pool for profile in self._settings.profiles}),
            redelivery=Redelivery(HookDeliveries(self._github(), self._session(), app), app=app is not None),
            reconciler=Reconciler(
                self._settings,
                tasks=self._tasks(),
                jobs=self._jobs(),
                runners=self._runners(),
                starter=self._provisioner(),
                installed=GitHubApp(self._github(), app).repositories if app is not None else dict,
                retention=RETENTION,
            ),
            unexplained=lambda: self._queue().unexplained(),
            clock=self._clock,
        )

    def _make_pool_boost(self) -> "PoolBoost":
        from datetime import UTC, datetime

        from orchestrator.azure.pools import PoolClient
        from orchestrator.pool_boost import PoolBoost

        pools = PoolClient(self._settings.batch_account_url, self._batch_credential())
        return PoolBoost(pools, lambda: datetime.fromtimestamp(self._clock(), UTC))

    def _make_queue(self) -> "RequestQueue":
        from orchestrator.azure.request_queue import RequestQueue

        return RequestQueue(self._settings.azure_web_jobs_storage)

    def _make_slow_lane(self) -> "SlowLane":
        from orchestrator.delivery.retry import SlowLane

        queue = self._queue()
        return SlowLane(self._settings, self.serve, queue.retry_later, queue.dead_letter)
