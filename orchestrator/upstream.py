"""The wiring of everything that talks to GitHub and Batch. It is imported, and built, when a job first needs it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.claim_uses import ClaimUses
from orchestrator.azure.claiming_tasks import ClaimingTasks
from orchestrator.azure.identity import storage_credential
from orchestrator.azure.job_tasks import JobTasks
from orchestrator.azure.pass_memory import MemoryBlob
from orchestrator.azure.pool_status import PoolStatus
from orchestrator.azure.pools import PoolClient
from orchestrator.azure.task_log import TaskLog
from orchestrator.azure.task_model import RETENTION
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.claims.door import Door
from orchestrator.claims.receiver import Admit
from orchestrator.config.settings import Settings
from orchestrator.delivery.hook_ranges import PublishedRanges
from orchestrator.explain.explainer import Explainer
from orchestrator.explain.facts import LogTail, NextPass
from orchestrator.explain.gather import Gatherer
from orchestrator.explain.last_pass import LastPass
from orchestrator.github.app import GitHubApp
from orchestrator.github.budget import POINTS_PER_MINUTE, points
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, Credential, PersonalToken
from orchestrator.github.hook_deliveries import HookDeliveries
from orchestrator.github.job_delivery import JobDelivery
from orchestrator.github.job_status import JobStatus
from orchestrator.github.meta import published_hook_ranges
from orchestrator.github.registrars import JitRegistrar, TokenRegistrar
from orchestrator.github.repositories import Repositories
from orchestrator.github.runner_groups import RunnerGroups
from orchestrator.github.runner_versions import RunnerVersions
from orchestrator.github.runners import Runners
from orchestrator.github.session import GitHubSession
from orchestrator.github.setup import GitHubSetup
from orchestrator.github.workflow_jobs import WorkflowJobs
from orchestrator.health.checkup import CheckUp, Ports
from orchestrator.health.facts import QueueFacts
from orchestrator.health.questions import Questions
from orchestrator.health.targets import EGRESS, targets
from orchestrator.pool_boost import PoolBoost
from orchestrator.quotas.control import QuotaControl
from orchestrator.quotas.held_jobs import HeldJobs, HeldPlaces
from orchestrator.quotas.occupancy import Occupancy
from orchestrator.quotas.registration_share import RegistrationShare
from orchestrator.quotas.rule import limited_pools
from orchestrator.reachability import Reachability
from orchestrator.reconcile.at_once import AtOnce
from orchestrator.reconcile.boundary_watch import BoundaryWatch
from orchestrator.reconcile.control_loop import ControlLoop
from orchestrator.reconcile.findings import counts_on
from orchestrator.reconcile.job_search import JobSearch
from orchestrator.reconcile.measurements import Measurements
from orchestrator.reconcile.memory import PassMemory
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.redelivery import Redelivery
from orchestrator.reconcile.time_left import TimeLeft
from orchestrator.reconcile.version_watch import VersionWatch
from orchestrator.runners.boundary import Boundary
from orchestrator.runners.claim import ClaimRegistrar
from orchestrator.runners.installed import Installed
from orchestrator.runners.provisioning import HandleJob, Provisioner
from orchestrator.runners.task import TaskState, events_of
from orchestrator.runtime import AT_ONCE_IN_A_PASS, Runtime
from orchestrator.status.board import StatusBoard

# How old the count of a quota's runners may be that an explanation rests on.
SLOTS_KNOWN_FOR = timedelta(minutes=5)
# How old a pass's findings may be that a runner whose own job is over starts for, in periods of passes. A pass takes up
# to one period, and its findings are there when the next one has ended.
FINDINGS_COUNT_FOR = 2


@dataclass(frozen=True)
class Upstream:
    """What needs GitHub or Batch.

    Attributes:
        handle: does what an admitted job needs.
        admit: hands its registration to a container that claims it.
        control_loop: finds and mends what was missed.
        tend_pools: goes on with every boost of a pool that was begun.
        hook_ranges: asks GitHub where its webhooks come from, given the ETag of its last answer.
        explainer: tells why a job waits.
        checkup: looks at the set-up.
        board: tells how things are.
    """

    handle: HandleJob
    admit: Admit
    control_loop: ControlLoop
    tend_pools: Callable[[], None]
    hook_ranges: Callable[[str | None], PublishedRanges]
    explainer: Explainer
    checkup: CheckUp
    board: StatusBoard


class Queues(Protocol):
    """The queues of requests: `azure.request_queue.RequestQueue`."""

    def unexplained(self) -> Iterable[bytes]:
        """Yield given-up requests that nobody has told of yet."""

    def look(self) -> QueueFacts:
        """Return what the queues hold."""

    def check(self) -> QueueFacts:
        """Return what the queues hold, after a proof that requests can be kept."""


def connect(
    settings: Settings,
    runtime: Runtime,
    *,
    queue: Callable[[], Queues],
) -> Upstream:
    """Return the clients and the use cases that need them. Nothing is called yet.

    Args:
        settings: the app settings.
        runtime: the process's clock, threads and locks.
        queue: returns the queues of requests.
    """
    pools = sorted({profile.pool for profile in settings.profiles})
    egress = settings.egress
    account = BatchAccount.of(settings)
    tasks = RunnerTasks(account, runtime.clock, lock=runtime.lock)
    boost = PoolBoost(PoolClient(account), runtime.clock, lock=runtime.lock, start_timer=runtime.start_timer)

    client = GitHubClient(settings.github_api_url, runtime.clock, lock=runtime.lock, egress=egress)
    credential = github_credential(settings, client, runtime)
    session = GitHubSession(client, credential, lock=runtime.lock)
    background = GitHubSession(client, credential, background=True, lock=runtime.lock)
    time_left = TimeLeft(runtime.clock, runtime.sleep)
    patient = GitHubSession(client, credential, background=True, wait=time_left.wait, lock=runtime.lock)
    runners = Runners(session, lock=runtime.lock)
    is_app = settings.github_credential == "app"
    held_repositories = WorkflowJobs(background, lock=runtime.lock)
    share = RegistrationShare(POINTS_PER_MINUTE // points("POST"), runtime.clock, lock=runtime.lock)
    held_places = HeldPlaces(lock=runtime.lock)
    occupancy = Occupancy(tasks.live, limited_pools(settings), runtime.clock, lock=runtime.lock)
    quotas = QuotaControl(settings, occupancy, held_places.remember)
    boundary = Boundary(
        settings,
        ask_owner=GitHubApp(session).owner if is_app else None,
        ask_groups=RunnerGroups(session).listed,
        clock=runtime.clock,
        lock=runtime.lock,
    )

    jit = JitRegistrar(runners, runtime.clock)
    workflow_jobs = WorkflowJobs(session)
    keys = settings.claim_keys
    provisioner = Provisioner(
        settings,
        {"token": TokenRegistrar(runners), "jit": jit},
        tasks,
        boundary=boundary,
        is_queued=workflow_jobs.is_queued,
        created=boost.schedule if settings.pool_boost == "resize" else _do_nothing,
        clock=runtime.clock,
        within_quota=quotas.within,
        take_share=share.take,
        claims=ClaimRegistrar(keys[0], job_id, runtime.clock) if keys else None,
    )
    # A reader of its own: the blob's client tells what is new since it read last.
    last_pass = LastPass(MemoryBlob(settings.azure_web_jobs_storage, egress), lock=runtime.lock)
    count_for = FINDINGS_COUNT_FOR * timedelta(minutes=settings.reconcile_minutes)
    door = Door(
        task=ClaimingTasks(account).look,
        uses=ClaimUses(settings.azure_web_jobs_storage, egress),
        registrar=jit,
        remove=runners.remove,
        job=workflow_jobs.current,
        is_needed=lambda profile, task: counts_on(last_pass.found(), profile, task, runtime.clock(), count_for),
        web_url=settings.github_web_url,
        clock=runtime.clock,
        lock=runtime.lock,
    )
    held_jobs = HeldJobs(
        settings,
        quotas,
        held_places,
        account_refusal=boundary.account_refusal,
        handle=provisioner.handle,
        start=provisioner.start,
        queued_jobs=held_repositories.queued,
        start_timer=runtime.start_timer,
        lock=runtime.lock,
    )
    app = GitHubApp(background)
    installations: Callable[[], Sequence[Installed]] = app.installations if is_app else list
    at_once = AtOnce(runtime.pass_threads, AT_ONCE_IN_A_PASS)
    job_search = JobSearch(
        settings,
        queued_jobs=WorkflowJobs(patient, lock=runtime.lock).queued,
        boundary=boundary,
        installations=app.installations if is_app else None,
        lists=Repositories(patient),
        at_once=at_once,
        time_left=time_left,
    )
    reconciler = Reconciler(
        settings,
        tasks=tasks,
        search_jobs=job_search.run,
        runners=Runners(patient, lock=runtime.lock),
        start=provisioner.start,
        accounts=boundary,
        time_left=time_left,
        at_once=at_once,
        within_quota=quotas.within,
        held=held_places.remember,
        requests_left=client.requests_left,
        retention=RETENTION,
        clock=runtime.clock,
    )
    pool_status = PoolStatus(account)
    control_loop = ControlLoop(
        tasks.listed,
        pools,
        begin=lambda: client.begin_pass(60.0 * settings.reconcile_minutes),
        redeliver=Redelivery(HookDeliveries(background), app=is_app).run,
        reconcile=reconciler.run,
        watches=[
            BoundaryWatch(settings, boundary, installations, RunnerGroups(background).repositories).run,
            VersionWatch(settings, RunnerVersions(background).dates, installations).run,
            Measurements(pools, look_at=pool_status.size, queues=lambda: queue().look(), usage=client.usage).run,
        ],
        given_up=lambda: queue().unexplained(),
        memory=PassMemory(MemoryBlob(settings.azure_web_jobs_storage, egress)),
        clock=runtime.clock,
    )
    explained = GitHubSession(client, credential, lock=runtime.lock)
    job_tasks = JobTasks(account)
    gatherer = Gatherer(
        settings,
        github=JobStatus(explained),
        find_delivery=JobDelivery(explained, app=is_app).search,
        tasks=job_tasks,
        pool=pool_status.look,
        rules=boundary,
        slots=lambda: occupancy.known(SLOTS_KNOWN_FOR),
        next_pass=lambda: NextPass.of(last_pass.look(), timedelta(minutes=settings.reconcile_minutes)),
        output=_output(settings),
        clock=runtime.clock,
        threads=runtime.question_threads,
    )
    token = settings.github_token
    authorization = f"Bearer {token.get_secret_value()}" if token else None

    def hook_ranges(etag: str | None) -> PublishedRanges:
        return published_hook_ranges(client, authorization, etag)

    ports = Ports(
        GitHubSetup(explained),
        version=RunnerVersions(explained).dates,
        hook_ranges=lambda: hook_ranges(None).networks or (),
        account_rule=boundary.account_rule,
        recent=lambda: events_of(job_tasks.examples()),
        pool=pool_status.look,
        queue=lambda: queue().check(),
        trouble=Reachability(egress).trouble,
    )
    checkup = CheckUp(
        settings,
        ports,
        targets(settings, EGRESS),
        questions=Questions(runtime.clock, runtime.question_threads),
        clock=runtime.clock,
        lock=runtime.lock,
    )
    return Upstream(
        held_jobs.handle,
        door.admit,
        control_loop,
        tend_pools=lambda: boost.step_all(pools),
        hook_ranges=hook_ranges,
        explainer=Explainer(gatherer.gather, settings.profiles, runtime.clock, lock=runtime.lock),
        checkup=checkup,
        board=StatusBoard(
            settings,
            last_pass=last_pass.look,
            pool=pool_status.facts,
            last_check=lambda: checkup.last,
            clock=runtime.clock,
            threads=runtime.question_threads,
            lock=runtime.lock,
        ),
    )


def github_credential(settings: Settings, client: GitHubClient, runtime: Runtime) -> Credential:
    """Return what calls to GitHub are authorized with: the App, or the token."""
    key, token = settings.github_app_private_key, settings.github_token
    if settings.github_credential == "app" and settings.github_app_id is not None and key is not None:
        return AppCredential(client, settings.github_app_id, key.get_secret_value(), lock=runtime.lock)
    return PersonalToken(token.get_secret_value() if token is not None else "")


def _output(settings: Settings) -> Callable[[TaskState], LogTail | None]:
    """Return what reads the end of a task's output, where a container keeps it."""
    logs = settings.task_logs
    if logs is None:
        return lambda _task: None
    credential = storage_credential(settings.azure_web_jobs_storage, logs.container_url, settings.egress)
    return TaskLog(logs.container_url, credential, settings.egress).tail


def _do_nothing(_pool: str) -> None:
    """Without a boost nothing follows from a task."""
