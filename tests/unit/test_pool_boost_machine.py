"""Boosts of one pool under whatever order of events hypothesis finds: steps of processes, deaths, a person, time."""

from datetime import timedelta
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.pool_boost import NOTE_ABANDONED_AFTER, PoolBoost
from tests.pool_service import RESIZE_TIME, SLOTS_PER_NODE, Fate, PoolService, Step

FORMULAS = ("maxNodes = 6;", "maxNodes = 6;\nspot = 1;\ndedicatedNodes = 2;")
MOST_NODES = 6
PROCESSES = 2
# Minutes after which everything that was begun has come to its end: a note is abandoned, a boost begins and ends.
SETTLED_AFTER = 12


class Boosts(RuleBasedStateMachine):
    """A pool, processes that take steps, a person who switches autoscale off and on, and jobs that come and go.

    A process may be suspended for minutes in the middle of its step. Others may take its note for abandoned then, and
    delete it. So three things are left out that would lose the formula, as the service has no transactions: that two
    processes are suspended for minutes at once, that such a process goes on between two calls of another one, and that
    it goes on and fails before the end of its step.
    """

    @initialize(formula=st.sampled_from(FORMULAS))
    def begin(self, formula: str) -> None:
        """Give the pool its formula, and more jobs than it may have nodes for."""
        self.pool = PoolService(formula)
        self.have_jobs(MOST_NODES + 1)
        self.steps: dict[int, Step] = {}
        self.person_decides = False

    @rule(process=st.integers(1, PROCESSES), calls=st.integers(1, 4))
    def go_on(self, process: int, calls: int) -> None:
        """Let a process make some calls of its step, which it begins if there is none."""
        if process not in self.steps:
            self.steps[process] = Step(self.pool)
            self.steps[process].switch()
        if self.steps[process].age > NOTE_ABANDONED_AFTER:
            for other in self.steps.keys() - {process}:
                self._end(other)
        for _ in range(calls):
            self._call(process, "answered")

    @rule(process=st.integers(1, PROCESSES))
    def finish(self, process: int) -> None:
        """Let a process end its step, or take a whole one."""
        self.go_on(process, 1)
        self._end(process)

    @precondition(lambda self: self.steps)
    @rule(process=st.integers(1, PROCESSES), fate=st.sampled_from(["dies", "refused", "answer lost"]))
    def interrupt(self, process: int, fate: Literal["dies"] | Fate) -> None:
        """End a process between two calls, or let a call of it fail, with or without an effect."""
        step = self.steps.get(process)
        if step is None or step.age > NOTE_ABANDONED_AFTER:
            return
        if fate == "dies":
            self.steps.pop(process).throw()
        else:
            self._call(process, fate)

    @rule(process=st.integers(1, PROCESSES), seconds=st.sampled_from([40, 100, 400]))
    def wait(self, process: int, seconds: int) -> None:
        """Let time go by; a process in the middle of a step is suspended for as long, the others only for a while."""
        for other in self.steps.keys() - {process}:
            if self.steps[other].age + timedelta(seconds=seconds) > NOTE_ABANDONED_AFTER:
                self._end(other)
        self.pool.clock.advance(timedelta(seconds=seconds))

    @rule(nodes=st.integers(0, MOST_NODES + 1))
    def have_jobs(self, nodes: int) -> None:
        """Let there be jobs for so many nodes."""
        self.pool.slots = nodes * SLOTS_PER_NODE

    @precondition(lambda self: self.pool.autoscale is not None and self.pool.steady)
    @rule(nodes=st.integers(0, MOST_NODES))
    def evaluate(self, nodes: int) -> None:
        """Let the formula decide on the size."""
        limits = self.pool.limits
        dedicated = nodes if limits.dedicated is None else min(nodes, limits.dedicated)
        self.pool.set_size(dedicated, nodes - dedicated)

    @precondition(lambda self: self.pool.autoscale is not None)
    @rule()
    def switch_off(self) -> None:
        """Let a person switch autoscale off. While a boost is under way, nobody can tell that from the boost's own."""
        self.pool.autoscale = None
        self.person_decides = True
        self.pool.hands_off = self._nothing_is_under_way

    @precondition(lambda self: self.pool.autoscale is None and self.pool.may_enable)
    @rule()
    def switch_on(self) -> None:
        """Let a person switch autoscale on, which hands the pool back."""
        self.pool.switch_on()
        self.person_decides = self.pool.hands_off = False

    @precondition(lambda self: self._nothing_is_under_way)
    @rule(dedicated=st.integers(0, MOST_NODES), spot=st.integers(0, MOST_NODES))
    def resize_by_hand(self, dedicated: int, spot: int) -> None:
        """Let a person choose a size that the formula would not choose, with autoscale off meanwhile."""
        self.pool.set_size(dedicated, spot)
        self.pool.clock.advance(RESIZE_TIME)

    @invariant()
    def the_formula_is_known(self) -> None:
        """Where no step is under way and no person intervened, the formula is in force, or a note saves it."""
        if not self.steps and not self.person_decides:
            assert self.pool.autoscale is not None or self.pool.note is not None

    def teardown(self) -> None:
        """Let every step end and minutes go by: no note is left, the formula is in force, and jobs have their nodes."""
        if not hasattr(self, "pool"):
            return
        pool = self.pool
        for process in sorted(self.steps, key=lambda process: self.steps[process].age):
            self._end(process)
        boost = PoolBoost(pool, pool.clock)
        for _ in range(SETTLED_AFTER):
            pool.clock.advance(timedelta(minutes=2))
            boost.step_all(["linux"])
        assert pool.note is None
        if pool.hands_off:
            assert pool.autoscale is None
        elif not self.person_decides:
            assert pool.autoscale == pool.chosen
        if pool.autoscale is not None:
            assert pool.dedicated + pool.spot >= min(MOST_NODES, -(-pool.slots // SLOTS_PER_NODE))

    @property
    def _nothing_is_under_way(self) -> bool:
        return not self.steps and self.pool.note is None

    def _end(self, process: int) -> None:
        while process in self.steps:
            self._call(process, "answered")

    def _call(self, process: int, fate: Fate) -> None:
        step = self.steps.get(process)
        if step is None:
            return
        try:
            step.switch(fate)
        finally:
            if step.dead:
                del self.steps[process]


TestBoosts = Boosts.TestCase
TestBoosts.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
