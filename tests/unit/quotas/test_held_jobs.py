"""Jobs under a quota: started if there is room, else when another one ends."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError, UpstreamRefused
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.quotas import held_jobs
from orchestrator.quotas.control import QuotaControl
from orchestrator.quotas.held_jobs import HeldJobs, HeldPlaces
from orchestrator.quotas.occupancy import Occupancy
from orchestrator.result import Result
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.provisioning import Provisioner
from orchestrator.runners.task import TaskState, task_id
from tests.builders import task_state
from tests.fakes import ManualClock
from tests.unit.quotas.builders import CPU, GPU, job_event, profile_of, task_of, with_profiles
from tests.unit.runners.fakes import NOW, OpenBoundary, Registry, TaskList


class World:
    """GitHub and Batch around jobs under a quota.

    Attributes:
        queued: the queued jobs of each repository.
        asked: the repositories that GitHub was asked about.
        listed: how often Batch was asked.
        calls: how often GitHub has named a job.
        timers: what is to be called later.
        trouble: raised when GitHub is asked about a repository.
    """

    def __init__(self, configured: Settings, *running: TaskState) -> None:
        self.configured = configured
        self.clock = ManualClock(NOW)
        self.running = {task.task_id: task for task in running}
        self.queued: dict[str, list[WorkflowJobEvent]] = {}
        self.asked: list[tuple[str, int | None]] = []
        self.listed = 0
        self.calls = 0
        self.timers: list[Callable[[], None]] = []
        self.trouble: dict[str, Exception] = {}
        self.registry, self.tasks = Registry(), TaskList(*self.running)
        self.places = HeldPlaces()
        self.boundary = OpenBoundary()
        occupancy = Occupancy(self.live, ["gpuPool"], self.clock)
        self.quotas = QuotaControl(configured, occupancy, self.places.remember)
        self.provisioner = Provisioner(
            configured, {"token": self.registry, "jit": self.registry}, self.tasks, boundary=self.boundary,
            is_queued=lambda _event: True, created=self.tasks.created.append,
            clock=self.clock, within_quota=self.quotas.within, take_share=lambda _event: None,
        )  # fmt: skip
        self.held_jobs = HeldJobs(
            configured, self.quotas, self.places, account_refusal=self.boundary.account_refusal,
            handle=self.provisioner.handle, start=self.provisioner.start,
            queued_jobs=self.queued_jobs, start_timer=lambda _seconds, action: self.timers.append(action),
        )  # fmt: skip

    def live(self, pool: str) -> Sequence[TaskState]:
        """List the tasks that wait or run."""
        assert pool == "gpuPool"
        self.listed += 1
        return list(self.running.values())

    def queued_jobs(self, full_name: str, installation: int | None) -> Iterator[Sequence[WorkflowJobEvent]]:
        """Yield a repository's queued jobs, one with each call; then raise what is its trouble."""
        self.asked.append((full_name, installation))
        for event in list(self.queued.get(full_name, [])):
            self.calls += 1
            yield [event]
        if full_name in self.trouble:
            raise self.trouble[full_name]

    def handle(self, event: WorkflowJobEvent, profile: str = "gpu") -> Outcome:
        """Do what a delivery does."""
        return self.held_jobs.handle(event, profile_of(self.configured, profile))

    def queue(self, number: int, full_name: str = "acme/app", **changes: Any) -> Outcome:
        """Deliver that a job is queued, which GitHub then lists."""
        event = job_event(number, full_name, "self-hosted", "gpu", **changes)
        self.queued.setdefault(full_name, []).append(event)
        return self.handle(event)

    def end(self, number: int, full_name: str = "acme/app", *, runner: str | None = None, **changes: Any) -> Outcome:
        """Deliver that a job has ended, which GitHub then lists no more."""
        waiting = self.queued.get(full_name, [])
        waiting[:] = [event for event in waiting if event.workflow_job.id != number]
        name = runner if runner is not None else f"runner-{number}-1"
        event = job_event(
            number, full_name, "self-hosted", "gpu", action="completed", conclusion="success", runner_name=name,
            **changes,
        )  # fmt: skip
        return self.handle(event)

    def fire(self) -> None:
        """Let every timer fire."""
        timers, self.timers = self.timers, []
        for action in timers:
            action()

    @property
    def started(self) -> list[str]:
        """The tasks that were created."""
        return [task.task_id for task in self.tasks.added]


def limited(limit: int = 2, **changes: str) -> Settings:
    """Return settings that limit the runners of each repository."""
    return with_profiles(GPU, RunnerScope="repository", MaxRunnersPerRepository=str(limit), **changes)


class TestADelivery:
    """A queued job under a quota."""

    def test_within(self) -> None:
        """While there is room, a job gets its runner, and Batch is asked once for several jobs."""
        world = World(limited(100))
        assert [world.queue(number).result for number in (1, 2, 3)] == [Result.CREATED] * 3
        assert world.listed == 1
        assert (world.asked, world.timers) == ([], [])

    def test_held(self) -> None:
        """A job beyond the quota waits: nothing is registered or created, and the reason says who has the slots."""
        world = World(limited(2), task_of(7), task_of(8))
        outcome = world.queue(9)
        assert (outcome.result, outcome.task_id, outcome.profile.name) == (Result.WAITS, "runner-9-1", "gpu")
        assert outcome.reason == "acme/app has 2 of 2 runners (MaxRunnersPerRepository): runner-7-1, runner-8-1"
        assert (world.registry.asked, world.started) == ([], [])

    def test_the_same_delivery_again(self) -> None:
        """A job that has its runner is told so, although the quota is full."""
        world = World(limited(1))
        assert [world.queue(1).result for _ in range(2)] == [Result.CREATED, Result.EXISTS]

    def test_a_start_that_fails(self) -> None:
        """A start that fails takes no slot."""
        world = World(limited(1))
        world.tasks.trouble = TransientError("503")
        with pytest.raises(TransientError):
            world.queue(1)
        world.tasks.trouble = None
        assert world.queue(2).result == Result.CREATED

    def test_a_task_that_is_over(self) -> None:
        """A task that exists but is over takes no slot."""
        world = World(limited(1))
        world.tasks.existing.add("runner-1-1")
        assert [world.queue(number).result for number in (1, 2)] == [Result.EXISTS, Result.CREATED]

    def test_no_quota(self) -> None:
        """Where no quota applies, Batch is not asked, and the end of a job leads to nothing."""
        world = World(with_profiles(GPU, RunnerScope="repository"))
        outcome = world.queue(1)
        assert (outcome.result, outcome.reason) == (Result.CREATED, None)
        world.end(1)
        assert (world.listed, world.timers) == (0, [])

    def test_a_quota_without_effect(self) -> None:
        """Where others may take the runners, the job gets its runner, and the answer says what limits nothing."""
        world = World(with_profiles(GPU, MaxRunnersPerRepository="1"), task_of(7))
        outcome = world.queue(1)
        assert outcome.result == Result.CREATED
        assert outcome.reason is not None
        assert outcome.reason.startswith("MaxRunnersPerRepository takes no effect")
        world.tasks.states = {"runner-2-1": task_state("runner-2-1", "gpuPool", "finished", NOW, exit_code=75)}
        world.tasks.existing.add("runner-2-1")
        replaced = world.queue(2)
        assert replaced.reason is not None
        assert replaced.reason.startswith("runner-2-1 ended without a job: exit code 75; MaxRunnersPerRepository takes")
        again = world.queue(1)
        assert (again.result, again.reason) == (Result.EXISTS, "runner-1-1 waits for a free slot")
        assert world.listed == 0


class TestTheEndOfAJob:
    """A job that ends lets the oldest held one start."""

    def test_the_oldest(self) -> None:
        """GitHub is asked once, a few seconds later, and the oldest job without a runner is started."""
        world = World(limited(1))
        world.queue(1)
        world.queue(2, created_at="2026-11-25T11:59:30Z")
        world.queue(3, created_at="2026-11-25T11:59:10Z")
        world.queue(4, created_at="2026-11-25T11:59:50Z")
        done = world.end(1)
        assert (done.result, done.reason) == (Result.LEFT, "the job had its runner")
        assert world.asked == []
        world.fire()
        assert world.asked == [("acme/app", None)]
        assert world.started == ["runner-1-1", "runner-3-1"]

    def test_a_job_that_does_not_say_since_when(self) -> None:
        """A job that does not say since when it waits goes first."""
        world = World(limited(1))
        world.queue(1)
        world.queue(2, created_at="2026-11-25T11:59:30Z")
        world.queue(3)
        world.end(1)
        world.fire()
        assert world.started == ["runner-1-1", "runner-3-1"]

    def test_several_ends_are_one_reason(self) -> None:
        """Jobs that end together lead to one look, which starts as many as there is room for."""
        world = World(limited(2))
        for number in range(1, 6):
            world.queue(number)
        world.end(1)
        world.end(2)
        assert len(world.timers) == 1
        world.fire()
        assert world.started == ["runner-1-1", "runner-2-1", "runner-3-1", "runner-4-1"]
        assert len(world.asked) == 1
        world.end(3)
        assert len(world.timers) == 1

    def test_a_cancelled_job(self) -> None:
        """A job that is cancelled before it had a runner frees the slot of its task as well."""
        world = World(limited(1))
        world.queue(1)
        world.queue(2)
        world.end(1, runner="")
        world.running.clear()
        world.clock.advance(timedelta(seconds=5))
        world.fire()
        assert world.started == ["runner-1-1", "runner-2-1"]

    def test_jobs_that_another_process_holds(self) -> None:
        """If the quota was full until now, GitHub is asked although this process has held no job."""
        world = World(limited(1), task_of(7))
        world.queued["acme/app"] = [job_event(9, "acme/app", "self-hosted", "gpu")]
        world.end(7)
        world.fire()
        assert world.started == ["runner-9-1"]

    def test_nobody_is_held(self) -> None:
        """If the quota was not full, GitHub is not asked."""
        world = World(limited(3), task_of(7))
        world.end(7)
        world.fire()
        assert world.asked == []

    def test_still_full(self) -> None:
        """If the quota is still full, GitHub is not asked: somebody else's runner had ended."""
        world = World(limited(1), task_of(7))
        world.queue(9)
        world.end(3, runner="their-own-runner")
        world.fire()
        assert world.asked == []
        world.end(7)
        world.fire()
        assert world.started == ["runner-9-1"]

    def test_asked_once(self) -> None:
        """A repository that has no more held jobs is asked about no more."""
        world = World(limited(2), task_of(7), task_of(8))
        world.queue(9)
        world.end(7)
        world.fire()
        assert world.places.all() == []
        world.queued.clear()
        world.running.clear()
        world.clock.advance(timedelta(minutes=1))
        world.end(8)
        world.fire()
        assert world.asked == [("acme/app", None)]

    def test_a_strangers_job(self) -> None:
        """The end of a job whose account may have no runners leads to nothing."""
        world = World(limited(1), task_of(7))
        world.boundary.account = "the account is not among AllowedOrganizations"
        assert world.end(7).result == Result.LEFT
        assert world.timers == []

    def test_jobs_that_get_no_runner(self) -> None:
        """A queued job that no profile serves is left alone."""
        world = World(limited(1), task_of(7))
        world.queued["acme/app"] = [job_event(9, "acme/app", "self-hosted", "other")]
        world.end(7)
        world.fire()
        assert (len(world.asked), world.started) == (1, [])


class TestTurns:
    """Several repositories share the runners of a profile."""

    def world(self, limit: int = 2) -> World:
        """Return one where a greedy repository has all runners of the profile."""
        world = World(with_profiles(GPU | {"maxRunners": limit}, CPU, RunnerScope="repository"))
        for number in range(1, limit + 1):
            assert world.queue(number, "acme/greedy").result == Result.CREATED
        return world

    def test_another_repository(self) -> None:
        """The slot of one repository goes to the other one that waits, not to the next job of the same."""
        world = self.world()
        for number in (11, 12, 13):
            assert world.queue(number, "acme/greedy").result == Result.WAITS
        held = world.queue(21, "acme/modest")
        assert held.reason == "profile gpu has 2 of 2 runners (maxRunners): acme/greedy 2"
        world.end(1, "acme/greedy")
        world.fire()
        assert world.started[2:] == ["runner-21-1"]
        assert {job.repository for job in world.places.all()} == {"acme/greedy"}

    def test_by_turns(self) -> None:
        """Of two slots that become free together each repository gets one."""
        world = self.world()
        for number in (11, 12, 13):
            world.queue(number, "acme/greedy")
        world.queue(21, "acme/modest")
        world.end(1, "acme/greedy")
        world.end(2, "acme/greedy")
        world.fire()
        assert sorted(world.started[2:]) == ["runner-11-1", "runner-21-1"]

    def test_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One look asks about a few repositories, and starts a few jobs; the rest is left for the next."""
        monkeypatch.setattr(held_jobs, "REPOSITORIES_PER_LOOK", 2)
        monkeypatch.setattr(held_jobs, "STARTS_PER_LOOK", 3)
        world = self.world(6)
        for number, name in enumerate("aabbcc", start=11):
            world.queue(number, f"acme/{name}")
        for number in range(1, 7):
            world.end(number, "acme/greedy")
        world.fire()
        assert len(world.asked) == 2
        assert len(world.started) == 9
        assert len(world.places.all()) == 3

    def test_used_up_meanwhile(self) -> None:
        """If deliveries use the free slots first, the held jobs go on waiting, and are not forgotten."""
        world = self.world(1)
        world.queue(11, "acme/modest")
        world.queue(12, "acme/modest")
        world.end(1, "acme/greedy")
        look, answer = world.timers.pop(), world.queued_jobs

        def slowly(full_name: str, installation: int | None) -> Iterator[Sequence[WorkflowJobEvent]]:
            world.queue(31, "acme/quick")
            return answer(full_name, installation)

        world.held_jobs._queued_jobs = slowly
        look()
        assert world.started == ["runner-1-1", "runner-31-1"]
        assert {job.repository for job in world.places.all()} == {"acme/modest"}


class TestTrouble:
    """What does not work is left for the next pass."""

    @pytest.mark.parametrize(
        ("error", "level"), [(TransientError("GitHub answers 502"), "WARNING"), (RuntimeError("a mistake"), "ERROR")]
    )
    def test_a_look_fails(self, caplog: pytest.LogCaptureFixture, error: Exception, level: str) -> None:
        """It is logged, and the repository is still known to have held jobs."""
        world = World(limited(1), task_of(7))
        world.queue(9)
        world.trouble["acme/app"] = error
        world.end(7)
        world.fire()
        assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == [level]
        assert isinstance(error, UpstreamError) == (str(error) in caplog.messages[-1])
        assert len(world.places.all()) == 1

    def test_batch_does_not_tell(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without the list of runners nobody is asked, and the repository is still known to have held jobs."""
        world = World(limited(1), task_of(7))
        world.queue(9)
        world.end(7)

        def silent(_pool: str) -> Sequence[TaskState]:
            raise TransientError("Batch does not answer")

        world.quotas._occupancy._list_live = silent
        world.clock.advance(timedelta(minutes=1))
        world.fire()
        assert [record.levelname for record in caplog.records if "does not answer" in record.message] == ["WARNING"]
        assert (world.asked, len(world.places.all())) == ([], 1)

    def test_another_repository(self, caplog: pytest.LogCaptureFixture) -> None:
        """A repository whose jobs cannot be listed, or not all, keeps no other one from its slots."""
        world = World(limited(1), task_of(7, "acme/app"), task_of(8, "acme/lib"))
        world.queue(9)
        world.queue(10, "acme/lib")
        world.trouble = {"acme/app": TransientError("GitHub answers 502"), "acme/lib": TransientError("not all")}
        world.queued["acme/app"] = []
        world.end(7)
        world.end(8, "acme/lib")
        world.fire()
        assert world.started == ["runner-10-1"]
        (line,) = [json.loads(text) for text in caplog.messages if "502" in text]
        assert (line["result"], line["repository"]) == ("skipped", "acme/app")
        assert {job.repository for job in world.places.all()} == {"acme/app", "acme/lib"}

    def test_a_repository_that_is_gone(self) -> None:
        """A repository that GitHub refuses to list is asked about no more; passes go on with it."""
        world = World(limited(1), task_of(7), task_of(8))
        world.queue(9)
        world.trouble["acme/app"] = GitHubRefused("404", 404)
        world.queued["acme/app"] = []
        world.end(7)
        world.end(8)
        world.fire()
        assert (len(world.asked), world.places.all()) == (1, [])

    def test_many_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A repository takes no more than its share of the calls; the next look goes on with it."""
        monkeypatch.setattr(held_jobs, "CALLS_PER_REPOSITORY", 2)
        world = World(limited(1), task_of(7))
        for number in (9, 10, 11):
            world.queue(number)
        world.end(7)
        world.fire()
        assert (world.calls, world.started) == (2, ["runner-9-1"])
        assert [job.repository for job in world.places.all()] == ["acme/app"]

    def test_a_start_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """A job that cannot be started keeps only those of its own repository waiting, and is not forgotten."""
        world = World(limited(2), *(task_of(number, "acme/app") for number in (1, 2)),
                      *(task_of(number, "acme/lib") for number in (3, 4)))  # fmt: skip
        for number in (11, 12):
            world.queue(number)
        for number in (21, 22):
            world.queue(number, "acme/lib")
        tried, start = [], world.held_jobs._start

        def refusing(event: WorkflowJobEvent, profile: Profile) -> Outcome:
            tried.append(event.workflow_job.id)
            if event.repository.full_name == "acme/app":
                raise UpstreamRefused("GitHub does not register it")
            return start(event, profile)

        world.held_jobs._start = refusing
        for number, name in ((1, "acme/app"), (2, "acme/app"), (3, "acme/lib"), (4, "acme/lib")):
            world.end(number, name)
        world.fire()
        assert sorted(tried) == [11, 21, 22]
        assert world.started == ["runner-21-1", "runner-22-1"]
        assert {job.repository for job in world.places.all()} == {"acme/app"}
        assert [json.loads(text)["job"] for text in caplog.messages if "does not register" in text] == [11]

    def test_no_timer(self, caplog: pytest.LogCaptureFixture) -> None:
        """If no timer can be started, the answer to the delivery is the same, and the next end tries again."""
        world = World(limited(1), task_of(7), task_of(8))

        def no_timer(_seconds: float, _action: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        start_timer, world.held_jobs._start_timer = world.held_jobs._start_timer, no_timer
        assert world.end(7).result == Result.LEFT
        assert "left for the next pass" in caplog.text
        world.held_jobs._start_timer = start_timer
        world.end(8)
        assert len(world.timers) == 1

    def test_many_places(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of very many repositories with held jobs the last ones are remembered."""
        monkeypatch.setattr(held_jobs, "REMEMBERED_PLACES", 2)
        places = HeldPlaces()
        (profile,) = limited().profiles
        for name in ("a", "b", "c", "b"):
            places.remember(job_event(1, f"acme/{name}"), profile)
        assert [job.repository for job in places.all()] == ["acme/b", "acme/c"]


def test_the_runner_of_another_attempt() -> None:
    """The slot is that of the runner that had the job, whichever job the runner was started for."""
    world = World(limited(2), task_of(7), task_of(8))
    world.queue(9)
    world.end(7, runner="runner-8-1-0a1b")
    assert [slot.task_id for slot in world.quotas.slots()] == ["runner-7-1"]
    assert task_id(job_event(7).workflow_job) == "runner-7-1"
