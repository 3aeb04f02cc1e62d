"""What happens beside what the seed draws. Each scenario is switched on by its name, and leaves the draws as they are."""

from sandbox.chaos.options import Options
from sandbox.chaos.workload import LINUX, Arrival
from sandbox.github.model import JobPlan

# Somebody else's organization, which installed the App and may have no runners.
STRANGER = "mallory"


def more_arrivals(options: Options) -> list[Arrival]:
    """Return the workflow runs that the scenarios add."""
    found: list[Arrival] = []
    if "stranger" in options.scenarios:
        found += [_run(300.0 * number, f"{STRANGER}/private", 2, 60.0) for number in range(8)]
    return found


def _run(at: float, repository: str, jobs: int, duration_s: float) -> Arrival:
    plans = tuple(
        JobPlan(("self-hosted", *LINUX), name=f"job-{number}", duration_s=duration_s) for number in range(jobs)
    )
    return Arrival(at, repository, plans, "runs", 0.0)
