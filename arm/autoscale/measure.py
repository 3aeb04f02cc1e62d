"""How long jobs wait and how many node-hours a pool uses under the formulas here, beside the original formula.

    python -m arm.autoscale.measure                     # the tables, from a new simulation of some minutes
    python -m arm.autoscale.measure --formula MINE.txt  # the same for a formula of your own
    python -m arm.autoscale.measure --quick             # fewer simulations: seconds, and rougher figures
    python -m arm.autoscale.measure --write             # keep the figures, and redo docs/autoscale.md and its picture
    python -m arm.autoscale.measure --redo              # redo them from the figures that are kept

The original formula is `original.txt`: what the formula of the article decides that docs/autoscale.md names.
"""

import argparse
import hashlib
import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from arm.autoscale import traces
from arm.autoscale.picture import TITLES, drawing
from arm.autoscale.pool import Outcome, Setup, simulate
from arm.autoscale.report import means, tables, with_tables
from arm.build import PLACEHOLDERS, TEMPLATE

HERE = Path(__file__).parent
DATA = HERE / "measured.json"
DOCS = HERE.parents[1] / "docs" / "autoscale.md"
PICTURE = HERE.parents[1] / "docs" / "autoscale-day.svg"

# The systems, and what the template calls their pools.
SYSTEMS = {"linux": "ubuntu", "windows": "windows"}
# Seconds from a node's order to its machine, and from there until it takes tasks: 3 to 5 minutes, and 8 to 12.
NODE_TIMES = {"linux": ((40.0, 80.0), (140.0, 220.0)), "windows": ((60.0, 120.0), (420.0, 600.0))}
# Each seed draws the jobs and the pool's delays anew: for a table of its own, for a line, and for `--quick`.
SEEDS, FEWER_SEEDS, QUICK_SEEDS = range(1, 16), range(1, 6), range(1, 3)
DAY_TRACE, DAY_HOURS, DAY_STEP = "release_day", (7, 21), 180

type Json = dict[str, Any]
# Formula, trace, pool, seed.
type Run = tuple[str, str, Setup, int]
type RunAll = Callable[[Iterable[Run]], Iterable[Outcome]]


@dataclass(frozen=True)
class Section:
    """A pool on which the formulas are measured.

    Attributes:
        system: `linux` or `windows`.
        slots: jobs at once on a node.
        max_nodes: the formula's cap, and the account's quota.
        boost: whether the formulas here are helped by `PoolBoost=resize`.
        keeps_samples: whether the samples survive a boost.
        full: whether the figures of each trace are shown, and not only the means.
        defaults: whether these are the template's defaults.
    """

    system: str
    slots: int
    max_nodes: int
    boost: bool = False
    keeps_samples: bool = True
    full: bool = False
    defaults: bool = False


def template_defaults(system: str) -> dict[str, int]:
    """Return what the template puts into a formula's placeholders when its parameters are left alone."""
    parameters = json.loads(TEMPLATE.read_text(encoding="utf-8"))["parameters"]
    return {name: int(parameters[of[SYSTEMS[system]]]["defaultValue"]) for name, of in PLACEHOLDERS.items()}


def sections() -> list[Section]:
    """Return the pools to measure: the template's, then others beside them."""
    pools = {system: template_defaults(system) for system in SYSTEMS}
    slots, max_nodes = pools["linux"]["slots"], pools["linux"]["maxNodes"]
    found = [
        Section(system, pool["slots"], pool["maxNodes"], full=True, defaults=True) for system, pool in pools.items()
    ]
    found.append(Section("windows", slots, max_nodes, full=True))
    for system in SYSTEMS:
        found += [Section(system, other, max_nodes) for other in (2, 10)]
        found += [Section(system, slots, max_nodes, boost=True, keeps_samples=keeps) for keeps in (True, False)]
    return found


def filled(formula: str, system: str, **changes: float) -> str:
    """Return a formula with its placeholders replaced: by the template's defaults, as far as nothing else is given."""
    for name, value in (template_defaults(system) | changes).items():
        formula = formula.replace("{{" + name + "}}", f"{value:g}")
    return formula


def fingerprint(formula: str) -> str:
    """Return what changes when a formula does, but not with its comments or its layout."""
    return hashlib.sha256(re.sub(r"//[^\n]*|\s", "", formula).encode()).hexdigest()[:16]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that this percentage of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def figures(outcomes: Sequence[Outcome]) -> Json:
    """Return the waits of all these runs' jobs together, in seconds, and the node-hours of one run."""
    waits = [wait for outcome in outcomes for wait in outcome.waits]
    return {
        "p50": round(percentile(waits, 50), 1),
        "p95": round(percentile(waits, 95), 1),
        "node_hours": round(statistics.fmean(outcome.node_hours for outcome in outcomes), 2),
    }


def run(run: Run) -> Outcome:
    """Simulate one run, without its timeline."""
    formula, trace, setup, seed = run
    return replace(simulate(traces.make(trace, seed), formula, setup, seed), timeline=[])


def measure(
    section: Section,
    formulas: Mapping[str, str],
    seeds: Iterable[int],
    run_all: RunAll,
    names: Sequence[str] = tuple(traces.WORKLOADS),
) -> Json:
    """Return a section's figures.

    Args:
        section: the pool.
        formulas: `original` and the systems', with placeholders.
        seeds: one run for each of them and each trace.
        run_all: simulates runs, and returns their outcomes in the same order.
        names: the traces.
    """
    seeds = list(seeds)
    setup = Setup(section.slots, section.max_nodes, *NODE_TIMES[section.system])
    boosted = replace(setup, boost=section.boost, keeps_samples=section.keeps_samples)
    ours = filled(formulas[section.system], section.system, slots=section.slots, maxNodes=section.max_nodes)
    cases = {"original": (formulas["original"], setup), "ours": (ours, boosted)}
    keys = [(name, who, seed) for name in names for who in cases for seed in seeds]
    runs = [(cases[who][0], name, cases[who][1], seed) for name, who, seed in keys]
    outcomes = dict(zip(keys, run_all(runs), strict=True))

    def rows(seeds: Sequence[int]) -> Json:
        return {name: {who: figures([outcomes[name, who, seed] for seed in seeds]) for who in cases} for name in names}

    single = [means(rows([seed])) for seed in seeds]
    return asdict(section) | {
        "seeds": seeds,
        "traces": rows(seeds),
        "draws": {
            key: [round(pick(mean[index] for mean in single), 3) for pick in (min, max)]
            for index, key in enumerate(("p95", "node_hours"))
        },
        "used": {who: _used([outcomes[key] for key in keys if key[1] == who]) for who in cases},
    }


def _used(outcomes: Sequence[Outcome]) -> float:
    """Return the share of the billed slots in which a job ran."""
    hours = sum(outcome.node_hours for outcome in outcomes)
    return round(sum(outcome.used * outcome.node_hours for outcome in outcomes) / hours, 3)


def day(formulas: Mapping[str, str]) -> Json:
    """Return nodes and waiting jobs every few minutes of one day, on the template's Linux pool."""
    linux = sections()[0]
    setup = Setup(linux.slots, linux.max_nodes, *NODE_TIMES[linux.system])
    texts = {"original": formulas["original"], "ours": filled(formulas["linux"], "linux")}
    found: Json = {"hours": DAY_HOURS, "step_s": DAY_STEP}
    for who in TITLES:
        events = simulate(traces.make(DAY_TRACE, SEEDS[0]), texts[who], setup, SEEDS[0]).timeline
        nodes, waiting = [], []
        for start in range(DAY_HOURS[0] * 3600, DAY_HOURS[1] * 3600, DAY_STEP):
            before = [event for event in events if event[0] < start][-1:]
            within = before + [event for event in events if start <= event[0] < start + DAY_STEP]
            nodes.append(max(event[1] for event in within))
            waiting.append(max(event[2] for event in within))
        found[who] = {"nodes": nodes, "waiting": waiting}
    return found


def read_formulas(own: Path | None = None) -> dict[str, str]:
    """Return the formulas by name; `own` takes the place of those of the systems."""
    files = {name: HERE / f"{name}.txt" for name in ("original", *SYSTEMS)}
    if own is not None:
        files |= dict.fromkeys(SYSTEMS, own)
    return {name: file.read_text(encoding="utf-8") for name, file in files.items()}


def measure_all(formulas: Mapping[str, str], *, quick: bool, names: Sequence[str] = tuple(traces.WORKLOADS)) -> Json:
    """Return the figures of every section and the picture's values; print each section as soon as it is there."""
    done: dict[Run, Outcome] = {}
    found = []
    with ProcessPoolExecutor() as processes:

        def run_all(runs: Iterable[Run]) -> list[Outcome]:
            wanted = list(runs)
            new = [run for run in wanted if run not in done]
            done.update(zip(new, processes.map(run, new), strict=True))
            return [done[run] for run in wanted]

        for section in sections():
            if quick and not section.full:
                continue
            seeds = QUICK_SEEDS if quick else SEEDS if section.full else FEWER_SEEDS
            found.append(measure(section, formulas, seeds, run_all, names))
            print(tables(found[-1:]), end="\n\n", flush=True)
    return {
        "formulas": {name: fingerprint(text) for name, text in formulas.items()},
        "sections": found,
        "day": day(formulas),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formula", type=Path, help="measure this one (it may hold placeholders)")
    parser.add_argument("--quick", action="store_true", help="fewer simulations")
    parser.add_argument("--write", action="store_true", help="keep the figures, and redo the docs")
    parser.add_argument("--redo", action="store_true", help="only redo the docs, from the figures that are kept")
    options = parser.parse_args(arguments)
    if (options.write or options.redo) and (options.formula or options.quick):
        parser.error("only the full figures of the formulas here are kept")
    if options.redo:
        measured = json.loads(DATA.read_text(encoding="utf-8"))
    else:
        measured = measure_all(read_formulas(options.formula), quick=options.quick)
    if options.write:
        DATA.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if options.write or options.redo:
        DOCS.write_text(with_tables(DOCS.read_text(encoding="utf-8"), measured["sections"]), encoding="utf-8")
        PICTURE.write_text(drawing(measured["day"]), encoding="utf-8")


if __name__ == "__main__":
    main()
