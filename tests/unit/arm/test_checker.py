"""The interpreter here agrees with another one, where that stands beside the repository."""

import random
import sys

import pytest

from arm.autoscale.formula import Decision, Formula, Situation
from arm.autoscale.measure import HERE, filled, read_formulas
from arm.autoscale.traces import START
from arm.autoscale.values import Samples

CHECKER = HERE.parents[2] / "shared" / "autoscale"
FORMULAS = read_formulas()


@pytest.mark.skipif(not CHECKER.is_dir(), reason="no checker stands beside the repository")
@pytest.mark.parametrize("name", FORMULAS)
def test_both_decide_the_same(name: str) -> None:
    """Whatever the history, with samples that are late or missing, both ask for the same nodes."""
    sys.path.insert(0, str(CHECKER))
    from autoscale.lang import Context, MetricHistory  # type: ignore[import-not-found]  # noqa: PLC0415
    from autoscale.lang import Formula as Other  # noqa: PLC0415

    draw = random.Random(name)  # noqa: S311 - not for secrets
    for _ in range(100):
        slots, now, late = draw.randint(1, 9), START + draw.uniform(0, 1e6), draw.uniform(0, 120)
        nodes = [draw.randint(0, 20) for _ in range(4)]
        times = [now - late - 30 * age for age in range(draw.choice([1, 9, 99, 600]), 0, -1) if draw.random() < 0.9]
        pending = [float(draw.choice([0, 0, 1, 3, 20, 90])) for _ in times]
        metrics = {"$PendingTasks": pending, "$ActiveTasks": [min(9.0, value) for value in pending]}
        histories = {metric: MetricHistory() for metric in metrics}
        for metric, values in metrics.items():
            for time, value in zip(times, values, strict=True):
                histories[metric].add(time, value)
        text = filled(FORMULAS[name], "linux", slots=slots, spot=draw.randint(0, 1), dedicatedNodes=draw.randint(0, 9))
        numbers = {"$TaskSlotsPerNode": slots, "$CurrentDedicatedNodes": nodes[0], "$CurrentLowPriorityNodes": nodes[1]}
        other = Other(text).evaluate(Context(now, histories, numbers, nodes[2], nodes[3]))
        situation = Situation(now, {metric: Samples(times, metrics[metric]) for metric in metrics}, slots, *nodes)
        assert Formula(text).evaluate(situation) == Decision(other.dedicated, other.low, other.dealloc)
