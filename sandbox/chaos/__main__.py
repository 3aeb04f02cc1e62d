"""`python -m sandbox.chaos --jobs N --seed S [--json]`: exit code 1 if an invariant breaks."""

import argparse
import sys
import time
from collections.abc import Sequence

from sandbox.chaos.options import NETS, Options
from sandbox.chaos.report import Report, stories
from sandbox.chaos.world import simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one simulation and report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="how many jobs (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--without", action="append", default=[], choices=NETS, help="switch a net off")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    began = time.perf_counter()
    world = simulate(Options(options.jobs, options.seed, frozenset(options.without)))
    report = Report.of(world, time.perf_counter() - began)
    print(report.as_json() if options.json else report.as_text())
    if not report.broken:
        return 0
    again = f"python -m sandbox.chaos --jobs {options.jobs} --seed {options.seed}"
    again += "".join(f" --without {net}" for net in options.without)
    print(f"{stories(world.ledger.violations)}\n\nAgain: {again}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
