"""Writes a copy of the template with plain names, for checkov: `python arm/plain_names.py FILE`.

Checkov 3.3 keeps quiet about the faults of a resource whose name is an expression made of expressions; with plain names
it speaks. The copy is good for nothing else.
"""

import json
import sys
from pathlib import Path
from typing import Any


def plain(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template with its resources named `resource0`, `resource1` and so on."""
    resources = [resource | {"name": f"resource{number}"} for number, resource in enumerate(template["resources"])]
    return template | {"resources": resources}


if __name__ == "__main__":
    source = Path(__file__).with_name("azuredeploy.json").read_text(encoding="utf-8")
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(plain(json.loads(source)), indent=2) + "\n", encoding="utf-8")
