"""The autoscale formulas: what the service takes of them, and what they decide."""

import random
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from arm.autoscale.formula import Formula, Situation
from arm.autoscale.measure import HERE, SYSTEMS, filled
from arm.autoscale.values import Samples
from arm.build import PLACEHOLDERS
from orchestrator.pool_boost import Limits

FORMULAS = {system: (HERE / f"{system}.txt").read_text(encoding="utf-8") for system in SYSTEMS}
# What the service documents ("Create an automatic formula for scaling compute nodes in a Batch pool"), as far as it is
# used here. ceil, floor and round are documented, too, but came late.
FUNCTIONS = {"max", "min", "percentile", "time", "GetSample", "GetSamplePercent"}
MEMBERS = {"hour", "weekday"}
VARIABLES = {
    "$PendingTasks", "$ActiveTasks", "$CurrentDedicatedNodes", "$CurrentLowPriorityNodes", "$TargetDedicatedNodes",
    "$TargetLowPriorityNodes", "$NodeDeallocationOption",
}  # fmt: skip
CONSTANTS = {"TimeInterval_Minute", "TimeInterval_Hour", "taskcompletion"}
# The nodes for 64 jobs, at 5 slots each.
MATRIX = {FORMULAS["linux"]: 13, FORMULAS["windows"]: 9}
# The longest values that the template may put in.
LONGEST = dict.fromkeys(PLACEHOLDERS, 10_000)
# What is put in where a test says nothing else.
USUAL = dict.fromkeys(PLACEHOLDERS, 0) | {"slots": 5, "maxNodes": 16}

formulas = pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)


def usual(formula: str, **parameters: float) -> str:
    """Return a formula with its placeholders replaced."""
    return filled(formula, "linux", **(USUAL | parameters))


def code(formula: str) -> str:
    """Return a formula without its comments."""
    return re.sub(r"//[^\n]*", "", formula)


class TestForm:
    """What the service checks when it is given a formula."""

    @formulas
    def test_size(self, formula: str) -> None:
        """At most 8192 characters, ASCII all of them, and 100 statements, with the longest parameters."""
        text = usual(formula, **LONGEST)
        assert text.isascii()
        assert "\t" not in text
        assert len(text) <= 8192
        assert code(text).count(";") <= 100
        assert code(text).strip().endswith(";")

    @formulas
    def test_placeholders(self, formula: str) -> None:
        """Every parameter of the template is used once, in an assignment of its own at the top, and no other is."""
        assert re.findall(r"\{\{(\w+)\}\}", formula) == list(PLACEHOLDERS)
        for name in PLACEHOLDERS:
            assert f"\n{name} = {{{{{name}}}}};\n" in formula
        assert "{{" not in usual(formula)

    @formulas
    def test_only_what_is_documented(self, formula: str) -> None:
        """Functions, members and variables are the service's documented ones, or were assigned before."""
        text = code(usual(formula))
        known = VARIABLES | CONSTANTS
        for statement in text.split(";"):
            target, equals, value = statement.partition("=")
            if not statement.strip():
                continue
            assert equals
            for dot, name, call in re.findall(r"(\.?)\s*(\$?[A-Za-z_]\w*)\s*(\(?)", value):
                if call:
                    assert name in FUNCTIONS
                elif dot:
                    assert name in MEMBERS
                else:
                    assert name in known
            known.add(target.strip())
        assert {"$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"} <= known

    @formulas
    def test_balanced(self, formula: str) -> None:
        """Every bracket is closed in its own statement, and every condition has both answers."""
        for statement in code(usual(formula)).split(";"):
            assert statement.count("(") == statement.count(")")
            assert statement.count("?") == statement.count(":")

    @formulas
    def test_a_running_job_is_never_interrupted(self, formula: str) -> None:
        """A node that goes ends its tasks first."""
        assert "$NodeDeallocationOption = taskcompletion;" in formula

    @formulas
    def test_the_orchestrator_reads_the_same_limits(self, formula: str) -> None:
        """What a boost goes by is what the formula was filled with."""
        assert Limits.of(usual(formula, maxNodes=12)) == Limits(12, None)
        assert Limits.of(usual(formula, maxNodes=12, spot=1, dedicatedNodes=2)) == Limits(12, 2)


def decide(
    formula: str,
    samples: dict[str, list[float]],
    *,
    nodes: int = 0,
    at: str = "2024-01-08T10:00",
    late: float = 30,
    **parameters: float,
) -> tuple[int, int]:
    """Evaluate a formula; return how many dedicated and Spot nodes it asks for.

    Args:
        formula: with its placeholders.
        samples: the values of each variable, 30 s apart.
        nodes: how many dedicated nodes there are.
        at: the time, UTC; the default is a Monday.
        late: seconds since the last sample.
        parameters: those that differ from the usual.
    """
    now = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    metrics = {
        name: Samples([now - late - 30 * (len(values) - 1 - number) for number in range(len(values))], values)
        for name, values in samples.items()
    }
    decision = Formula(usual(formula, **parameters)).evaluate(Situation(now, metrics, dedicated=nodes))
    assert decision.dedicated is not None
    assert decision.spot is not None
    assert decision.deallocation == "taskcompletion"
    return decision.dedicated, decision.spot


def jobs(*values: float, active: float = 0) -> dict[str, list[float]]:
    """Return samples of hours without a job, and then these, one for every 5 minutes."""
    pending = [0.0] * 600 + [value for value in values for _ in range(10)]
    return {"$PendingTasks": pending, "$ActiveTasks": [active] * len(pending)}


@formulas
class TestDecisions:
    """What the formulas decide in named situations, at 5 slots per node and at most 16 nodes."""

    def test_nothing_to_do(self, formula: str) -> None:
        """An empty pool stays empty."""
        assert decide(formula, jobs(0)) == (0, 0)

    def test_one_job(self, formula: str) -> None:
        """One job gets one node."""
        assert decide(formula, jobs(1)) == (1, 0)

    def test_a_burst(self, formula: str) -> None:
        """Sixty-four jobs get all of their nodes at once; on Windows those for a dozen, and for two in three others."""
        assert decide(formula, jobs(64, active=64)) == (MATRIX[formula], 0)

    def test_a_boost(self, formula: str) -> None:
        """Nodes that a boost has ordered for jobs that wait are kept."""
        burst = jobs(64)
        assert decide(formula, burst, nodes=13) == (MATRIX[formula], 0)
        burst["$ActiveTasks"][-8:] = [64.0] * 8
        assert decide(formula, burst, nodes=13) == (13, 0)

    def test_the_first_of_several(self, formula: str) -> None:
        """Where more jobs than a node takes were there an hour ago, one job gets two nodes, or three small ones."""
        quiet = [0.0] * 12
        assert decide(formula, jobs(6, *quiet, 1)) == (2, 0)
        assert decide(formula, jobs(5, *quiet, 1)) == (1, 0)
        assert decide(formula, jobs(6, *quiet, *quiet, *quiet, 1)) == (1, 0)
        assert decide(formula, jobs(6, *quiet, 1), slots=2) == (3, 0)

    def test_the_cap(self, formula: str) -> None:
        """There are never more nodes than the cap, whatever waits; and none at all if it is 0."""
        assert decide(formula, jobs(1000, active=1000), nodes=16) == (16, 0)
        assert decide(formula, jobs(1000), maxNodes=3) == (3, 0)
        assert decide(formula, jobs(1000), maxNodes=0, warmNodes=2) == (0, 0)

    @pytest.mark.parametrize("nodes", [0, 7])
    def test_without_samples(self, formula: str, nodes: int) -> None:
        """Right after autoscale was enabled there are no samples: the pool stays as it is."""
        assert decide(formula, {}, nodes=nodes) == (nodes, 0)

    def test_old_samples_only(self, formula: str) -> None:
        """Samples that have stopped coming say nothing of now: the pool stays as it is."""
        assert decide(formula, jobs(64), nodes=4, late=3600) == (4, 0)

    @pytest.mark.parametrize("count", [1, 2, 5, 11, 60, 200])
    def test_few_samples(self, formula: str, count: int) -> None:
        """However short the history is, the evaluation does not fail and the jobs get their nodes."""
        samples = {"$PendingTasks": [8.0] * count, "$ActiveTasks": [0.0] * count}
        dedicated, spot = decide(formula, samples, nodes=2)
        assert dedicated + spot in {2, 3}

    def test_a_lone_burst_leaves_nothing_behind(self, formula: str) -> None:
        """Minutes after a burst that nothing came before the pool is empty again."""
        assert decide(formula, jobs(64, 64, 30, 0, 0, 0, 0), nodes=13) == (0, 0)

    def test_what_is_needed_often_is_kept(self, formula: str) -> None:
        """Where jobs come every hour the last node stays until the next one."""
        quiet = [0.0] * 10
        assert decide(formula, jobs(1, *quiet, 0, 1, *quiet, 0, 1, *quiet), nodes=1) == (1, 0)
        assert decide(formula, jobs(1, *quiet, *quiet, *quiet, *quiet), nodes=1) == (0, 0)

    @pytest.mark.parametrize("seed", range(20))
    def test_never_negative_never_above_the_cap(self, formula: str, seed: int) -> None:
        """Whatever happened, both targets are numbers between 0 and the cap."""
        draw = random.Random(seed)  # noqa: S311 - not for secrets
        pending = [float(draw.choice([0, 0, 1, 3, 20, 90])) for _ in range(draw.randint(0, 900))]
        samples = {"$PendingTasks": pending, "$ActiveTasks": [min(9.0, value) for value in pending]}
        spot: dict[str, Any] = {"spot": draw.randint(0, 1), "dedicatedNodes": draw.randint(0, 20)}
        dedicated, low = decide(formula, samples, nodes=draw.randint(0, 20), **spot)
        assert dedicated >= 0
        assert low >= 0
        assert dedicated + low <= 16

    def test_spot(self, formula: str) -> None:
        """With Spot the first nodes are dedicated and the others Spot; together they are as many as without."""
        assert decide(formula, jobs(64), spot=1) == (0, MATRIX[formula])
        assert decide(formula, jobs(64), spot=1, dedicatedNodes=2) == (2, MATRIX[formula] - 2)
        assert decide(formula, jobs(3), spot=1, dedicatedNodes=2) == (1, 0)
        assert decide(formula, jobs(64), spot=0, dedicatedNodes=2) == (MATRIX[formula], 0)

    @pytest.mark.parametrize(
        ("at", "offset", "nodes"),
        [
            ("2024-01-08T08:00", 0, 2),
            ("2024-01-08T07:59", 0, 0),
            ("2024-01-08T17:59", 0, 2),
            ("2024-01-08T18:00", 0, 0),
            ("2024-01-13T10:00", 0, 0),
            ("2024-01-14T10:00", 0, 0),
            ("2024-01-08T16:00", -8, 2),
            ("2024-01-08T08:00", -8, 0),
            ("2024-01-07T23:30", 9, 2),
            ("2024-01-08T02:30", 5.5, 2),
        ],
    )
    def test_warm_hours(self, formula: str, at: str, offset: float, nodes: int) -> None:
        """Warm nodes are there in office hours from Monday to Friday, by the local clock."""
        parameters: dict[str, Any] = {"warmNodes": 2, "warmFromHour": 8, "warmToHour": 18, "utcOffsetHours": offset}
        assert decide(formula, jobs(0), at=at, **parameters) == (nodes, 0)

    def test_jobs_that_take_several_slots(self, formula: str) -> None:
        """Jobs that wait for long though the nodes should suffice get one node more, then another, up to one each."""
        waiting = jobs(3, 3, 3, 3, 3, 3, active=1)
        assert decide(formula, waiting, nodes=1) == (2, 0)
        assert decide(formula, waiting, nodes=2) == (3, 0)
        assert decide(formula, waiting, nodes=3) == (3, 0)
        assert decide(formula, jobs(3, 3, 3, 3, 3, 3), nodes=1) == (1, 0)
