"""Writes what the template deploys by default, with plain names, for checkov: `python -m arm.plain_names FILE`.

Checkov 3.3 does not evaluate expressions, and keeps quiet about the faults of a resource whose name is one. The copy is
good for nothing else.
"""

import json
import sys
from pathlib import Path

from arm.expressions import Json, resources
from arm.policy import HERE, POLICY


def without_nothing(value: Json) -> Json:
    """Return a value without the properties that are null, which Azure takes for properties that are not there."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def plain(template: dict[str, Json]) -> dict[str, Json]:
    """Return a template of what this one deploys, its resources named `resource0`, `resource1` and so on."""
    deployed = [each for each in resources(template, POLICY["base"]) if not each["type"].endswith("/deployments")]
    named = [without_nothing(each) | {"name": f"resource{number}"} for number, each in enumerate(deployed)]
    return {key: template[key] for key in ("$schema", "contentVersion")} | {"resources": named}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    source = json.loads((HERE / "azuredeploy.json").read_text(encoding="utf-8"))
    target.write_text(json.dumps(plain(source), indent=2) + "\n", encoding="utf-8")
