"""One simulation: the real application between the stand-ins, on one virtual clock, from a seed."""

import asyncio
import functools
import gc
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from orchestrator.azure.request_queue import POISON, QUEUE
from orchestrator.delivery.receiver import Answer
from orchestrator.runners.task import task_of_runner
from sandbox.batch.model import Pool
from sandbox.chaos.accidents import Accidents, Victims
from sandbox.chaos.containers import Containers
from sandbox.chaos.foreign import Foreign
from sandbox.chaos.functions_host import FunctionsHost, job_of
from sandbox.chaos.ledger import Key, Ledger
from sandbox.chaos.log_watch import LogWatch
from sandbox.chaos.options import Options
from sandbox.chaos.patches import virtual, without
from sandbox.chaos.services import OURS, NoRecorder, SimulatedBatch
from sandbox.chaos.settings import LINUX_POOL, SECRET_SETTINGS, WINDOWS_POOL, set_up
from sandbox.chaos.steps import Steps
from sandbox.chaos.threads import Threads
from sandbox.chaos.virtual_time import START, VirtualLoop
from sandbox.chaos.weather import RARE, Weather
from sandbox.chaos.wire import Network
from sandbox.chaos.workload import ORGANIZATION, Arrival, arrivals, is_served
from sandbox.github import GitHub
from sandbox.github import hooks as github_hooks
from sandbox.github.hooks import Delivery
from sandbox.github.model import Event, Job, Runner, Scope
from sandbox.storage_queue import QueueService

HOOK_RANGES = ("140.82.112.0/20", "2a0a:a440::/29")
# Seconds after that in which nothing may be left over: the longest job, an idle limit, two passes.
CLEANS_UP_IN = 3600.0
# Calls to GitHub, Batch and the queue that are enough. A job needs one or two, three if it is cancelled. A pass asks
# Batch eight times, GitHub three times per repository and once per scope and hook, and once more for each unfinished
# run (counted apart). What fails is tried again from the beginning.
CALLS_PER_JOB, CALLS_PER_PASS, CALLS_PER_FAULT = 4, 30, 4
# Seconds for which trouble goes on when the last job has come.
TROUBLE_AFTER = 900.0
STEP = 2.0


class World:
    """Everything of one simulation; `run` it once."""

    def __init__(self, options: Options, loop: VirtualLoop) -> None:
        self.options = options
        self.loop = loop
        self.random = random.Random(f"{options.seed}-world")  # noqa: S311 - a simulation
        self.faults: Counter[str] = Counter()
        self.ledger = Ledger()
        self.threads = Threads(loop)
        self.network = Network(loop, options.seed)
        self.github = GitHub(clock=loop.now, seed=options.seed, hook_ranges=HOOK_RANGES, deliver=self._deliver,
                             send=self._send, token=None)  # fmt: skip
        self.containers = Containers(loop, self.github, options.seed, self.faults, self._tell_task)
        self.batch = SimulatedBatch(
            [
                Pool(LINUX_POOL, "linux", slots_per_node=4, start_delay_s=240, max_nodes=14, idle_s=900),
                Pool(WINDOWS_POOL, "windows", slots_per_node=2, start_delay_s=420, max_nodes=4, idle_s=900),
            ],
            executor=self.containers, clock=loop.now, changed=self._task_changed, soon=loop.call_soon,
        )  # fmt: skip
        self.queue = QueueService(clock=loop.now)
        self.weathers: dict[str, Weather] = {}
        for name, service in (("github", self.github), ("batch", self.batch), ("queue", self.queue)):
            self.weathers[name] = service.faults = Weather(name, options.seed, loop.now, self.faults)
            self.weathers[name].share = 0.0
            service.recorder = NoRecorder(name)  # type: ignore[arg-type]
        self.troubled = False
        self._dropped = False
        self._deliveries: dict[str, int] = {}
        self._dirty = True
        self._expected = 0
        self._enough_calls = 0
        self.settled_after = self.clean_after = 0.0

    async def run(self) -> None:
        """Live through it."""
        self.github.url = await self.network.serve("github", self.github.application)
        batch_url = await self.network.serve("batch", self.batch.application)
        queue_url = await self.network.serve("queue", self.queue.application)
        storage = self.queue.connection_string(queue_url)
        settings = set_up(self.options, self.github, self.batch, batch_url=batch_url, storage=storage)
        timers = tuple(name for name in ("reconcile",) if "control loop" not in self.options.without)
        self.host = FunctionsHost(
            self.threads, settings, options=self.options, answered=self._answered,
            pending=lambda: self.queue.due(QUEUE), timers=timers, passing=self._passing,
        )  # fmt: skip
        self.steps = Steps(self.host, self.options.seed, self.faults)
        self.network.watcher = self.steps
        self.foreign = Foreign(
            self.loop, self.github, self.batch, self.queue, scope=Scope("organization", ORGANIZATION),
            seed=self.options.seed,
        )  # fmt: skip
        victims = Victims(
            self.network, self.weathers, self.host, self.batch, (LINUX_POOL, WINDOWS_POOL), self._lose_node,
            self.foreign,
        )  # fmt: skip
        self.accidents = Accidents(self.loop, victims, self.options.seed, self.faults)
        self.github.subscribe(self._hear)
        watch = LogWatch(
            tuple(value for name, value in settings.items() if name in SECRET_SETTINGS), self._tell, self._violate
        )
        with watch.reading():
            await asyncio.wrap_future(self.threads.submit(self.foreign.settle_in, storage))
            self.host.start()
            await self._live()

    # The course of things --------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        todo = arrivals(self.options.jobs, self.options.seed)
        for arrival in todo:
            self.loop.call_later(60 + arrival.at, self._begin, arrival)
        busy = 60 + todo[-1].at + TROUBLE_AFTER
        if self.options.trouble:
            self._trouble(busy)
        await self._until(busy)
        self._calm()
        self.calm_at = self.loop.time()
        while (self.ledger.waiting or self._expected) and self.loop.time() < self.calm_at + self.options.settles_in:
            await self._until(self.loop.time() + 30)
        for record in self.ledger.waiting:
            self.ledger.violate(
                "every queued job is served", f"job {record.job_id} still waits", self.loop.now(), record
            )
        self.settled_after = max(0.0, self.ledger.last_taken_at - START - self.calm_at)
        settled = self.loop.time()
        while self.left_over() and self.loop.time() < settled + CLEANS_UP_IN:
            await self._until(self.loop.time() + 60)
        self.clean_after = self.loop.time() - settled
        for thing in self.left_over():
            self._violate("nothing is left over", thing)
        for problem in self.foreign.problems():
            self._violate("nothing foreign is touched", problem)
        self._check_calls()
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
            if turn % 15 == 0:
                self._look()

    def _passing(self) -> None:
        unfinished = sum(run.status != "completed" for run in self.github.state.runs.values())
        self._enough_calls += CALLS_PER_PASS + unfinished

    def _check_calls(self) -> None:
        calls = sum(self.steps.calls.values())
        faults = sum(weather.hits for weather in self.weathers.values()) + self.host.restarts
        enough = self._enough_calls + CALLS_PER_JOB * len(self.ledger.records) + CALLS_PER_FAULT * faults
        if calls > enough:
            self._violate("calls stay within the budget", f"{calls} calls, where {enough} are enough")

    def _trouble(self, seconds: float) -> None:
        self.troubled = True
        for weather in self.weathers.values():
            weather.share = RARE
        self.containers.troubled = True
        self.steps.deadly = True
        self.accidents.begin(seconds)

    def _calm(self) -> None:
        self.troubled = self.containers.troubled = self.steps.deadly = False
        self.accidents.end()

    def _look(self) -> None:
        unused: dict[Key, list[str]] = {}
        for job_id, task_id, state in self.batch.live_tasks():
            found = OURS.match(task_id)
            if found is None or job_id not in _OUR_BATCH_JOBS:
                continue
            record = self.ledger.records.get(int(found[1]))
            if record is not None and (state == "active" or self.containers.unused(job_id, task_id)):
                unused.setdefault(record.key, []).append(task_id)
        now = self.loop.now()
        pardon = sum(max(0.0, min(end, now) - begin) for begin, end in self.accidents.outages if end > now - 7200)
        self.ledger.look(unused, now, now - 15 * STEP, pardon)

    def left_over(self) -> list[str]:
        """Name everything of ours that is still there."""
        found = [f"task {task} is {state}" for job, task, state in self.batch.live_tasks() if job in _OUR_BATCH_JOBS]
        found += [
            f"runner {runner.name} is registered"
            for runner in self.github.runners
            if OURS.match(runner.name) and runner not in self.left_to_github()
        ]
        for queue in (QUEUE, POISON):
            found += [f"a message in {queue}" for _ in self.queue.texts(queue)]
        return found

    def left_to_github(self) -> list[Runner]:
        """Return the registrations of ours that only GitHub can clear away, which it does within a day.

        A process that dies between a JIT registration and its task leaves one behind, and so does a Batch job that is
        deleted while its runners are gone: nothing tells these from the runners of another installation.
        """
        known = self.batch.known_tasks(_OUR_BATCH_JOBS)
        return [
            runner
            for runner in self.github.runners
            if OURS.match(runner.name)
            and runner.ephemeral
            and not runner.online
            and not runner.busy
            and task_of_runner(runner.name) not in known
        ]

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

    # Deliveries ------------------------------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery, attempt: Callable[[], None]) -> None:
        """Decide what becomes of a webhook delivery."""
        job = (delivery.payload.get("workflow_job") or {}).get("id", 0)
        self._deliveries[delivery.guid] = job
        name = f"delivery {delivery.guid[:8]} {delivery.action}{' (redelivered)' if delivery.redelivery else ''}"
        draw, delays = self.random, [0.0]
        delays[0] = draw.uniform(0.1, 2.0)
        dropped = False
        if self.troubled:
            luck = draw.random()
            if luck < 0.02:  # noqa: PLR2004 - shares
                self.faults["webhook: never sent"] += 1
                self._tell(job, f"{name}: GitHub never sends it")
                return
            if luck < 0.05:  # noqa: PLR2004
                self.faults["webhook: connection failed"] += 1
                dropped = True
            elif luck < 0.09:  # noqa: PLR2004
                self.faults["webhook: sent twice"] += 1
                delays.append(draw.uniform(0.1, 400))
            elif luck < 0.13:  # noqa: PLR2004
                self.faults["webhook: minutes late"] += 1
                delays[0] = draw.uniform(60, 900)
        for delay in delays:
            self.loop.call_later(
                delay, self.threads.submit, functools.partial(self._attempt, attempt, job, name, dropped)
            )

    def _attempt(self, attempt: Callable[[], None], job: int, name: str, dropped: bool) -> None:
        self._tell(job, f"{name}: sent{', but the connection fails' if dropped else ''}")
        self._dropped = dropped
        attempt()

    def _send(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> github_hooks.Answer:
        dropped, self._dropped = self._dropped, False
        if dropped:
            return github_hooks.Answer("failed to connect to host", 502)
        answer = self.host.post(url, headers, body, seconds)
        self._tell(
            job_of(body) or 0, f"delivery {headers['X-GitHub-Delivery'][:8]} answered: {answer.code} {answer.body}"
        )
        return answer

    def _answered(self, answer: Answer) -> None:
        result = answer.body.get("result")
        if (answer.status, result) not in _DOCUMENTED:
            self._violate("answers are documented", f"{answer.status} {answer.text}")

    # Batch -----------------------------------------------------------------------------------------------------------

    def _lose_node(self, node: str) -> None:
        self.containers.lose_node(node)
        keys = []
        for job, task in self.containers.on_node(node):
            found = OURS.match(task)
            if found is not None and not self.containers.unused(job, task):
                keys.append(self.ledger.records[int(found[1])].key)
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

    def _tell(self, about: str | int, text: str) -> None:
        job = self._deliveries.get(about, 0) if isinstance(about, str) else about
        self.ledger.tell(job, self.loop.now(), text)

    def _violate(self, invariant: str, what: str) -> None:
        self.ledger.violate(invariant, what, self.loop.now())


_OUR_BATCH_JOBS = frozenset({f"github-runner-{LINUX_POOL}", f"github-runner-{WINDOWS_POOL}"})
# What the README says that well-formed deliveries of GitHub's are answered with; 500 `failed` only by misuse.
_DOCUMENTED: frozenset[tuple[int, object]] = frozenset(
    {
        (201, "created"), (200, "exists"), (200, "removed"), (200, "left"), (200, "ignored"), (200, "pong"),
        (200, "gone"), (202, "kept"), (403, "refused"), (500, "failed"), (503, "failed"),
    }
)  # fmt: skip


def simulate(options: Options) -> World:
    """Run one simulation from its beginning to its end."""
    loop = VirtualLoop()
    random.seed(options.seed)
    gc.freeze()  # what is there already need not be looked at again and again
    with ExitStack() as stack:
        stack.callback(gc.unfreeze)
        world = World(options, loop)
        stack.enter_context(virtual(world.threads))
        stack.enter_context(without(options.without))
        stack.enter_context(world.network.connected())
        runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: loop))
        runner.run(world.run())
    return world
