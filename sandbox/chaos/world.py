"""One simulation: the real application between the stand-ins, on one virtual clock, from a seed."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack

from orchestrator.azure.request_queue import REQUESTS
from orchestrator.delivery.answer import Answer
from sandbox.batch.model import Pool
from sandbox.chaos.accidents import Accidents, Victims
from sandbox.chaos.batch_watch import BatchWatch
from sandbox.chaos.claiming import Claiming
from sandbox.chaos.deliveries import Deliveries
from sandbox.chaos.door import Door
from sandbox.chaos.foreign import Foreign
from sandbox.chaos.invariants import LOOK_EVERY, Invariants
from sandbox.chaos.ledger import Key, Ledger
from sandbox.chaos.log_watch import LogWatch
from sandbox.chaos.network import Network
from sandbox.chaos.operator_setup import LINUX_POOL, SECRET_SETTINGS, WINDOWS_POOL, set_up
from sandbox.chaos.options import Options
from sandbox.chaos.patches import virtual_sdk, without
from sandbox.chaos.scenarios import CLOCK_OFF, EVICTION_EVERY, OUTAGE, REGISTRY_OUTAGE, least_duration, more_arrivals
from sandbox.chaos.simulated_batch import SimulatedBatch
from sandbox.chaos.simulated_containers import SimulatedContainers
from sandbox.chaos.simulated_host import RECONCILE, TEND_POOLS, SimulatedHost
from sandbox.chaos.steps import Steps
from sandbox.chaos.thief import Thief
from sandbox.chaos.threads import Threads
from sandbox.chaos.virtual_time import START, VirtualLoop
from sandbox.chaos.weather import RARE, Weather
from sandbox.chaos.workload import ORGANIZATION, Arrival, arrivals, is_served
from sandbox.github import GitHub
from sandbox.github.hooks import HookResponse
from sandbox.github.limits import Budget
from sandbox.github.model import Event, Job, Scope
from sandbox.recording import Api, NoRecorder
from sandbox.storage_queue import QueueService

HOOK_RANGES = ("140.82.112.0/20", "2a0a:a440::/29")
# Seconds after the last job got its runner in which everything is cleared away: the longest job, an idle limit, two
# passes.
CLEANS_UP_IN = 3600.0
# Seconds for which trouble goes on when the last job has come.
TROUBLE_AFTER = 900.0
STEP = 2.0
# Seconds for which Batch does not tell that a container has started, where that counts.
TOLD_AFTER = 20.0
# What the boost reads of a pool's formula.
FORMULA = "maxNodes = {};\nspot = 0;\ndedicatedNodes = 1;"
# How many times larger the pools are where there are many repositories; their jobs come more than four times as fast.
LARGER = 6
# GitHub's limits for each credential, where there are many repositories: requests an hour of an App and of a token, and
# points a minute.
APP_REQUESTS, TOKEN_REQUESTS, POINTS = 15_000, 5_000, 900


class World:
    """Everything of one simulation; `run` it once.

    Attributes:
        settled_after: seconds from the end of all trouble until the last job had a runner.
        clean_after: seconds from then until nothing was left over.
    """

    def __init__(self, options: Options, loop: VirtualLoop) -> None:
        seed = options.seed
        self.options = options
        self.loop = loop
        self.faults: Counter[str] = Counter()
        self.ledger = Ledger()
        self.settled_after = self.clean_after = 0.0
        self._dirty = True
        self._expected = 0
        self.threads = Threads(loop)
        self.threads.clock_off = CLOCK_OFF if "clock" in options.scenarios else 0.0
        self.network = Network(loop, seed)
        self.deliveries = Deliveries(self.threads, self.ledger, seed=seed, faults=self.faults, post=self._post)
        self.github = GitHub(
            clock=loop.now, seed=seed, hook_ranges=HOOK_RANGES, deliver=self.deliveries.deliver,
            send=self.deliveries.send, token=None, budget=budget(options),
        )  # fmt: skip
        self.claiming = Claiming(self.threads, seed, self._tell_task)
        self.containers = SimulatedContainers(loop, self.github, self.claiming, seed, self.faults, self._tell_task)
        self.batch = SimulatedBatch(
            pools(options), executor=self.containers, clock=loop.now, changed=self._task_changed, soon=loop.call_soon
        )
        self.containers.fail = self.batch.fail_task
        self.queue = QueueService(clock=loop.now)
        self.weathers: dict[str, Weather] = {}
        services: dict[Api, GitHub | SimulatedBatch | QueueService] = {
            "github": self.github, "batch": self.batch, "queue": self.queue,
        }  # fmt: skip
        for name, service in services.items():
            self.weathers[name] = service.faults = Weather(name, seed, loop.now, self.faults)
            self.weathers[name].share = 0.0
            service.recorder = NoRecorder(name)
        door, batch_watch = Door(self._claim), BatchWatch(self._violate)
        if options.registration == "claim":
            self.batch.recorder = batch_watch
            self.weathers["function"] = door.faults = Weather("function", seed, loop.now, self.faults)
            self.weathers["function"].share = 0.0
        self.github.url = self.network.add("github", self.github.application)
        batch_url = self.network.add("batch", self.batch.application)
        self.storage = self.queue.connection_string(self.network.add("queue", self.queue.application))
        self.foreign = Foreign(
            loop, self.github, self.batch, self.queue, scope=Scope("organization", ORGANIZATION), seed=seed
        )
        self.invariants = Invariants(
            self.ledger, loop, github=self.github, batch=self.batch, queue=self.queue, containers=self.containers,
            foreign=self.foreign,
        )  # fmt: skip
        door_url = self.network.add("function", door.application)
        settings = set_up(
            options, self.github, self.batch, batch_url=batch_url, storage=self.storage, door_url=door_url
        )
        timers = [] if "control loop" in options.without else [RECONCILE]
        timers += [TEND_POOLS] if options.boost else []
        self.host = SimulatedHost(
            self.threads, settings, options=options, answered=self.invariants.answered,
            pending=lambda: self.queue.due(REQUESTS), timers=timers, firing=self.invariants.firing,
        )  # fmt: skip
        self.steps = Steps(self.host, seed, self.faults, loop, by_the_hour=options.repositories > 0)
        self.network.watcher = self.steps
        victims = Victims(
            self.network, self.weathers, self.host, self.batch, (LINUX_POOL, WINDOWS_POOL), self._lose_node,
            self.foreign,
        )  # fmt: skip
        self.accidents = Accidents(loop, victims, seed, self.faults)
        secrets = tuple(value for name, value in settings.items() if name in SECRET_SETTINGS)
        batch_watch.secrets = secrets
        self.log_watch = LogWatch(secrets, self.deliveries.tell, self.invariants.violate)
        self.github.subscribe(self._hear)

    async def run(self) -> None:
        """Live through it."""
        await self.network.up()
        with self.log_watch.reading():
            await asyncio.wrap_future(self.threads.submit(self.foreign.settle_in, self.storage))
            self.host.start()
            await self._live()

    # The course of things --------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        todo = arrivals(self.options.jobs, self.options.seed, self.options.repositories) + more_arrivals(self.options)
        for arrival in todo:
            self.loop.call_later(60 + arrival.at, self._begin, arrival)
        busy = 60 + max(arrival.at for arrival in todo) + TROUBLE_AFTER
        busy = max(busy, least_duration(self.options))
        if self.options.trouble:
            self._trouble(busy)
        self._scenarios(busy)
        await self._until(busy)
        self._calm()
        calm_at = self.loop.time()
        while (self.ledger.waiting or self._expected) and self.loop.time() < calm_at + self.options.settles_in:
            await self._until(self.loop.time() + 30)
        for record in self.ledger.waiting:
            self.ledger.violate(
                "every queued job is served", f"job {record.job_id} still waits", self.loop.now(), record
            )
        self.settled_after = max(0.0, self.ledger.last_taken_at - START - calm_at)
        settled = self.loop.time()
        while self.invariants.left_over() and self.loop.time() < settled + CLEANS_UP_IN:
            await self._until(self.loop.time() + 60)
        self.clean_after = self.loop.time() - settled
        self.invariants.check_end(
            calls=sum(self.steps.calls.values()),
            faults=sum(weather.hits for weather in self.weathers.values()) + self.host.restarts,
            boosted=self.options.boost,
        )
        for failure in self.host.failures:
            self.invariants.violate("no mistake of ours", failure)
        self.host.stop()
        self.threads.close()

    async def _until(self, end: float) -> None:
        while self.loop.time() < end:
            await asyncio.sleep(STEP)
            turn = round(self.loop.time() / STEP)
            if self._dirty or turn % 10 == 0:
                self._dirty = False
                self.batch.tick()
            if turn % 5 == 0:
                self.github.tick()
            if turn % round(LOOK_EVERY / STEP) == 0:
                self.invariants.look(self.accidents.outages)

    def _trouble(self, seconds: float) -> None:
        for weather in self.weathers.values():
            weather.share = RARE
        self.deliveries.troubled = self.containers.troubled = self.steps.deadly = True
        self.accidents.begin(seconds)

    def _scenarios(self, seconds: float) -> None:
        scenarios = self.options.scenarios
        if "outage" in scenarios:
            for service in ("github", "batch"):
                self.accidents.outage(service, OUTAGE[0], OUTAGE[1] - OUTAGE[0], "errors")
        if "registry" in scenarios:
            for at, down in zip(REGISTRY_OUTAGE, (True, False), strict=True):
                self.loop.call_later(at, setattr, self.containers, "registry_down", down)
        if "evictions" in scenarios:
            for number in range(1, int(seconds / EVICTION_EVERY)):
                self.loop.call_later(number * EVICTION_EVERY, self._evict)
        if "thief" in scenarios:
            self.containers.watch = Thief(self.loop, self.claiming, self.options.seed, self.faults).watch

    def _evict(self) -> None:
        """Lose the first node that runs something."""
        nodes = [node for pool in (LINUX_POOL, WINDOWS_POOL) for node in self.batch.node_ids(pool)]
        busy = next((node for node in nodes if self.containers.on_node(node)), None)
        if busy is not None:
            self.faults["node evicted"] += 1
            self._lose_node(busy)

    def _calm(self) -> None:
        self.deliveries.troubled = self.containers.troubled = self.steps.deadly = False
        self.accidents.end()

    # Jobs ------------------------------------------------------------------------------------------------------------

    def _begin(self, arrival: Arrival) -> None:
        run = self.github.queue_run(arrival.repository, arrival.plans)
        if arrival.fate in ("runs", "not served"):
            return
        self._expected += 1

        def then() -> None:
            if arrival.fate == "rerun":
                if run.status != "completed":
                    self.loop.call_later(60.0, then)
                    return
                self.github.rerun(run.id)
                self.faults["re-run"] += 1
            for job in list(run.latest):
                if arrival.fate == "cancelled" and job.status != "completed":
                    self.faults[f"cancelled while {job.status.replace('_', ' ')}"] += 1
                    self.github.cancel_job(job.id)
                elif arrival.fate == "approved":
                    self.github.approve(job.id)
            self._expected -= 1

        self.loop.call_later(arrival.after, then)

    def _key(self, job: Job) -> Key:
        scope = job.repository.full_name if self.options.per_repository else job.repository.owner
        return scope, job.labels[-1]

    def _hear(self, event: Event) -> None:
        if event.job is not None:
            wanted = is_served(event.job.repository.full_name, event.job.labels)
            self.ledger.job_event(event, key=self._key(event.job), wanted=wanted)

    def _post(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> HookResponse:
        return self.host.post(url, headers, body, seconds)

    def _violate(self, invariant: str, what: str) -> None:
        self.ledger.violate(invariant, what, self.loop.now())

    async def _claim(self, headers: Mapping[str, str], body: bytes) -> Answer | None:
        self.invariants.claiming()
        answer = await self.host.claim(headers, body)
        if answer is not None:
            self.invariants.claim_answered(answer, may_be_used="thief" in self.options.scenarios)
        return answer

    # Batch -----------------------------------------------------------------------------------------------------------

    def _lose_node(self, node: str) -> None:
        self.containers.lose_node(node)
        keys = []
        for job, task in self.containers.on_node(node):
            record = self.ledger.record_of(task)
            if record is not None and not self.containers.unused(job, task):
                keys.append(record.key)
        self.ledger.node_lost(keys, self.loop.now())
        self.batch.preempt(node)
        self._dirty = True

    def _task_changed(self, task: str, what: str) -> None:
        self._dirty = True
        if what == "created":
            self.ledger.task_created(task, self.loop.now())
        else:
            self._tell_task(task, f"task {task} {what}")

    def _tell_task(self, task: str, text: str) -> None:
        self._dirty = True
        self.ledger.tell_of_task(task, self.loop.now(), text)


def budget(options: Options) -> Budget:
    """Return GitHub's limits."""
    if not options.repositories:
        return Budget()
    return Budget(limit=APP_REQUESTS if options.app else TOKEN_REQUESTS, points=POINTS)


def pools(options: Options) -> list[Pool]:
    """Return the Batch pools; with the boost their formulas are evaluated as seldom as Azure does it."""
    larger = LARGER if options.repositories else 1
    found = [
        Pool(LINUX_POOL, "linux", slots_per_node=4, start_delay_s=240, max_nodes=14 * larger, idle_s=900),
        Pool(WINDOWS_POOL, "windows", slots_per_node=2, start_delay_s=420, max_nodes=6 * larger, idle_s=900),
    ]
    if options.registration == "claim":
        for pool in found:
            pool.told_after_s = TOLD_AFTER
    if options.boost:
        for pool in found:
            pool.formula = FORMULA.format(pool.max_nodes)
            pool.evaluation_s, pool.resize_s = 300.0, 90.0
    return found


def simulate(options: Options) -> World:
    """Run one simulation from its beginning to its end."""
    loop = VirtualLoop()
    random.seed(options.seed)
    gc.freeze()  # what is there already need not be looked at again and again
    with ExitStack() as stack:
        stack.callback(gc.unfreeze)
        world = World(options, loop)
        stack.enter_context(virtual_sdk(world.threads))
        stack.enter_context(without(options.without))
        stack.enter_context(world.network.connected())
        runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: loop))
        runner.run(world.run())
    return world
