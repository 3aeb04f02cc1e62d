"""What a simulation found: figures for people and for machines, and the story of each broken invariant."""

import json
from dataclasses import dataclass

from sandbox.chaos.ledger import Violation
from sandbox.chaos.simulated_host import RECONCILE
from sandbox.chaos.world import World


@dataclass(frozen=True)
class Report:
    """The figures of one simulation.

    Attributes:
        jobs: that were queued for runners of ours, re-runs included.
        faults: what went wrong on purpose, by kind.
        lost: jobs that no runner took.
        left_over: what was there at the end and should not have been.
        left_to_github: registrations that only GitHub can clear away; see `Invariants.left_to_github`.
        surplus_peak: the most runners at once that had no job to wait for.
        surplus_minutes: how long they were there, added up.
        upstream_calls: of the application, by service.
        passes: of the control loop.
        restarts: of the function's process.
        resizes: of pools, by the boost.
        p50_s: median of the seconds from queued to a task.
        p95_s: 95th percentile of the same.
        untold: jobs that no delivery told of.
        found_p50_s: median of the seconds from queued to a task of these.
        found_p95_s: 95th percentile of the same.
        found_max_s: the longest of the same.
        calls_per_job: of the application, to all services.
        limited: requests that GitHub refused by its limits: above the points of a minute, and the requests of an hour.
        settled_s: seconds from the end of all trouble until the last job had a runner.
        clean_s: seconds from then until nothing was left over.
        virtual_s: how long it took in the simulation.
        real_s: how long it took.
        broken: invariants that did not hold, and how often.
    """

    seed: int
    modes: tuple[str, ...]
    jobs: int
    faults: dict[str, int]
    lost: int
    left_over: int
    left_to_github: int
    surplus_peak: int
    surplus_minutes: float
    upstream_calls: dict[str, int]
    passes: int
    restarts: int
    resizes: int
    p50_s: float
    p95_s: float
    untold: int
    found_p50_s: float
    found_p95_s: float
    found_max_s: float
    calls_per_job: float
    limited: dict[str, int]
    settled_s: float
    clean_s: float
    virtual_s: float
    real_s: float
    broken: dict[str, int]

    @classmethod
    def of(cls, world: World, real_s: float) -> "Report":
        """Take the figures of a world whose time is over."""
        ledger, options = world.ledger, world.options
        waits, found = ledger.waits_for_task(), ledger.waits_for_task(untold=True)
        jobs = sum(record.wanted and record.queued_at is not None for record in ledger.records.values())
        return cls(
            seed=options.seed,
            modes=(
                options.registration,
                "repository" if options.per_repository else "organization",
                "app" if options.app else "personal token",
                *([f"{options.instances} instances"] if options.instances > 1 else []),
                *(["boost"] if options.boost else []),
                *([f"{options.repositories} repositories"] if options.repositories else []),
            ),
            jobs=jobs,
            faults=dict(sorted(world.faults.items())),
            lost=ledger.broken.get("every queued job is served", 0),
            left_over=len(world.invariants.left_over()),
            left_to_github=len(world.invariants.left_to_github()),
            surplus_peak=ledger.surplus_peak,
            surplus_minutes=round(ledger.surplus_seconds / 60, 1),
            upstream_calls=dict(sorted(world.steps.calls.items())),
            passes=world.host.fired[RECONCILE],
            restarts=world.host.restarts,
            resizes=world.batch.resizes,
            p50_s=quantile(waits, 0.5),
            p95_s=quantile(waits, 0.95),
            untold=len(found),
            found_p50_s=quantile(found, 0.5),
            found_p95_s=quantile(found, 0.95),
            found_max_s=quantile(found, 1.0),
            calls_per_job=round(sum(world.steps.calls.values()) / max(1, jobs), 2),
            limited=dict(world.github.budget.refused),
            settled_s=round(world.settled_after, 1),
            clean_s=round(world.clean_after, 1),
            virtual_s=round(world.loop.time(), 1),
            real_s=round(real_s, 1),
            broken=dict(ledger.broken),
        )

    def as_json(self) -> str:
        """Return the figures as one JSON object: sums, and what they are made of beside them."""
        sums = {"faults": sum(self.faults.values()), "upstream_calls": sum(self.upstream_calls.values())}
        parts = {"faults_by_kind": self.faults, "upstream_calls_by_service": self.upstream_calls}
        return json.dumps({**vars(self), **sums, **parts}, indent=2)

    def as_text(self) -> str:
        """Return the figures for a person."""
        calls = sum(self.upstream_calls.values())
        found = f"p50 {self.found_p50_s:.1f} s, p95 {self.found_p95_s:.1f} s, at most {self.found_max_s:.1f} s"
        minute, hour = (self.limited.get(kind, 0) for kind in ("minute", "hour"))
        each = ", ".join(f"{service} {number}" for service, number in self.upstream_calls.items())
        lines = [
            f"seed {self.seed} ({', '.join(self.modes)})",
            f"  jobs                 {self.jobs}, of which lost {self.lost}",
            f"  faults               {sum(self.faults.values())}",
            *(f"    {number:6} {kind}" for kind, number in self.faults.items()),
            f"  queued to task       p50 {self.p50_s:.1f} s, p95 {self.p95_s:.1f} s",
            f"    {self.untold:6} without a delivery: {found}",
            f"  surplus runners      {self.surplus_minutes:.0f} minutes in all, {self.surplus_peak} at most at once",
            f"  left over            {self.left_over} ({self.left_to_github} registrations are left to GitHub)",
            f"  upstream calls       {calls}: {each}; {self.calls_per_job:.2f} per job",
            f"  refused by limits    {minute} by the minute's, {hour} by the hour's",
            f"  passes, restarts     {self.passes}, {self.restarts}",
            *([f"  pool resizes         {self.resizes}"] if "boost" in self.modes else []),
            f"  after all trouble    {_minutes(self.settled_s)} until every job had a runner",
            f"                       {_minutes(self.clean_s)} more until nothing was left over",
            f"  duration             {self.virtual_s / 3600:.1f} h virtual, {self.real_s:.0f} s real",
        ]
        return "\n".join(lines)


def stories(violations: list[Violation]) -> str:
    """Tell what happened around each broken invariant."""
    lines = []
    for violation in violations:
        lines.append(f"\nBROKEN: {violation.invariant}, at {_clock(violation.at)}: {violation.what}")
        lines += [f"    {_clock(at)}  {line}" for at, line in violation.story]
    return "\n".join(lines)


def quantile(ascending: list[float], share: float) -> float:
    """Return the number that a share of the numbers does not exceed, 0 if there are none."""
    return round(ascending[min(len(ascending) - 1, int(share * len(ascending)))], 1) if ascending else 0.0


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{seconds % 60:06.3f}"
