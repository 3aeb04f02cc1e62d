"""What people and machines do during a run: every job, cancellation, approval and accident, drawn from the seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.github.model import JobPlan

ORGANIZATION = "acme"
REPOSITORIES = tuple(f"{ORGANIZATION}/{name}" for name in ("app", "web", "infra", "data"))
# A repository that may have no runners (`AllowPublicRepositories` is off).
PUBLIC = f"{ORGANIZATION}/open-source"
# A repository that the runner group of the scenario `outside` does not admit.
OUTSIDE = f"{ORGANIZATION}/outside"
# Another organization, which may have runners too.
GREEDY = "globex"
# How fast jobs come and how many hours they come for at least, with the few repositories above and with many.
JOBS_PER_HOUR, LEAST_HOURS = 900, 1.0
MANY_JOBS_PER_HOUR, MANY_LEAST_HOURS = 4_000, 0.25
# Of many repositories, how the runs spread: the busiest tenth has 46 of 100 runs, the quietest tenth 3.
SKEW = 3

LINUX, OLD_LINUX, WINDOWS = ("ubuntu-latest",), ("ubuntu-22.04",), ("windows-latest",)
NOT_SERVED: tuple[tuple[str, ...], ...] = (("self-hosted", "gpu-h100"), ("macos-14",), ("self-hosted", "bad label!"))

type Fate = Literal["runs", "cancelled", "approved", "never approved", "rerun", "not served"]


@dataclass(frozen=True)
class Arrival:
    """One workflow run that begins.

    Attributes:
        at: virtual seconds from the beginning.
        fate: what its users do with it later.
        after: seconds until they do.
    """

    at: float
    repository: str
    plans: tuple[JobPlan, ...]
    fate: Fate
    after: float


def is_served(repository: str, labels: Sequence[str]) -> bool:
    """Whether a job shall have a runner."""
    known = repository.partition("/")[0] in (ORGANIZATION, GREEDY) and repository not in (PUBLIC, OUTSIDE)
    return known and labels[0] == "self-hosted" and tuple(labels[1:]) in (LINUX, OLD_LINUX, WINDOWS)


def repositories(count: int) -> tuple[str, ...]:
    """Return the names of so many repositories that may have runners; of the few for 0."""
    return tuple(f"{ORGANIZATION}/service-{number:04}" for number in range(count)) or REPOSITORIES


def arrivals(jobs: int, seed: int, count: int = 0) -> list[Arrival]:
    """Return workflow runs with so many jobs for runners of ours, and some for others; oldest first.

    Args:
        jobs: how many.
        seed: of everything that is drawn.
        count: of repositories; 0 for the few.
    """
    names = repositories(count)
    rng = random.Random(f"{seed}-workload")  # noqa: S311 - a simulation
    per_hour, least = (MANY_JOBS_PER_HOUR, MANY_LEAST_HOURS) if count else (JOBS_PER_HOUR, LEAST_HOURS)
    hours = max(least, jobs / per_hour)
    found: list[Arrival] = []
    left = jobs
    while left > 0:
        burst = rng.random() < 0.03  # noqa: PLR2004 - a matrix build now and then
        size = min(left, rng.randint(20, 60) if burst else rng.choice((1, 1, 1, 2, 3)))
        repository = names[int(count * rng.random() ** SKEW)] if count else None
        arrival = _arrival(rng, rng.uniform(0, hours * 3600), size, burst=burst, repository=repository)
        found.append(arrival)
        left -= size if arrival.fate not in ("not served", "never approved") else 0
    return sorted(found, key=lambda arrival: arrival.at)


def _arrival(rng: random.Random, at: float, size: int, *, burst: bool, repository: str | None) -> Arrival:
    fate = rng.choices(("runs", "cancelled", "approved", "never approved", "rerun", "not served"), (78, 9, 4, 1, 4, 4))[
        0
    ]
    if burst and fate in ("not served", "never approved"):
        fate = "runs"
    is_public = fate == "not served" and rng.random() < 0.25  # noqa: PLR2004
    repository = PUBLIC if is_public else repository or rng.choice(REPOSITORIES)
    labels: Sequence[str] = ("self-hosted", *rng.choices((LINUX, OLD_LINUX, WINDOWS), (70, 15, 15))[0])
    if fate == "not served" and repository != PUBLIC:
        labels = rng.choice(NOT_SERVED)
    environment = "production" if fate in ("approved", "never approved") else None
    plans = tuple(
        JobPlan(tuple(labels), name=f"job-{number}", duration_s=_duration(rng), environment=environment)
        for number in range(size)
    )
    after = rng.choice((rng.uniform(0, 5), rng.uniform(5, 120), rng.uniform(60, 1200)))
    return Arrival(at, repository, plans, fate, after)  # type: ignore[arg-type]  # one of the fates


def _duration(rng: random.Random) -> float:
    return min(3600.0, max(5.0, rng.lognormvariate(5.0, 0.9)))  # median two and a half minutes
