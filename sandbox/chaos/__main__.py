"""`python -m sandbox.chaos --jobs N --seed S [--repositories N] [--boost] [--claim] [--scenario NAME]`.

The exit code is 1 if an invariant breaks.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from sandbox.chaos.fairness import simulate_fairness
from sandbox.chaos.options import NETS, SCENARIOS, Options
from sandbox.chaos.report import Report, stories
from sandbox.chaos.world import simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one simulation and report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="how many jobs (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--boost", action="store_true", help="with PoolBoost=resize")
    parser.add_argument("--claim", action="store_true", help="with RunnerRegistration=claim, whatever the seed says")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--without", action="append", default=[], choices=NETS, help="switch a net off")
    parser.add_argument("--scenario", action="append", default=[], choices=SCENARIOS, help="what happens as well")
    parser.add_argument("--repositories", type=int, default=0, help="many, with GitHub's limits (default: a few)")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error("--jobs must be at least 1")
    if given.repositories < 0:
        parser.error("--repositories must not be negative")
    scenarios = frozenset(given.scenario)
    greedy = "greedy" in scenarios  # two worlds are compared, and trouble would befall each at another place
    options = Options(
        given.jobs, given.seed, frozenset(given.without), given.boost, trouble=not greedy, scenarios=scenarios,
        repositories=given.repositories, claim=given.claim,
    )  # fmt: skip
    began = time.perf_counter()
    world = (simulate_fairness if greedy else simulate)(options)
    report = Report.of(world, time.perf_counter() - began)
    print(report.as_json() if given.json else report.as_text())
    if not report.broken:
        return 0
    print(f"{stories(world.ledger.violations)}\n\nAgain: {options.command}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
