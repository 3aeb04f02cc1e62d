"""What to simulate."""

from dataclasses import dataclass
from typing import Literal

# Seconds after the last trouble in which every job must be served: two passes, the longest pause of the queue, an hour
# of work ahead on a full pool.
SETTLES_IN = 2 * 3600.0
# What `Options.without` can switch off.
NETS = ("control loop", "reconciliation", "redelivery", "queue")
# What `Options.scenarios` can add; see `sandbox.chaos.scenarios`.
SCENARIOS = (
    "stranger", "greedy", "cancels", "outage", "registry", "evictions", "clock", "unfinished", "outside", "thief",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to simulate.

    Attributes:
        jobs: how many, re-runs not counted.
        seed: of everything that is drawn; its lowest bits choose the modes.
        without: nets to switch off, for tests of the invariants; see `NETS`.
        boost: whether pools are enlarged at once (`PoolBoost=resize`); of no influence on what is drawn.
        trouble: whether anything goes wrong at all.
        settles_in: seconds after the last trouble in which every job must be served.
        scenarios: what happens beside what is drawn, see `SCENARIOS`; of no influence on what is drawn.
        repositories: how many there are; 0 for the few of `workload`. With many of them jobs come faster, pools are
            larger, and GitHub counts points per minute.
        claim: whether runners claim their registration, whatever the seed says; of no influence on what is drawn.
    """

    jobs: int
    seed: int
    without: frozenset[str] = frozenset()
    boost: bool = False
    trouble: bool = True
    settles_in: float = SETTLES_IN
    scenarios: frozenset[str] = frozenset()
    repositories: int = 0
    claim: bool = False

    @property
    def command(self) -> str:
        """The command line that simulates the same."""
        parts = [f"python -m sandbox.chaos --jobs {self.jobs} --seed {self.seed}", *(["--boost"] if self.boost else [])]
        parts += [f"--repositories {self.repositories}"] if self.repositories else []
        parts += ["--claim"] if self.claim else []
        parts += [f"--scenario {scenario}" for scenario in sorted(self.scenarios)]
        return " ".join(parts + [f"--without {net!r}" for net in sorted(self.without)])

    @property
    def registration(self) -> Literal["token", "jit", "claim"]:
        """How runners get their registration (`RunnerRegistration`)."""
        if self.claim or self.seed & 32 or "thief" in self.scenarios:
            return "claim"
        return "jit" if self.seed & 1 else "token"

    @property
    def per_repository(self) -> bool:
        """Whether runners register at their repository instead of the organization."""
        return bool(self.seed & 2)

    @property
    def app(self) -> bool:
        """Whether a GitHub App is used instead of a token."""
        return bool(self.seed & 4) or not self.scenarios.isdisjoint(("stranger", "greedy", "clock"))

    @property
    def instances(self) -> int:
        """How many instances of the function there are, all being well."""
        return 2 if self.seed & 16 else 1
