"""The portal's form: what it gives the template."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arm.expressions import resources
from arm.policy import controls, filled, typed

ARM = Path(__file__).parents[3] / "arm"
TEMPLATE: dict[str, Any] = json.loads((ARM / "azuredeploy.json").read_text(encoding="utf-8"))
PARAMETERS = TEMPLATE["parameters"]
FORM: dict[str, Any] = json.loads((ARM / "createUiDefinition.json").read_text(encoding="utf-8"))
OUTPUTS = FORM["parameters"]["outputs"]
CONFIG = FORM["parameters"]["config"]["basics"]
CONTROLS = dict(controls(FORM))
KINDS = {
    "string": str,
    "securestring": str,
    "int": int,
    "bool": bool,
    "array": list,
    "object": dict,
    "secureobject": dict,
}


def without_owner(text: str) -> str:
    """Return it with the placeholder again, also in a copy whose owner stands there."""
    return re.sub(r"(github\.com/)[^/\[\]]+(/azure-batch-actions-runners)", r"\1OWNER\2", text)


def outputs(**entered: Any) -> dict[str, Any]:
    """Return what the form gives the template when somebody fills in what it demands, and this.

    Args:
        entered: by the control's path, with `__` for its dots.
    """
    given, _ = filled(FORM, typed(FORM) | {path.replace("__", "."): value for path, value in entered.items()})
    return given


def kinds(value: Any) -> Iterator[str]:
    """Return the types of all resources within a template."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str) and "apiVersion" in value:
            yield value["type"]
        for part in value.values():
            yield from kinds(part)
    elif isinstance(value, list):
        for part in value:
            yield from kinds(part)


class TestBefore:
    """What the form checks before anything is deployed."""

    def test_resource_providers(self) -> None:
        """Every provider of the template is asked for, and the one that only a subnet's delegation names."""
        named = {kind.partition("/")[0] for kind in kinds(TEMPLATE["resources"])} - {"Microsoft.Resources"}
        delegated = set(re.findall(r'"serviceName": "(Microsoft\.\w+)/', json.dumps(TEMPLATE)))
        assert delegated == {"Microsoft.App"}
        assert set(CONFIG["subscription"]["resourceProviders"]) == named | delegated

    def test_rights(self) -> None:
        """Whoever may not assign roles is told before the deployment fails at them."""
        permissions = {check["permission"] for check in CONFIG["subscription"]["constraints"]["validations"]}
        assert "Microsoft.Authorization/roleAssignments/write" in permissions

    def test_owner_is_no_owner(self) -> None:
        """The package's address is refused as long as it names the placeholder."""
        package = CONTROLS["github.packageUri"]
        pattern, default = package["constraints"]["regex"], without_owner(package["defaultValue"])
        assert not re.fullmatch(pattern, default)
        assert re.fullmatch(pattern, default.replace("OWNER", "acme"))

    def test_owner_can_be_replaced(self) -> None:
        """The page's command, which puts an owner in the place of every OWNER, leaves a form that takes his package."""
        page = (ARM.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
        (pattern, new) = re.findall(r"^sed -i 's#(\S+)#(\S+)#g' .* arm/createUiDefinition.json$", page, re.MULTILINE)[0]
        python = re.sub(r"\\([(|)])", r"\1", pattern)
        replaced = json.loads(re.sub(python, new.replace("YOUR-ORGANIZATION", "acme"), without_owner(json.dumps(FORM))))
        package = dict(controls(replaced))["github.packageUri"]
        assert "/acme/" in package["defaultValue"]
        assert re.fullmatch(package["constraints"]["regex"], package["defaultValue"])

    @pytest.mark.parametrize(
        "path", [path for path, control in CONTROLS.items() if "regex" in control.get("constraints", ())]
    )
    def test_defaults_are_accepted(self, path: str) -> None:
        """No default is refused by its own control, but for the placeholder's."""
        control = CONTROLS[path]
        default = control.get("defaultValue")
        if default and path != "github.packageUri":
            assert re.search(control["constraints"]["regex"], default)

    def test_no_default_is_an_expression(self) -> None:
        """The portal would evaluate a default in brackets."""
        assert not [path for path, control in CONTROLS.items() if str(control.get("defaultValue", "")).startswith("[")]


class TestOutputs:
    """What comes out of it."""

    @pytest.mark.parametrize(
        ("section", "parameter", "created"),
        [("ubuntu", "UbuntuPool", "batchLinux"), ("windows", "WindowsPool", "batchWindows")],
    )
    def test_a_pool_that_is_left_alone_is_still_served(self, section: str, parameter: str, created: str) -> None:
        """With its creation off, a pool's id goes from the form to the function; without an id there is no pool."""
        off, pool = {f"pools__{section}__create": False}, f"pools__{section}__existingPool"
        assert outputs(**off, **{pool: "mine"})[parameter] == "mine"
        assert outputs(**off, **{pool: ""})[parameter] == ""
        assert outputs(**{pool: "hidden"})[parameter] == created
        assert PARAMETERS[parameter]["defaultValue"].endswith(f", '{created}', '')]")

    def test_who_changes_nothing_gets_the_templates_defaults(self) -> None:
        """Every output has its parameter's type, and its default, or what the template's expression makes."""
        own = {"appName", "environment", "location", "UbuntuPool", "WindowsPool", "privateDns", "githubWebhookSecret",
               "githubAppId", "githubAppPrivateKey"}  # fmt: skip
        everything_hidden = {
            "pools__ubuntu__create": False,
            "pools__windows__create": False,
            "network__dns": "existing",
        }
        given = outputs()
        for name, value in given.items():
            assert type(value) is KINDS[PARAMETERS[name]["type"].lower()], name
            if name not in own:
                assert value == PARAMETERS[name]["defaultValue"], name
        for name, value in outputs(**everything_hidden).items():
            assert type(value) is KINDS[PARAMETERS[name]["type"].lower()], name

    def test_an_upgrade_leaves_pools_and_network_alone(self) -> None:
        """The first question decides it: a first deployment makes both, an upgrade touches neither unless told to."""
        assert FORM["parameters"]["basics"][0]["name"] == "occasion"
        modes = ("poolsMode", "networkMode")
        assert [outputs()[mode] for mode in modes] == ["create", "create"]
        upgrade: dict[str, Any] = {"basics__occasion": "upgrade"}
        assert [outputs(**upgrade)[mode] for mode in modes] == ["keep", "keep"]
        told = upgrade | {"pools__mode": "update", "network__keep": False}
        assert [outputs(**told)[mode] for mode in modes] == ["update", "create"]
        assert outputs(pools__mode="keep")["poolsMode"] == "create"

    def test_an_upgrade_keeps_the_key_of_claims(self) -> None:
        """A first deployment makes the key; an upgrade keeps it, unless it is the first with claims."""
        claims: dict[str, Any] = {"github__registration": "claim"}
        assert outputs(**claims)["claimKeyMode"] == "create"
        claims["basics__occasion"] = "upgrade"
        assert outputs(**claims)["claimKeyMode"] == "keep"
        assert outputs(**claims, github__newClaimKey=True)["claimKeyMode"] == "create"

    def test_where_claims_come_from_is_asked_where_it_is_not_known(self) -> None:
        """The form asks for it exactly where the template would refuse to go on without."""
        ranges = {"network__claimRanges": "192.0.2.0/24,198.51.100.7/32", "github__registration": "claim"}
        asked = ["192.0.2.0/24", "198.51.100.7/32"]
        table: dict[str, Any] = {"network__routeTable": "/subscriptions/s/routeTables/t"}
        assert outputs(**ranges)["claimIpRanges"] == []
        assert outputs(**ranges, network__vnet="existing")["claimIpRanges"] == asked
        assert outputs(**ranges, network__vnet="existing", network__endpoint=True)["claimIpRanges"] == []
        assert outputs(**ranges, **table)["claimIpRanges"] == asked
        assert outputs(**ranges, **table, network__endpoint=True)["claimIpRanges"] == []
        assert outputs(**ranges, **table, network__public=False)["claimIpRanges"] == []

    def test_every_parameter_can_be_given(self) -> None:
        """Nothing of the template is out of reach for who uses the button, but what each deployment makes itself."""
        assert set(PARAMETERS) - set(OUTPUTS) == {"deployedAt", "claimKey"}
        assert set(OUTPUTS) <= set(PARAMETERS)

    def test_choices_are_the_templates(self) -> None:
        """What a list offers is what its parameter allows."""
        paths = {"poolsMode": "pools.mode", "osDiskType": "pools.nodes.diskType", "privateDns": "network.dns",
                 "runnerRegistration": "github.registration"}  # fmt: skip
        for name, path in paths.items():
            offered = [choice["value"] for choice in CONTROLS[path]["constraints"]["allowedValues"]]
            assert sorted(offered) == sorted(PARAMETERS[name]["allowedValues"])

    def test_secrets_are_hidden(self) -> None:
        """Every secure parameter comes from a password box."""
        boxes = {path.rpartition(".")[2] for path, c in CONTROLS.items() if c["type"] == "Microsoft.Common.PasswordBox"}
        for name, parameter in PARAMETERS.items():
            if parameter["type"].lower().startswith("secure") and name in OUTPUTS:
                assert any(f".{box}" in OUTPUTS[name] for box in boxes), name

    def test_subnets_are_those_of_the_chosen_network(self) -> None:
        """The network is chosen from a list, and the three names make the three ids."""
        given = outputs(network__vnet="existing")
        network = given["batchSubnetId"].partition("/subnets/")[0]
        assert network.endswith("/Microsoft.Network/virtualNetworks/network")
        assert [given[f"{name}SubnetId"] for name in ("batch", "function", "endpoint")] == [
            f"{network}/subnets/{name}Subnet" for name in ("batch", "function", "endpoint")
        ]

    def test_lists_and_objects(self) -> None:
        """What is typed as text becomes the lists and objects that the template takes."""
        given = outputs(
            basics__tags='{"owner": "team"}', github__operatorRanges="192.0.2.0/24,198.51.100.0/24",
            github__appSettings='{"RunnerScope": "repository"}', network__dnsServers="10.0.0.4,10.0.0.5",
            pools__nodes__more='[{"name": "gpu"}]', governance__secretDays="90",
        )  # fmt: skip
        assert given["tags"] == {"owner": "team"}
        assert given["operatorIpRanges"] == ["192.0.2.0/24", "198.51.100.0/24"]
        assert given["appSettings"] == {"RunnerScope": "repository"}
        assert given["dnsServers"] == ["10.0.0.4", "10.0.0.5"]
        assert given["morePools"] == [{"name": "gpu"}]
        assert given["secretsValidDays"] == 90

    def test_the_template_takes_them(self) -> None:
        """What the form gives by default can be deployed."""
        assert list(resources(TEMPLATE, outputs()))
