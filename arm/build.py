"""Writes formulas, start tasks, queries and workbook into `azuredeploy.json`; with `--check` it only compares.

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
QUERIES = HERE / "queries"
# The queries of alerts begin so; the others are the workbook's.
ALERT = "alert-"
WORKBOOK = HERE / "workbook.json"

# What a formula's placeholders have as their defaults: those of a parameter of the template, by pool.
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

# Where the template of a pool has the values. The others are the pool's own.
VALUES = {
    "slots": "variables('slots')",
    "warmFromHour": "parameters('formulaHours').warmFromHour",
    "warmToHour": "parameters('formulaHours').warmToHour",
    "utcOffsetHours": "parameters('formulaHours').utcOffsetHours",
}


def formula(source: str, pool: str, parameters: dict[str, Any]) -> tuple[str, str]:
    """Return a formula with the parameters' defaults, and the expression that puts a pool's values there.

    Args:
        source: the formula, with lines such as `maxNodes = {{maxNodes}};`.
        pool: `ubuntu` or `windows`.
        parameters: the template's.

    Raises:
        ValueError: A placeholder is unknown, or does not stand in a line of its own.
    """
    expression = "parameters('formula')"
    for name in re.findall(r"\{\{(.*?)\}\}", source):
        line = f"{name} = {{{{{name}}}}};"
        if name not in PLACEHOLDERS or source.splitlines().count(line) != 1:
            raise ValueError(f"{{{{{name}}}}} is no placeholder, or not in one line of its own: {line}")
        default = parameters[PLACEHOLDERS[name][pool]]["defaultValue"]
        value = VALUES.get(name, f"parameters('pool').{name}")
        number = f"if({value}, '1', '0')" if isinstance(default, bool) else f"string({value})"
        source = source.replace(line, f"{name} = {int(default)};")
        expression = f"replace({expression}, '{name} = {int(default)};', concat('{name} = ', {number}, ';'))"
    return source, expression


def pool_resource(template: dict[str, Any]) -> dict[str, Any]:
    """Return the pool within the template's nested deployment of pools."""
    deployments = [each for each in template["resources"] if each["type"] == "Microsoft.Resources/deployments"]
    inner = [resource for each in deployments for resource in each["properties"]["template"]["resources"]]
    (found,) = (resource for resource in inner if resource["type"].endswith("/pools"))
    pool: dict[str, Any] = found
    return pool


def query(name: str) -> str:
    """Return a query's text without its comments."""
    lines = (QUERIES / f"{name}.kql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//"))


def workbook() -> dict[str, Any]:
    """Return the workbook with its queries, each of which is one step that shows its result for the chosen time."""
    content: dict[str, Any] = json.loads(WORKBOOK.read_text(encoding="utf-8"))
    step = {
        "version": "KqlItem/1.0",
        "size": 0,
        "timeContextFromParameter": "TimeRange",
        "queryType": 0,
        "resourceType": "microsoft.insights/components",
    }
    for item in content["items"]:
        if "query" in item["content"]:
            item["content"] = {**step, **item["content"], "query": query(item["content"]["query"])}
    return content


def built(template: str) -> str:
    """Return the template's text with everything embedded as its source has it."""
    content = json.loads(template)
    variables = content["variables"]
    for variable, file in START_TASKS.items():
        variables[variable] = (HERE / file).read_text(encoding="utf-8")
    alerts = sorted(path.stem for path in QUERIES.glob(f"{ALERT}*.kql"))
    variables["alertQueries"] = {name.removeprefix(ALERT): query(name) for name in alerts}
    variables["workbook"] = workbook()
    expressions = {}
    for pool, file in FORMULAS.items():
        source = (HERE / "autoscale" / file).read_text(encoding="utf-8")
        text, expressions[pool] = formula(source, pool, content["parameters"])
        variables["autoscale"][pool]["autoScale"]["formula"] = text
    chosen = f"[if(equals(parameters('pool').os, 'windows'), {expressions['windows']}, {expressions['ubuntu']})]"
    pool_resource(content)["properties"]["scaleSettings"]["autoScale"]["formula"] = chosen
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Build, or check; return the exit code."""
    parser = argparse.ArgumentParser(description="write what azuredeploy.json embeds into it")
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
