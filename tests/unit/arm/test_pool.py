"""The simulated pool: what jobs wait for, what is billed, and that no formula gets around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arm.autoscale.measure import filled, read_formulas
from arm.autoscale.pool import BOOST_DELAY, DEALLOCATION, DELIVERY, LAUNCH, Setup, simulate
from arm.autoscale.traces import HOUR, Job, Trace

KEEP = "$NodeDeallocationOption = taskcompletion;"
# Every node takes a minute to be there, and three more until it takes tasks.
SETUP = Setup(slots=2, max_nodes=3, allocation=(60, 60), boot=(180, 180))
LINUX = filled(read_formulas()["linux"], "linux", slots=2, maxNodes=3)


def fixed(nodes: str) -> str:
    """Return a formula that always asks for so many nodes."""
    return f"$TargetDedicatedNodes = {nodes};{KEEP}"


def trace(*jobs: Job, hours: float = 4) -> Trace:
    """Return a trace of these jobs."""
    return Trace("test", list(jobs), hours * HOUR)


class TestWaits:
    """From `queued` to the first step."""

    def test_a_free_slot(self) -> None:
        """With a free slot a job waits for its delivery and its launch only."""
        assert simulate(trace(Job(60, 100)), fixed("1"), SETUP, 1).waits == [DELIVERY + LAUNCH]

    def test_first_come_first_served(self) -> None:
        """A third job on two slots starts when the first one ends, a fourth when the second does."""
        jobs = [Job(60, 100), Job(60, 150), Job(61, 100), Job(62, 100)]
        waits = simulate(trace(*jobs), fixed("1"), SETUP, 1).waits
        first_end, second_end = 60 + DELIVERY + LAUNCH + 100, 60 + DELIVERY + LAUNCH + 150
        assert waits == pytest.approx([21, 21, first_end + LAUNCH - 61, second_end + LAUNCH - 62])

    def test_what_needs_another_job_is_queued_at_its_end(self) -> None:
        """A job that needs another does not wait while that one runs."""
        outcome = simulate(trace(Job(60, 1000), Job(60, 100, after=0), Job(60, 100, after=1)), fixed("1"), SETUP, 1)
        assert outcome.waits == [DELIVERY + LAUNCH] * 3

    @pytest.mark.parametrize("seed", range(5))
    def test_a_cold_pool(self, seed: int) -> None:
        """From no node at all a job waits for a sample, the next evaluation and the node, and not longer."""
        (wait,) = simulate(trace(Job(3600, 100)), LINUX, SETUP, seed).waits
        sample_and_evaluation = 30 + 30 + 300
        assert DELIVERY + 60 + 180 + LAUNCH <= wait <= DELIVERY + sample_and_evaluation + 60 + 180 + LAUNCH

    def test_jobs_without_nodes(self) -> None:
        """A formula that leaves jobs without a node is told, instead of simulated for ever."""
        with pytest.raises(ValueError, match="1 jobs do not end"):
            simulate(trace(Job(60, 100)), fixed("0"), SETUP, 1)


class TestNodes:
    """What a pool has, and what is billed."""

    def test_what_is_there_is_billed(self) -> None:
        """Two nodes that stand for four hours are eight node-hours, and 10 minutes of one slot are used of 16 hours."""
        outcome = simulate(trace(Job(60, 600)), fixed("2"), SETUP, 1)
        assert outcome.node_hours == pytest.approx(8)
        assert outcome.used == pytest.approx(1 / 6 / 16)

    def test_spot_nodes_are_nodes(self) -> None:
        """Both kinds together take jobs and are billed; changing one for the other keeps within the quota."""
        formula = f"$TargetDedicatedNodes = 1; $TargetLowPriorityNodes = 1;{KEEP}"
        assert simulate(trace(Job(60, 600)), formula, SETUP, 1).node_hours == pytest.approx(8)
        change = f"n = time().hour < 1 ? 3 : 0; $TargetDedicatedNodes = n; $TargetLowPriorityNodes = 3 - n;{KEEP}"
        outcome = simulate(trace(Job(60, 600)), change, SETUP, 1)
        assert max(nodes for _, nodes, _ in outcome.timeline) == 3
        assert outcome.timeline[-1][1] == 3

    def test_the_quota(self) -> None:
        """However many are asked for, there are no more nodes than the quota allows."""
        outcome = simulate(trace(*[Job(60, 600)] * 20), fixed("10"), SETUP, 1)
        assert max(nodes for _, nodes, _ in outcome.timeline) == SETUP.max_nodes

    def test_a_job_is_not_interrupted(self) -> None:
        """A node that shall go ends its job, takes no other, and is billed until it is gone."""
        early = fixed("time().hour < 1 && time().day == 8 ? 1 : 0")
        outcome = simulate(trace(Job(1800, 2 * HOUR)), early, SETUP, 1)
        end = 1800 + DELIVERY + LAUNCH + 2 * HOUR
        assert outcome.waits == [DELIVERY + LAUNCH]
        assert outcome.timeline[-1] == (end + DEALLOCATION, 0, 0)
        assert outcome.node_hours > (end + DEALLOCATION - HOUR) / HOUR
        with pytest.raises(ValueError, match="do not end"):
            simulate(trace(Job(1800, 2 * HOUR), Job(HOUR + 600, 60)), early, SETUP, 1)

    def test_the_fullest_node_is_filled_first(self) -> None:
        """Jobs are packed, so that the other node becomes free and can go: the longest idle one goes first."""
        jobs = [Job(60, 600), Job(120, 3 * HOUR)]
        both_on_one = simulate(trace(*jobs), fixed("time().hour < 1 ? 2 : 1"), SETUP, 1)
        assert both_on_one.node_hours == pytest.approx(4 + 1, abs=0.1)
        assert both_on_one.timeline[-1][1] == 1

    def test_a_formula_that_interrupts_jobs(self) -> None:
        """What the pool does not simulate is refused."""
        with pytest.raises(ValueError, match="interrupts jobs: requeue"):
            simulate(trace(Job(60, 100)), "$TargetDedicatedNodes = 1;", SETUP, 1)


class TestBoost:
    """`PoolBoost=resize`: the orchestrator's rules."""

    BOOSTED = Setup(slots=2, max_nodes=3, allocation=(60, 60), boot=(180, 180), boost=True)

    def test_a_cold_pool(self) -> None:
        """A job that finds no node waits for the look and the node, and not for an evaluation."""
        outcome = simulate(trace(Job(3600, 100)), LINUX, self.BOOSTED, 1)
        assert outcome.waits == pytest.approx([DELIVERY + BOOST_DELAY + 60 + 180 + LAUNCH], abs=BOOST_DELAY)

    def test_the_formula_scales_in_afterwards(self) -> None:
        """Autoscale is on again after a boost: the formula gives back what is not needed."""
        outcome = simulate(trace(*[Job(3600, 300)] * 6), LINUX, self.BOOSTED, 1)
        assert max(nodes for _, nodes, _ in outcome.timeline) == 3
        assert outcome.timeline[-1][1] == 0

    def test_samples_that_are_lost(self) -> None:
        """If the service forgets the samples, a formula that looks back an hour finds none after a boost."""
        looks_back = fixed("$PendingTasks.GetSamplePercent(TimeInterval_Hour) > 90 ? 1 : 0")
        jobs = trace(*[Job(3600, 300)] * 3)
        loses = Setup(slots=2, max_nodes=3, allocation=(60, 60), boot=(180, 180), boost=True, keeps_samples=False)
        kept, lost = (simulate(jobs, looks_back, setup, 1) for setup in (self.BOOSTED, loses))
        assert min(nodes for time, nodes, _ in kept.timeline if time > 0) == 1
        assert min(nodes for time, nodes, _ in lost.timeline if time > 0) == 0


def test_the_same_seed_gives_the_same_run() -> None:
    """A run depends on its seed and on nothing else."""
    jobs = trace(*[Job(60 * number, 300) for number in range(40)])
    setup = Setup(slots=2, max_nodes=3, allocation=(40, 80), boot=(140, 220))
    assert simulate(jobs, LINUX, setup, 1) == simulate(jobs, LINUX, setup, 1)
    assert simulate(jobs, LINUX, setup, 1) != simulate(jobs, LINUX, setup, 2)


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(20, 4000), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 1000),
)
def test_whatever_comes(drawn: list[tuple[int, int, bool]], slots: int, boost: bool, seed: int) -> None:
    """Every job ends, none starts sooner than it can, the quota holds, and what runs is billed."""
    jobs = [
        Job(queued, duration, number - 1 if number and needs else None)
        for number, (queued, duration, needs) in enumerate(drawn)
    ]
    setup = Setup(slots, 3, (40, 80), (140, 220), boost=boost)
    outcome = simulate(
        trace(*jobs, hours=2), filled(read_formulas()["linux"], "linux", slots=slots, maxNodes=3), setup, seed
    )
    assert len(outcome.waits) == len(jobs)
    assert min(outcome.waits) >= DELIVERY + LAUNCH - 1e-6
    assert max(nodes for _, nodes, _ in outcome.timeline) <= 3
    assert 0 < outcome.used <= 1
    assert outcome.timeline[-1][2] == 0
