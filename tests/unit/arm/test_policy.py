"""The check that holds the template and its form against rules; it fails where it must."""

import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arm.policy import HERE, POLICY, body_findings, findings, form_findings, pairwise, parameter_sets, secure_findings

TEMPLATE: dict[str, Any] = json.loads((HERE / "azuredeploy.json").read_text(encoding="utf-8"))
FORM: dict[str, Any] = json.loads((HERE / "createUiDefinition.json").read_text(encoding="utf-8"))


def template(*resources: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """Return a template of these resources and parameters."""
    return {"parameters": parameters, "variables": {}, "resources": list(resources)}


def resource(kind: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a resource."""
    return {
        "type": f"Microsoft.{kind}",
        "apiVersion": "1",
        "name": "a",
        "tags": {"owner": "o"},
        "properties": properties,
    } | more


def names(found: Any) -> set[str]:
    """Return the names of the rules that were broken."""
    return {text.partition(":")[0] for text in found}


def test_the_template_and_its_form_keep_every_rule() -> None:
    """No rule is broken, whatever parameters and whatever is chosen in the form."""
    assert findings(TEMPLATE, FORM) == []


# Small templates, each with one fault that Azure or a policy of a company would refuse.
BAD = [
    ("flex-site-config", resource("Web/sites", {"siteConfig": {"ftpsState": "Disabled"}})),
    ("flex-app-config", resource("Web/sites", {"functionAppConfig": {"siteUpdateStrategy": {}}})),
    ("flex-config", resource("Web/sites/config", {"ftpsState": "Disabled"}, name="a/web")),
    ("flex-settings", resource("Web/sites/config", {"FUNCTIONS_WORKER_RUNTIME": "python"}, name="a/appsettings")),
    ("function-callers", resource("Web/sites", {"siteConfig": {"ipSecurityRestrictions": [{"ipAddress": "::/0"}]}})),
    ("deployment-site-denies-by-default", resource("Web/sites", {"siteConfig": {}})),
    ("subnets-apart", resource("Network/virtualNetworks", {"subnets": []})),
    ("inline-subnet-has-nsg", resource("Network/virtualNetworks", {"subnets": [{"properties": {}}]})),
    ("subnet-has-nsg", resource("Network/virtualNetworks/subnets", {"defaultOutboundAccess": False})),
    ("subnet-is-private", resource("Network/virtualNetworks/subnets", {"networkSecurityGroup": {"id": "a"}})),
    ("vault-purge-protection", resource("KeyVault/vaults", {"enableSoftDelete": True})),
    ("vault-rbac", resource("KeyVault/vaults", {"enableRbacAuthorization": False})),
    ("secret-content-type", resource("KeyVault/vaults/secrets", {"value": "a"})),
    ("no-public-access", resource("Storage/storageAccounts", {"publicNetworkAccess": "Enabled"})),
    ("no-public-access", resource("storage/STORAGEACCOUNTS", {"publicNetworkAccess": "Enabled"})),
    ("no-public-access", resource("KeyVault/vaults", {"publicNetworkAccess": "[reference('a').access]"})),
    ("batch-is-private", resource("Batch/batchAccounts", {"publicNetworkAccess": "Enabled"})),
    ("batch-entra-only", resource("Batch/batchAccounts", {})),
    ("storage-entra-only", resource("Storage/storageAccounts", {"allowSharedKeyAccess": True})),
    ("registry-entra-only", resource("ContainerRegistry/registries", {"adminUserEnabled": True})),
    ("registry-premium", resource("ContainerRegistry/registries", {}, sku={"name": "Standard"})),
    ("nobody-calls-in", resource("Network/networkSecurityGroups", {"securityRules": [
        {"properties": {"direction": "Inbound", "access": "Allow", "sourceAddressPrefix": "Internet"}}]})),
    ("tags", resource("Storage/storageAccounts", {}, tags={})),
    ("untagged", resource("EventHub/namespaces", {})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "bad"), BAD, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(BAD)])
def test_a_rule_that_is_broken(rule: str, bad: dict[str, Any]) -> None:
    """Each fault is found by the rule that is there for it."""
    assert rule in names(body_findings(template(bad), {}))


def properties_of(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the properties of the template's first resource of a type, within nested deployments too."""
    nested = [each["properties"]["template"] for each in template["resources"] if each["type"].endswith("/deployments")]
    found = itertools.chain(*(each["resources"] for each in (template, *nested)))
    properties: dict[str, Any] = next(each["properties"] for each in found if each["type"] == f"Microsoft.{kind}")
    return properties


# One fault each, in the project's own template: within an expression, a nested deployment, or behind a parameter.
SPOILED = [
    ("pool-has-no-address", "Batch/batchAccounts/pools", "networkConfiguration", "[createObject()]"),
    ("batch-is-private", "Batch/batchAccounts", "publicNetworkAccess",
     "[if(parameters('allowPoolBoost'), 'Enabled', 'Disabled')]"),
    ("vault-purge-protection", "KeyVault/vaults", "enablePurgeProtection",
     "[if(parameters('zoneRedundant'), true(), null())]"),
    ("subnet-is-private", "Network/virtualNetworks/subnets", "defaultOutboundAccess",
     "[equals(variables('subnets')[copyIndex()].name, 'function')]"),
    ("function-is-private", "Web/sites", "publicNetworkAccess", "Enabled"),
    ("site-https", "Web/sites", "httpsOnly", "[empty(parameters('morePools'))]"),
    ("secure", "Web/sites/basicPublishingCredentialsPolicies", "allow", "[parameters('githubToken')]"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "kind", "name", "value"), SPOILED, ids=[rule for rule, *_ in SPOILED])
def test_the_template_spoiled(rule: str, kind: str, name: str, value: str) -> None:
    """A fault that only some parameters bring about is found, and only it."""
    bad = copy.deepcopy(TEMPLATE)
    properties_of(bad, kind)[name] = value
    assert names(findings(bad)) == {rule}


def test_a_rule_holds_where_it_says() -> None:
    """A rule with a condition holds with those parameters alone, and one that may be waived can be."""
    secret = template(resource("KeyVault/vaults/secrets", {"contentType": "text/plain"}))
    assert names(body_findings(secret, {})) == set()
    assert names(body_findings(secret, {"secretsValidDays": 90})) == {"secret-expiry"}
    vault = template(resource("KeyVault/vaults", {"enableSoftDelete": True}))
    waived = {"keyVaultPurgeProtection": False}
    assert "vault-purge-protection" not in names(body_findings(vault, waived))


def test_every_rule_says_where_it_comes_from() -> None:
    """Each rule has a name of its own, a reason and a source, and looks at something that the template deploys."""
    rules = POLICY["rules"]
    assert len({rule["name"] for rule in rules}) == len(rules)
    deployed = json.dumps(TEMPLATE)
    for rule in rules:
        assert rule["why"].endswith(".")
        assert rule["source"]
        assert sum(key in rule for key in ("only", "without", "absent", "present", "is", "matches")) == 1
        assert any(f'"{kind}"' in deployed for kind in rule["types"]), rule["name"]


class TestSecure:
    """Parameters that may hold secrets."""

    def test_a_plain_object_that_becomes_settings(self) -> None:
        """It is found though it gets there by way of a variable."""
        bad = template(resource("Web/sites/config", {"a": "[variables('all')]"}), mine={"type": "object"})
        bad["variables"] = {"all": "[union(parameters('mine'), createObject())]"}
        assert "plain object mine" in next(secure_findings(bad))
        bad["parameters"]["mine"]["type"] = "secureObject"
        assert list(secure_findings(bad)) == []

    @pytest.mark.parametrize("name", ["githubToken", "webhookSecretPrevious", "PrivateKey", "claimKey"])
    def test_a_plain_secret(self, name: str) -> None:
        """A parameter that is called a secret is a secure one."""
        assert name in next(secure_findings(template(**{name: {"type": "string"}})))

    def test_a_secret_that_becomes_readable(self) -> None:
        """A secure parameter that is handed to a plain one of a nested deployment, or told by an output, is found."""
        inner = {"parameters": {"a": {"type": "string"}}, "resources": []}
        own = {"expressionEvaluationOptions": {"scope": "Inner"}}
        nested = {"parameters": {"a": {"value": "[parameters('x')]"}}, "template": inner} | own
        bad = template(resource("Resources/deployments", nested), x={"type": "securestring"})
        bad["outputs"] = {"o": {"value": "[parameters('x')]"}}
        assert len(list(secure_findings(bad))) == 2
        del nested["expressionEvaluationOptions"]
        assert len(list(secure_findings(bad))) == 3

    def test_a_key_that_is_read(self) -> None:
        """No expression asks Azure for a key."""
        bad = template(resource("Web/sites", {"a": "[listKeys('b', '1').c]"}))
        assert "listKeys" in next(secure_findings(bad))


class TestForm:
    """Controls that are off the screen."""

    def test_a_control_that_decides_unseen(self) -> None:
        """The Windows image, asked only for a pool that is made, decided how the tasks of one that was there start."""
        bad = copy.deepcopy(TEMPLATE)
        (config,) = (each for each in bad["resources"] if each["type"] == "Microsoft.Web/sites/config")
        config["properties"] = {"WindowsLaunch": "[if(empty(parameters('windowsImageId')), 'docker', 'batch')]"}
        found = list(form_findings(FORM, bad))
        assert found
        assert all("pools.windows.imageId is hidden" in text for text in found)

    def test_a_choice_that_the_template_refuses(self) -> None:
        """What can be chosen can be deployed."""
        bad = copy.deepcopy(TEMPLATE)
        bad["variables"]["newZones"] = "[variables('refused')[parameters('privateDns')]]"
        assert any("the template refuses" in text for text in form_findings(FORM, bad))


class TestSets:
    """The sets of parameters."""

    def test_every_two_choices_meet(self) -> None:
        """Every two values of two factors stand in some set together, in far fewer sets than all combinations."""
        factors = {"a": [1, 2, 3], "b": [1, 2], "c": [1, 2, 3], "d": [1, 2]}
        sets = list(pairwise(factors))
        for one, other in itertools.combinations(factors, 2):
            pairs = {(chosen[one], chosen[other]) for chosen in sets}
            assert pairs == set(itertools.product(factors[one], factors[other]))
        assert len(sets) < 18

    def test_all_parameters_of_the_sets_exist(self) -> None:
        """A set that names no parameter of the template would be looked at in vain."""
        named = {name for choices in POLICY["sets"].values() for choice in choices for name in choice} | set(
            POLICY["base"]
        )
        assert named <= set(TEMPLATE["parameters"])
        assert {name for given in parameter_sets(TEMPLATE) for name in given} == named


def test_the_command(tmp_path: Path) -> None:
    """It takes a template on standard input, says what is broken, and fails."""
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(template(BAD[0][1])), encoding="utf-8")
    command = [sys.executable, "-m", "arm.policy", "-"]
    with bad.open(encoding="utf-8") as source:
        ran = subprocess.run(  # noqa: S603
            command, stdin=source, cwd=HERE.parent, check=False, capture_output=True, text=True, timeout=60
        )
    assert ran.returncode == 1
    assert "flex-site-config: Microsoft.Web/sites: properties.siteConfig: ftpsState." in ran.stdout
