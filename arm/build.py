"""Writes formulas and start tasks into `azuredeploy.json`: `python arm/build.py`; with `--check` it only compares.

The template stays deployable as it is committed. A formula's placeholders become the defaults of the template's
parameters, so that the formula in it is one to read and to measure; the pools put their parameters' values there.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEMPLATE = HERE / "azuredeploy.json"
START_TASKS = {"startTaskLinux": "start-task-linux.sh", "startTaskWindows": "start-task-windows.ps1"}
FORMULAS = {"ubuntu": "linux.txt", "windows": "windows.txt"}
POOLS = {"ubuntu": "batchLinux", "windows": "batchWindows"}

# What a formula's placeholders stand for: a parameter of the template, by pool.
PLACEHOLDERS = {
    "maxNodes": {"ubuntu": "ubuntuMaxNodes", "windows": "windowsMaxNodes"},
    "slots": {"ubuntu": "TaskSlotsPerNode", "windows": "windowsTaskSlotsPerNode"},
    "dedicatedNodes": {"ubuntu": "ubuntuDedicatedNodes", "windows": "windowsDedicatedNodes"},
    "spot": {"ubuntu": "ubuntuUseSpot", "windows": "windowsUseSpot"},
    "warmNodes": {"ubuntu": "ubuntuWarmNodes", "windows": "windowsWarmNodes"},
    "warmFromHour": {"ubuntu": "warmFromHour", "windows": "warmFromHour"},
    "warmToHour": {"ubuntu": "warmToHour", "windows": "warmToHour"},
    "utcOffsetHours": {"ubuntu": "utcOffsetHours", "windows": "utcOffsetHours"},
}


def formula(source: str, pool: str, parameters: dict[str, Any]) -> tuple[str, str]:
    """Return a formula with the parameters' defaults, and the template expression that puts their values there.

    Args:
        source: the formula, with lines such as `maxNodes = {{maxNodes}};`.
        pool: `ubuntu` or `windows`.
        parameters: the template's.

    Raises:
        ValueError: A placeholder is unknown, or does not stand in a line of its own.
    """
    expression = f"variables('autoscale').{pool}.autoScale.formula"
    for name in re.findall(r"\{\{(.*?)\}\}", source):
        line = f"{name} = {{{{{name}}}}};"
        if name not in PLACEHOLDERS or source.splitlines().count(line) != 1:
            raise ValueError(f"{{{{{name}}}}} is no placeholder, or not in one line of its own: {line}")
        parameter = PLACEHOLDERS[name][pool]
        default = parameters[parameter]["defaultValue"]
        value = f"string(parameters('{parameter}'))"
        if isinstance(default, bool):
            default, value = int(default), f"if(parameters('{parameter}'), '1', '0')"
        source = source.replace(line, f"{name} = {default};")
        expression = f"replace({expression}, '{name} = {default};', concat('{name} = ', {value}, ';'))"
    return source, f"[{expression}]"


def built(template: str) -> str:
    """Return the template's text with everything embedded as its source has it."""
    content = json.loads(template)
    variables = content["variables"]
    pools = {resource["name"]: resource for resource in content["resources"] if resource["type"].endswith("/pools")}
    for variable, file in START_TASKS.items():
        variables[variable] = (HERE / file).read_text(encoding="utf-8")
    for pool, file in FORMULAS.items():
        source = (HERE / "autoscale" / file).read_text(encoding="utf-8")
        text, expression = formula(source, pool, content["parameters"])
        variables["autoscale"][pool]["autoScale"]["formula"] = text
        settings = pools[f"[concat(variables('batchName'), '/{POOLS[pool]}')]"]["properties"]["scaleSettings"]
        settings["autoScale"]["formula"] = expression
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Build, or check; return the exit code."""
    parser = argparse.ArgumentParser(description="write formulas and start tasks into azuredeploy.json")
    parser.add_argument("--check", action="store_true", help="fail when azuredeploy.json differs from its sources")
    options = parser.parse_args()
    old = TEMPLATE.read_text(encoding="utf-8")
    new = built(old)
    if options.check and new != old:
        print("arm/azuredeploy.json differs from its sources: run python arm/build.py", file=sys.stderr)
        return 1
    if not options.check:
        TEMPLATE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
