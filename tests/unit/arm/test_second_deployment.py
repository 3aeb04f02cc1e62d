"""What a second deployment takes back of what was changed in between, read from the bodies that it sends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from arm.expressions import resources

ROOT = Path(__file__).parents[3]
TEMPLATE: dict[str, Any] = json.loads((ROOT / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| `(Microsoft\.[\w./]+)` \| .+ \|(?: `([\w=]+)`)? \|$", PAGE, re.MULTILINE)

# What Azure replaces as a whole: a property that a body does not hold, or an item that its list does not, is gone.
# Source: the resources' REST pages, "Create or Update"; of subnets and settings also Microsoft Learn's Bicep scenarios.
WHOLE = {
    "Microsoft.Web/sites/config": "properties",
    "Microsoft.Web/sites": "properties.siteConfig.ipSecurityRestrictions",
    "Microsoft.Batch/batchAccounts": "properties.networkProfile",
    "Microsoft.Batch/batchAccounts/pools": "properties.scaleSettings.autoScale.formula",
    "Microsoft.Network/virtualNetworks": "properties.dhcpOptions",
    "Microsoft.Network/virtualNetworks/subnets": "properties.routeTable",
    "Microsoft.Network/networkSecurityGroups": "properties.securityRules",
}
UPGRADE = {"poolsMode": "keep", "networkMode": "keep", "claimKeyMode": "keep"}


def bodies(**given: Any) -> list[dict[str, Any]]:
    """Return what a deployment with these parameters sends."""
    return list(resources(TEMPLATE, {"appName": "runners", "githubWebhookSecret": "s" * 16} | given))


def taken_back(sent: list[dict[str, Any]]) -> set[str]:
    """Return the types of which a body replaces what was there."""
    return {body["type"] for body in sent if body["type"] in WHOLE}


def test_the_page_lists_all_of_it() -> None:
    """The page names each resource that a deployment writes as a whole, and each such body holds what the page says."""
    sent = bodies()
    assert taken_back(sent) == set(WHOLE) == {kind for kind, _ in TABLE}
    for body in sent:
        if body["type"] in WHOLE:
            value = body
            for key in WHOLE[body["type"]].split("."):
                assert key in value, body["type"]
                value = value[key]


def test_the_upgrade_of_the_page() -> None:
    """The documented upgrade takes back settings and rules of the function and the Batch account, and nothing else."""
    given = " ".join(f"{name}={value}" for name, value in UPGRADE.items())
    assert f"--parameters {given}\n" in PAGE
    assert taken_back(bodies(**UPGRADE)) == {
        "Microsoft.Web/sites/config",
        "Microsoft.Web/sites",
        "Microsoft.Batch/batchAccounts",
    }


@pytest.mark.parametrize(("kind", "parameter"), [row for row in TABLE if row[1]])
def test_what_leaves_it_alone(kind: str, parameter: str) -> None:
    """The parameter that the page names for it keeps a resource out of the deployment."""
    name, _, value = parameter.partition("=")
    given = value or "/subscriptions/s/resourceGroups/g/providers/Microsoft.Batch/batchAccounts/b"
    assert kind not in taken_back(bodies(**{name: given}))


def test_subnets_of_others_stay() -> None:
    """No body of the network lists its subnets, so that those which somebody added stay."""
    for body in bodies():
        if body["type"] == "Microsoft.Network/virtualNetworks":
            assert "subnets" not in body["properties"]


def test_an_update_changes_what_batch_takes_at_any_time() -> None:
    """With poolsMode=update everything of a pool's body is what Batch has, but for formula and start task."""
    pools = [body for body in bodies(poolsMode="update") if body["type"].endswith("/pools")]
    assert all(pool["tags"].endswith(", Full).tags") for pool in pools)
    own = {"taskSchedulingPolicy", "interNodeCommunication", "scaleSettings", "startTask"}
    for pool in pools:
        assert {name for name, value in pool["properties"].items() if not str(value).startswith("reference(")} == own
