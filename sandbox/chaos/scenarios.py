"""What happens beside what the seed draws: each scenario is switched on by its name, and leaves the draws alone."""

from collections.abc import Sequence
from dataclasses import replace

from sandbox.chaos.options import Options
from sandbox.chaos.workload import GREEDY, LINUX, ORGANIZATION, OUTSIDE, Arrival
from sandbox.github.model import JobPlan

# Somebody else's organization, which installed the App and may have no runners.
STRANGER = "mallory"
# When GitHub and Batch are away, and when no image can be pulled, in virtual seconds.
OUTAGE = (600.0, 600.0 + 3600.0)
REGISTRY_OUTAGE = (600.0, 600.0 + 1800.0)
# Seconds between two nodes that are taken away.
EVICTION_EVERY = 150.0
# Workflow runs of one repository that wait for an approval which nobody gives.
UNFINISHED = 500
# Seconds by which the function's clock is ahead.
CLOCK_OFF = 240.0


def more_arrivals(options: Options) -> list[Arrival]:
    """Return the workflow runs that the scenarios add."""
    found: list[Arrival] = []
    if "stranger" in options.scenarios:
        found += [_run(300.0 * number, f"{STRANGER}/private", [60.0, 60.0]) for number in range(8)]
    if "greedy" in options.scenarios:
        found.append(_run(0.0, f"{GREEDY}/monorepo", [60.0 + 40 * (number % 56) for number in range(120)]))
    if "cancels" in options.scenarios:
        found += [
            replace(_run(at, f"{ORGANIZATION}/app", [300.0] * 30), fate="cancelled", after=after)
            for at, after in ((600.0, 20.0), (1500.0, 330.0))
        ]
    if "outside" in options.scenarios:
        found += [_run(300.0 * number, OUTSIDE, [60.0, 60.0]) for number in range(8)]
    if "unfinished" in options.scenarios:
        plans = (JobPlan(("self-hosted", *LINUX), environment="production"),)
        found += [
            Arrival(0.1 * number, f"{ORGANIZATION}/infra", plans, "not served", 0.0) for number in range(UNFINISHED)
        ]
    return found


def least_duration(options: Options) -> float:
    """Return the virtual seconds at whose end all scenarios are over."""
    ends = {"outage": OUTAGE[1], "registry": REGISTRY_OUTAGE[1]}
    return max((end for scenario, end in ends.items() if scenario in options.scenarios), default=0.0)


def _run(at: float, repository: str, durations: Sequence[float]) -> Arrival:
    labels = ("self-hosted", *LINUX)
    plans = tuple(JobPlan(labels, name=f"job-{number}", duration_s=each) for number, each in enumerate(durations))
    return Arrival(at, repository, plans, "runs", 0.0)
