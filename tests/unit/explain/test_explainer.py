"""Explanations are shared."""

from datetime import timedelta

from orchestrator.explain.explainer import KEPT_FOR, Explainer
from orchestrator.explain.facts import Facts
from orchestrator.explain.reference import JobReference
from tests.builders import settings
from tests.fakes import ManualClock


def test_one_look_for_all() -> None:
    """Within fifteen seconds nobody looks again at the same job; another job and a later question have their own."""
    clock, looked = ManualClock(), []

    def gather(reference: JobReference) -> Facts:
        looked.append(reference.job_id)
        return Facts(clock(), reference)

    explainer = Explainer(gather, settings().profiles, clock)
    first = explainer.explain(JobReference(1, "acme/app"))
    assert first["verdict"] == "not-found"
    clock.advance(KEPT_FOR - timedelta(seconds=1))
    assert explainer.explain(JobReference(1, "acme/app")) is first
    explainer.explain(JobReference(2, "acme/app"))
    clock.advance(timedelta(seconds=1))
    explainer.explain(JobReference(1, "acme/app"))
    assert looked == [1, 2, 1]
