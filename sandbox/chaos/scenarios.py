"""What happens beside what the seed draws. Each scenario is switched on by its name, and leaves the draws as they are."""

from collections.abc import Sequence

from sandbox.chaos.options import Options
from sandbox.chaos.workload import GREEDY, LINUX, Arrival
from sandbox.github.model import JobPlan

# Somebody else's organization, which installed the App and may have no runners.
STRANGER = "mallory"


def more_arrivals(options: Options) -> list[Arrival]:
    """Return the workflow runs that the scenarios add."""
    found: list[Arrival] = []
    if "stranger" in options.scenarios:
        found += [_run(300.0 * number, f"{STRANGER}/private", [60.0, 60.0]) for number in range(8)]
    if "greedy" in options.scenarios:
        found.append(_run(0.0, f"{GREEDY}/monorepo", [60.0 + 40 * (number % 56) for number in range(120)]))
    return found


def _run(at: float, repository: str, durations: Sequence[float]) -> Arrival:
    labels = ("self-hosted", *LINUX)
    plans = tuple(JobPlan(labels, name=f"job-{number}", duration_s=each) for number, each in enumerate(durations))
    return Arrival(at, repository, plans, "runs", 0.0)
