"""How long jobs wait and how many node-hours a pool uses under the formulas here, beside the article's.

    python -m arm.autoscale.measure                     # the table, from a new simulation
    python -m arm.autoscale.measure --formula MINE.txt  # the same for a formula of your own
    python -m arm.autoscale.measure --write             # keep the figures in measured.json and redo docs/autoscale.md
    python -m arm.autoscale.measure --redo              # redo docs/autoscale.md from measured.json alone

The simulator is not part of this repository: `--simulator` says where it is. The picture needs matplotlib.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = HERE / "measured.json"
DOCS = ROOT / "docs" / "autoscale.md"
PICTURE = ROOT / "docs" / "autoscale-day.svg"
SIMULATOR = ROOT.parent / "shared" / "autoscale"

SYSTEMS = ("linux", "windows")
# What the template puts in place of {{name}}, as far as it matters here: all nodes alike, none kept warm.
PARAMETERS = {
    "maxNodes": 16, "slots": 5, "dedicatedNodes": 0, "spot": 0,
    "warmNodes": 0, "warmFromHour": 8, "warmToHour": 18, "utcOffsetHours": 0,
}  # fmt: skip
SLOTS = 5
OTHERS = ((2, False), (10, False), (SLOTS, True))  # slots, whether with a boost
# Seeds whose traces the formulas were not tuned on.
SEEDS = (80, 81, 82, 83, 84)
REPLICATIONS = 3
DAY, DAY_HOURS, DAY_STEP = "release_day~1", (7, 21), 180
BEGIN, END = "<!-- made by arm/autoscale/measure.py from measured.json -->", "<!-- end -->"

type Json = dict[str, Any]


def filled(formula: str, **changes: float) -> str:
    """Return a formula with its placeholders replaced, as the template does."""
    for name, value in (PARAMETERS | changes).items():
        formula = formula.replace("{{" + name + "}}", f"{value:g}")
    return formula


def table(measured: Json) -> str:
    """Return what docs/autoscale.md shows of the figures, as Markdown."""
    seeds = ", ".join(map(str, measured["seeds"]))
    lines = [
        f"Simulated on {measured['date']} with the seeds {seeds}, on which the formulas were not tuned;",
        f"{measured['replications']} runs each. Waits in seconds, *queued* to first step. The article's → ours.",
    ]
    for system in SYSTEMS:
        rows = measured["systems"][system]
        lines += [
            "", f"**{system.capitalize()}**, {SLOTS} slots per node, at most {PARAMETERS['maxNodes']} nodes:", "",
            "| trace | wait p50 | wait p95 | node-hours | p95, ours / article's | node-hours, ours / article's |",
            "|---|---|---|---|---|---|",
        ]  # fmt: skip
        lines += [_line(name, row) for name, row in rows.items()]
        p95, hours = _means(rows)
        lines.append(f"| **geometric mean** without the real one | | | | **{p95:.2f}** | **{hours:.2f}** |")
    lines += [
        "", "Other nodes, and a boost (geometric means, the first seed only):", "",
        "| system | slots per node | p95, ours / article's | node-hours, ours / article's |", "|---|---|---|---|",
    ]  # fmt: skip
    for other in measured["others"]:
        p95, hours = _means(other["traces"])
        boost = ", with an orchestrator like `PoolBoost=resize`" if other["boost"] else ""
        lines.append(f"| {other['system']}{boost} | {other['slots']} | {p95:.2f} | {hours:.2f} |")
    return "\n".join(lines)


def _line(name: str, row: Json) -> str:
    article, ours = row["article"], row["ours"]
    pairs = [f"{article[key]:.0f} → {ours[key]:.0f}" for key in ("p50", "p95")]
    pairs.append(f"{article['node_hours']:.1f} → {ours['node_hours']:.1f}")
    ratios = [f"{ours[key] / article[key]:.2f}" for key in ("p95", "node_hours")]
    return f"| {name} | {' | '.join(pairs + ratios)} |"


def _means(rows: Json) -> tuple[float, float]:
    """Return the geometric means of the ratios, waits and node-hours, of the traces that have unseen seeds."""
    unseen = [row for name, row in rows.items() if not name.startswith("real")]
    p95, hours = ([row["ours"][key] / row["article"][key] for row in unseen] for key in ("p95", "node_hours"))
    return statistics.geometric_mean(p95), statistics.geometric_mean(hours)


def with_table(page: str, measured: Json) -> str:
    """Return the page with the part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(measured)}\n\n{END}{after}"


class Measurement:
    """Simulations with the simulator in a folder."""

    def __init__(self, simulator: Path, formulas: Mapping[str, str], replications: int) -> None:
        sys.path.insert(0, str(simulator))
        from autoscale import runner, sim, traces  # type: ignore[import-not-found]  # noqa: PLC0415

        self._runner, self._sim, self._traces = runner, sim, traces
        article = runner.read_formula(simulator / "formulas" / "seed_verbatim.txt")[0]
        self._texts = {system: {"article": article, "ours": text} for system, text in formulas.items()}
        self._baselines: dict[tuple[Any, ...], Json] = {}
        self._replications = replications

    def traces(self, system: str, slots: int, seeds: Sequence[int], *, boost: bool = False) -> Json:
        """Return the figures of every trace: waits over all seeds and runs together, node-hours of one run."""
        found: Json = {}
        for name in self._traces.expand("all"):
            variants = [name] if name.startswith("real") else [f"{name}~{seed}" for seed in seeds]
            key = (system, slots, *variants)
            if key not in self._baselines:
                self._baselines[key] = self._figures("article", "formula", system, slots, variants)
            ours = self._figures("ours", "hybrid" if boost else "formula", system, slots, variants)
            found[name] = {"article": self._baselines[key], "ours": ours}
            print(f"{system} {slots} {_line(name, found[name])}", flush=True)
        return found

    def _figures(self, who: str, kind: str, system: str, slots: int, variants: Sequence[str]) -> Json:
        outcomes = [
            self._run(who, kind, system, slots, name, seed) for name in variants for seed in range(self._replications)
        ]
        for outcome in outcomes:
            if outcome["errors"] or outcome["completed"] < outcome["jobs"]:
                raise SystemExit(f"{who} on {variants}: {outcome['errors']}, {outcome['completed']} jobs done")
        waits = sorted(wait for outcome in outcomes for wait in outcome["waits"])
        return {
            "p50": round(self._runner.pct(waits, 50), 1),
            "p95": round(self._runner.pct(waits, 95), 1),
            "node_hours": round(sum(outcome["node_h"] for outcome in outcomes) / len(outcomes), 2),
        }

    def _run(
        self, who: str, kind: str, system: str, slots: int, trace: str, seed: int, *, timeline: bool = False
    ) -> Json:
        text = filled(self._texts[system][who], slots=slots)
        if kind == "hybrid":  # the simulator's orchestrator knows one kind of node
            text = re.sub(r"\$TargetLowPriorityNodes = [^;]*;", "", text)
        spec = {"kind": kind, "text": text, "define": None, "label": who}
        times = self._sim.PROFILES[system]
        config = self._sim.Config(
            slots=slots, max_nodes=PARAMETERS["maxNodes"], alloc=times["alloc"], boot=times["boot"]
        )
        outcome: Json = self._runner.one((trace, spec, config, seed, timeline))
        return outcome

    def day(self) -> Json:
        """Return nodes and waiting jobs every few minutes of one day on Linux."""
        found: Json = {"trace": DAY, "hours": list(DAY_HOURS), "step_s": DAY_STEP}
        for who in ("article", "ours"):
            events = self._run(who, "formula", "linux", SLOTS, DAY, 0, timeline=True)["timeline"]
            starts = range(DAY_HOURS[0] * 3600, DAY_HOURS[1] * 3600, DAY_STEP)
            bins = [[event for event in events if start <= event[0] < start + DAY_STEP] for start in starts]
            nodes, waiting = [0], [0]
            for events_of_bin in bins:
                nodes.append(max((event[1] + event[2] for event in events_of_bin), default=nodes[-1]))
                waiting.append(max((event[4] for event in events_of_bin), default=waiting[-1]))
            found[who] = {"nodes": nodes[1:], "waiting": waiting[1:]}
        return found


def draw(day: Json, file: Path) -> None:
    """Draw a day under both formulas, one above the other."""
    import matplotlib as mpl  # type: ignore[import-not-found]  # noqa: PLC0415
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autoscale"  # the same figures give the same file
    figure, rows = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(9, 5))
    for row, (who, title) in zip(rows, (("article", "The article's formula"), ("ours", "Ours")), strict=True):
        hours = [day["hours"][0] + number * day["step_s"] / 3600 for number in range(len(day[who]["nodes"]))]
        row.fill_between(hours, day[who]["nodes"], step="post", alpha=0.4, label="nodes")
        row.step(hours, day[who]["waiting"], where="post", linewidth=1, color="tab:red", label="jobs that wait")
        row.set_title(title, loc="left", fontsize=10)
        row.set_xlim(*day["hours"])
    rows[0].legend(loc="upper right", fontsize=8)
    rows[1].set_xlabel("hour of the day")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulator", type=Path, default=SIMULATOR, help="the simulator's folder")
    parser.add_argument("--formula", type=Path, help="measure this one (it may hold placeholders)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--write", action="store_true", help="keep the figures and redo the docs")
    parser.add_argument("--redo", action="store_true", help="only redo the docs from the figures that are kept")
    options = parser.parse_args(arguments)
    if options.redo:
        measured = json.loads(DATA.read_text(encoding="utf-8"))
    else:
        if not (options.simulator / "autoscale").is_dir():
            parser.error(f"no simulator in {options.simulator}")
        files = {system: options.formula or HERE / f"{system}.txt" for system in SYSTEMS}
        formulas = {system: file.read_text(encoding="ascii") for system, file in files.items()}
        measurement = Measurement(options.simulator, formulas, options.replications)
        measured = {
            "date": datetime.now(UTC).date().isoformat(),
            "seeds": options.seeds,
            "replications": options.replications,
            "systems": {system: measurement.traces(system, SLOTS, options.seeds) for system in SYSTEMS},
            "others": [
                {
                    "system": system,
                    "slots": slots,
                    "boost": boost,
                    "traces": measurement.traces(system, slots, options.seeds[:1], boost=boost),
                }
                for system in SYSTEMS
                for slots, boost in OTHERS
            ],
            "day": measurement.day(),
        }
    print(table(measured))
    if options.write or options.redo:
        DATA.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8"), measured), encoding="utf-8")
        draw(measured["day"], PICTURE)


if __name__ == "__main__":
    main()
