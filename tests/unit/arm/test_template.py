"""What the template promises: a private platform, without keys, with the least roles."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.settings import Settings

ARM = Path(__file__).parents[3] / "arm"
CONTRACT = ARM.parent / "runner-images" / "entrypoint" / "contract.py"
TEMPLATE: dict[str, Any] = json.loads((ARM / "azuredeploy.json").read_text(encoding="utf-8"))
PARAMETERS, VARIABLES = TEMPLATE["parameters"], TEMPLATE["variables"]
PARAMETERS_FILE = json.loads((ARM / "azuredeploy.parameters.json").read_text(encoding="utf-8"))["parameters"]
UI = json.loads((ARM / "createUiDefinition.json").read_text(encoding="utf-8"))["parameters"]
SECRETS = {"githubWebhookSecret", "githubToken", "githubAppPrivateKey"}
KNOWN_SETTINGS = {field.alias for field in Settings.model_fields.values()}
HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}


def of_type(kind: str) -> list[dict[str, Any]]:
    """Return the resources of a type."""
    return [resource for resource in TEMPLATE["resources"] if resource["type"] == f"Microsoft.{kind}"]


def only(kind: str) -> dict[str, Any]:
    """Return the properties of the one resource of a type."""
    (resource,) = of_type(kind)
    properties: dict[str, Any] = resource["properties"]
    return properties


def strings(value: Any) -> Iterator[str]:
    """Return every string within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from strings(key)
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def app_settings() -> dict[str, str]:
    """Return the app settings that the template may set, with their values or expressions."""
    (config,) = of_type("Web/sites/config")
    fixed = {
        name: value
        for variable in re.findall(r"variables\('(\w+Settings)'\)", config["properties"])
        for name, value in VARIABLES[variable].items()
    }
    created = re.search(r"union\(variables\('requiredSettings'\), createObject\((.*?)\), if\(", config["properties"])
    assert created is not None
    names = re.findall(r"'([A-Za-z_]+)', (?:concat|reference|variables)\(", created[1])
    return fixed | dict.fromkeys(names, "[runtime]")


class TestPrivate:
    """Only the function can be called, by GitHub alone."""

    @pytest.mark.parametrize(
        "kind", ["Storage/storageAccounts", "ContainerRegistry/registries", "KeyVault/vaults", "Batch/batchAccounts"]
    )
    def test_no_public_access(self, kind: str) -> None:
        """Storage, registry, vault and Batch account answer nobody in public."""
        assert only(kind)["publicNetworkAccess"] == "Disabled"

    def test_private_endpoints(self) -> None:
        """Each of them, and the nodes' management, has a private endpoint with its DNS zone."""
        assert {endpoint["groupId"] for endpoint in VARIABLES["endpoints"]} == {
            "batchAccount", "nodeManagement", "registry", "vault", "blob", "queue", "table",
        }  # fmt: skip
        for kind in ("privateEndpoints", "privateEndpoints/privateDnsZoneGroups"):
            (resource,) = of_type(f"Network/{kind}")
            assert resource["copy"]["count"] == "[length(variables('endpoints'))]"
        zones = {endpoint["zone"] for endpoint in VARIABLES["endpoints"]}
        assert zones == set(VARIABLES["zoneNames"]) == {f"[variables('zones').{name}]" for name in VARIABLES["zones"]}

    def test_the_function_lets_in_the_given_ranges_only(self) -> None:
        """The function denies whoever is not in the parameter, and its deployment site everybody."""
        config = only("Web/sites")["siteConfig"]
        assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
        (rules,) = config["copy"]
        assert rules["count"] == "[length(parameters('githubHookIpRanges'))]"
        assert rules["input"]["action"] == "Allow"
        assert config["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
        assert config["scmIpSecurityRestrictions"] == []
        assert config["scmIpSecurityRestrictionsUseMain"] is False
        assert "0.0.0.0/0" not in PARAMETERS["githubHookIpRanges"]["defaultValue"]

    def test_no_passwords_at_the_function(self) -> None:
        """Nobody publishes code with a user name and a password."""
        policies = of_type("Web/sites/basicPublishingCredentialsPolicies")
        assert [policy["properties"]["allow"] for policy in policies] == [False, False]

    def test_pools_have_no_public_addresses(self) -> None:
        """Nodes call out through the NAT gateway, and nobody calls them."""
        for pool in of_type("Batch/batchAccounts/pools"):
            network = pool["properties"]["networkConfiguration"]
            assert network["publicIPAddressConfiguration"] == {"provision": "NoPublicIPAddresses"}
            assert "endpointConfiguration" not in network
            assert network["subnetId"] == "[variables('batchSubnetId')]"
        (rule,) = only("Network/networkSecurityGroups")["securityRules"]
        assert (rule["properties"]["access"], rule["properties"]["direction"]) == ("Deny", "Inbound")
        subnets = {subnet["name"]: subnet["properties"] for subnet in only("Network/virtualNetworks")["subnets"]}
        assert not any(subnet["defaultOutboundAccess"] for subnet in subnets.values())
        assert "natGateway" in subnets["batchpool"]
        assert "natGateway" in subnets["function"]

    def test_the_most_nodes_that_the_new_network_holds(self) -> None:
        """Both pools' descriptions say how many addresses the nodes' subnet has, less the five that Azure keeps."""
        (prefix,) = (
            s["properties"]["addressPrefix"]
            for s in only("Network/virtualNetworks")["subnets"]
            if s["name"] == "batchpool"
        )
        size = re.search(r"cidrSubnet\(parameters\('vnetAddressPrefix'\), (\d+), 0\)", prefix)
        assert size is not None
        nodes = 2 ** (32 - int(size[1])) - 5
        for name in ("ubuntuMaxNodes", "windowsMaxNodes"):
            assert f" holds {nodes} of both pools together." in PARAMETERS[name]["metadata"]["description"]

    def test_an_existing_network_is_left_alone(self) -> None:
        """With subnets of one's own nothing of a network is created."""
        kinds = ("publicIPAddresses", "natGateways", "networkSecurityGroups", "virtualNetworks")
        conditions = [of_type(f"Network/{kind}")[0]["condition"] for kind in kinds]
        assert conditions == ["[variables('newVnet')]"] * 4
        assert VARIABLES["newVnet"] == "[empty(parameters('batchSubnetId'))]"


class TestNoKeys:
    """Identities, and secrets in the vault alone."""

    def test_entra_only(self) -> None:
        """Every service that could take a key takes none."""
        assert only("Batch/batchAccounts")["allowedAuthenticationModes"] == ["AAD"]
        assert only("Storage/storageAccounts")["allowSharedKeyAccess"] is False
        registry = only("ContainerRegistry/registries")
        assert (registry["adminUserEnabled"], registry["anonymousPullEnabled"]) == (False, False)
        assert only("KeyVault/vaults")["enableRbacAuthorization"] is True
        assert only("Insights/components")["DisableLocalAuth"] is True

    def test_no_key_is_read(self) -> None:
        """No expression of the template asks Azure for a key or password."""
        assert [text for text in strings(TEMPLATE) if re.search(r"\blist[A-Z]\w*\(", text)] == []

    def test_secrets_are_secure_parameters(self) -> None:
        """Secrets have no default, except none at all, and nothing else is called one."""
        secure = {name for name, parameter in PARAMETERS.items() if parameter["type"].startswith("secure")}
        assert secure == SECRETS
        assert "defaultValue" not in PARAMETERS["githubWebhookSecret"]
        assert all(PARAMETERS[name].get("defaultValue", "") == "" for name in SECRETS)

    def test_secrets_go_into_the_vault_and_nowhere_else(self) -> None:
        """A secret parameter is the value of a vault's secret; elsewhere it is asked only whether it is empty."""
        stored = {
            resource["properties"].pop("value")
            for resource in json.loads(json.dumps(of_type("KeyVault/vaults/secrets")))
        }
        assert stored == {f"[parameters('{name}')]" for name in SECRETS}
        rest = [r for r in TEMPLATE["resources"] if r["type"] != "Microsoft.KeyVault/vaults/secrets"]
        for text in strings([rest, VARIABLES, TEMPLATE["outputs"]]):
            for name in SECRETS:
                assert f"parameters('{name}')" not in text.replace(f"empty(parameters('{name}'))", "")

    def test_secret_settings_are_vault_references(self) -> None:
        """What the orchestrator holds as a secret is a Key Vault reference, read with the function's identity."""
        settings = app_settings()
        secret = {name for name in settings if re.search("Secret|Token|Key$", name)}
        assert secret == {"GithubWebhookSecret", "GithubToken", "GithubAppPrivateKey"}
        assert all("@Microsoft.KeyVault(" in settings[name] for name in secret)
        assert only("Web/sites")["keyVaultReferenceIdentity"] == "[variables('functionIdentityId')]"

    def test_pools_pull_with_their_identity(self) -> None:
        """The registry's login on a node is the pool's identity."""
        for pool in of_type("Batch/batchAccounts/pools"):
            assert list(pool["identity"]["userAssignedIdentities"]) == ["[variables('poolIdentityId')]"]
            text = json.dumps(pool)
            assert "identityReference" in text
            assert "password" not in text.lower()


def test_least_roles() -> None:
    """Each identity has the roles it needs, on the one resource where it needs them."""
    found = {
        (
            role["scope"].removeprefix("[variables('").removesuffix("Id')]"),
            role["properties"]["principalId"].partition("IdentityId")[0].rpartition("'")[2],
            re.sub(r".*roleDefinitions', (.*)\)\]", r"\1", role["properties"]["roleDefinitionId"]),
        )
        for role in of_type("Authorization/roleAssignments")
    }
    assert found == {
        ("storage", "function", "variables('storageRoles')[copyIndex()]"),
        ("vault", "function", "variables('roles').keyVaultSecretsUser"),
        ("insights", "function", "variables('roles').monitoringMetricsPublisher"),
        ("batch", "function", "variables('batchRole')"),
        ("registry", "pool", "variables('roles').acrPull"),
    }
    assert all(
        role["properties"]["principalType"] == "ServicePrincipal" for role in of_type("Authorization/roleAssignments")
    )
    assert PARAMETERS["allowPoolBoost"]["defaultValue"] is False
    assert VARIABLES["requiredSettings"]["PoolBoost"] == "[if(parameters('allowPoolBoost'), 'resize', 'off')]"
    assert VARIABLES["batchRole"].endswith(
        "variables('roles').batchDataContributor, variables('roles').batchJobSubmitter)]"
    )
    assert VARIABLES["roles"] == {
        "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "batchJobSubmitter": "48e5e92e-a480-4e71-aa9c-2778f4c13781",
        "batchDataContributor": "6aaa78f1-f7de-44ca-8722-c64a23943cae",
        "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
        "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
        "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    }


class TestPools:
    """The pools `batchLinux` and `batchWindows`."""

    def test_each_can_be_left_alone(self) -> None:
        """A pool is created or updated only if its parameter says so, Linux first."""
        pools = of_type("Batch/batchAccounts/pools")
        assert [(pool["condition"], pool["name"]) for pool in pools] == [
            ("[parameters('create_UbuntuBatchPool')]", "[concat(variables('batchName'), '/batchLinux')]"),
            ("[parameters('create_WindowsBatchPool')]", "[concat(variables('batchName'), '/batchWindows')]"),
        ]

    def test_autoscale_from_zero(self) -> None:
        """Pools follow their formulas as often as Batch allows, and fill one node before the next."""
        for pool in of_type("Batch/batchAccounts/pools"):
            properties = pool["properties"]
            assert properties["scaleSettings"]["autoScale"]["evaluationInterval"] == "PT5M"
            assert properties["taskSchedulingPolicy"] == {"nodeFillType": "Pack"}
        assert [PARAMETERS[name]["defaultValue"] for name in ("ubuntuWarmNodes", "windowsWarmNodes")] == [0, 0]

    @pytest.mark.parametrize(
        ("number", "shell", "variable"), [(0, "/bin/bash", "startTaskLinux"), (1, "powershell", "startTaskWindows")]
    )
    def test_the_start_task_comes_before_any_runner(self, number: int, shell: str, variable: str) -> None:
        """No runner starts on a node whose start task has not done its work as administrator."""
        task = of_type("Batch/batchAccounts/pools")[number]["properties"]["startTask"]
        assert shlex.split(task["commandLine"])[0] == shell
        assert task["waitForSuccess"] is True
        assert task["userIdentity"] == {"autoUser": {"scope": "Pool", "elevationLevel": "Admin"}}
        environment = {entry["name"]: entry["value"] for entry in task["environmentSettings"]}
        assert environment["START_TASK"] == f"[base64(variables('{variable}'))]"
        # Windows takes 32,767 characters in a variable; base64 makes four of three.
        assert len(VARIABLES[variable].encode()) * 4 / 3 < 32_000

    def test_windows_tasks_and_pool_agree(self) -> None:
        """On a plain image Docker is installed and called by the task; on a Gallery image Batch starts containers."""
        pool = of_type("Batch/batchAccounts/pools")[1]["properties"]
        configuration = pool["deploymentConfiguration"]["virtualMachineConfiguration"]["containerConfiguration"]
        environment = {entry["name"]: entry["value"] for entry in pool["startTask"]["environmentSettings"]}
        assert configuration.startswith("[if(variables('plainWindows'), null(), ")
        assert environment["INSTALL_DOCKER"] == "[if(variables('plainWindows'), 'true', 'false')]"
        assert app_settings()["WindowsLaunch"] == "[if(variables('plainWindows'), 'docker', 'batch')]"


class TestWindowsStartTask:
    """The order of steps in the Windows pool's start task, which no PowerShell runs here."""

    SCRIPT: str = VARIABLES["startTaskWindows"]

    def test_a_runner_that_just_started_is_no_orphan(self) -> None:
        """The sweeper lists containers before clients, so every client that has started a container is seen."""
        assert -1 < self.SCRIPT.find("docker ps --all") < self.SCRIPT.find("Get-CimInstance Win32_Process")

    def test_a_runner_has_time_to_end_its_job(self) -> None:
        """Docker kills an orphan later than the runner itself gives up its job by default."""
        patience = re.search(r"docker stop --time (\d+)", self.SCRIPT)
        own = re.search(r'"GHR_STOP_TIMEOUT", (\d+)', CONTRACT.read_text(encoding="utf-8"))
        assert patience is not None
        assert own is not None
        assert int(patience[1]) > int(own[1])

    def test_a_blocking_rule_is_never_taken_away_to_be_made_anew(self) -> None:
        """Firewall rules are removed once, after those wanted exist, and only if they are not wanted."""
        guard = self.SCRIPT.partition("function Protect-Node")[2]
        assert guard.count("Remove-NetFirewallRule") == 1
        assert -1 < guard.find("New-NetFirewallRule") < guard.find("Remove-NetFirewallRule")
        assert "if (-not $wanted.ContainsKey($name)) { Remove-NetFirewallRule -Name $name }" in guard
        assert "if ($there -notcontains $name) { New-NetFirewallRule" in guard


class TestFunction:
    """The function and its settings."""

    def test_the_plan(self) -> None:
        """It runs on Flex Consumption with the Python it was tested on, and its code comes from a package."""
        assert of_type("Web/serverfarms")[0]["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
        runtime = only("Web/sites")["functionAppConfig"]["runtime"]
        assert runtime == {"name": "python", "version": (ARM.parent / ".python-version").read_text().strip()}
        (deploy,) = of_type("Web/sites/extensions")
        assert deploy["name"] == "[concat(variables('functionName'), '/onedeploy')]"
        assert deploy["properties"]["packageUri"] == "[parameters('packageUri')]"

    def test_every_setting_is_known(self) -> None:
        """Each app setting means something to the orchestrator or the Functions host."""
        names = {name.partition("__")[0] for name in app_settings()}
        assert names - HOST_SETTINGS <= KNOWN_SETTINGS
        assert "AzureWebJobsStorage" not in app_settings()

    def test_the_settings_are_enough(self) -> None:
        """With what the template sets, with either credential, the orchestrator finds nothing missing."""
        values = {
            "BatchAccountUrl": "https://a.westeurope.batch.azure.com", "ContainerRegistryServer": "a.azurecr.io",
            "BatchAccountName": "a", "WindowsLaunch": "docker", "PoolBoost": "off",
            "UbuntuPool": "batchLinux", "WindowsPool": "batchWindows",
            "AzureWebJobsStorage__accountName": "a", "AzureWebJobsStorage__clientId": "id",
        }  # fmt: skip
        settings = {name: values.get(name, "value") for name in app_settings()}
        token = {name: value for name, value in settings.items() if not name.startswith("GithubApp")}
        pem = "-----BEGIN RSA PRIVATE KEY-----\nMAYCAQACAQA=\n-----END RSA PRIVATE KEY-----"
        app = {name: value for name, value in settings.items() if name != "GithubToken"} | {"GithubAppPrivateKey": pem}
        for environment in (token, app):
            loaded = Settings.from_environment(environment)
            assert loaded.batch_account_key is None
            windows = {(profile.launch, profile.registration) for profile in loaded.profiles if profile.os == "windows"}
            assert windows == {("docker", "jit")}  # a Windows job could read a token

    def test_own_settings_win(self) -> None:
        """The parameter `appSettings` comes last in the union."""
        assert of_type("Web/sites/config")[0]["properties"].endswith(", parameters('appSettings'))]")


def test_names_of_parameters() -> None:
    """The original template's parameters keep their names; each parameter says what it is."""
    assert {
        "appName", "environment", "location", "create_UbuntuBatchPool", "create_WindowsBatchPool",
        "BatchAccountPoolVMType", "TaskSlotsPerNode", "githubWebhookSecret",
    } <= set(PARAMETERS)  # fmt: skip
    assert all(parameter["metadata"]["description"].endswith(".") for parameter in PARAMETERS.values())


def test_outputs() -> None:
    """The deployment says what GitHub and `az acr import` need, and no key."""
    outputs = TEMPLATE["outputs"]
    assert {"webhookUrl", "webhookKeyCommand", "containerRegistryLoginServer", "containerRegistryName"} <= set(outputs)
    assert "/api/ProvideActionsRunner" in outputs["webhookUrl"]["value"]
    assert "code=" not in outputs["webhookUrl"]["value"]
    assert "listKeys" not in json.dumps(outputs)


def test_the_parameters_file() -> None:
    """It gives all that has no default, nothing unknown, and in a secret's place only what the template refuses."""
    required = {name for name, parameter in PARAMETERS.items() if "defaultValue" not in parameter}
    assert required <= set(PARAMETERS_FILE) <= set(PARAMETERS)
    for name in SECRETS & set(PARAMETERS_FILE):
        assert len(PARAMETERS_FILE[name]["value"]) < PARAMETERS[name].get("minLength", 0)


def elements(within: Any) -> Iterator[dict[str, Any]]:
    """Return every element of the portal's form."""
    for element in within:
        yield element
        yield from elements(element.get("elements", ()))


def evaluate(expression: str, form: dict[str, Any]) -> Any:
    """Evaluate an expression of the portal's form, with the few functions that ours uses."""
    functions: dict[str, Callable[..., Any]] = {
        "and": lambda *all_of: all(all_of),
        "basics": lambda name: form["basics"][name],
        "bool": lambda text: text == "true",
        "coalesce": lambda *values: next((value for value in values if value is not None), None),
        "equals": lambda one, other: one == other,
        "if": lambda condition, then, otherwise: then if condition else otherwise,
        "int": int,
        "location": lambda: "westeurope",
        "not": lambda value: not value,
        "split": str.split,
        "steps": lambda name: form["steps"][name],
    }
    tokens = re.findall(r"'[^']*'|-?\d+|\w+|[(),.]", expression)

    def value() -> Any:
        token = tokens.pop(0)
        if token[0] == "'":
            return token[1:-1]
        if token.lstrip("-").isdigit():
            return int(token)
        arguments = []
        while tokens.pop(0) != ")":
            if tokens[0] != ")":
                arguments.append(value())
        result = functions[token](*arguments)
        while tokens and tokens[0] == ".":
            result = result[tokens[1]]
            del tokens[:2]
        return result

    return value()


def outputs(entered: dict[str, Any]) -> dict[str, Any]:
    """Return what the form gives the template when somebody enters this; a control that is hidden has no value."""
    form: dict[str, Any] = {"basics": {}, "steps": {step["name"]: {} for step in UI["steps"]}}

    def fill(controls: list[dict[str, Any]], values: dict[str, Any], path: str) -> None:
        for control in controls:
            name, visible = control["name"], control.get("visible", True)
            if control["type"] == "Microsoft.Common.Section":
                fill(control["elements"], values.setdefault(name, {}), f"{path}{name}.")
                continue
            choices = {
                choice["label"]: choice["value"] for choice in control.get("constraints", {}).get("allowedValues", ())
            }
            default = control.get("defaultValue")
            shown = visible if isinstance(visible, bool) else evaluate(visible[1:-1], form)
            values[name] = entered.get(f"{path}{name}", choices.get(default, default)) if shown else None

    fill(UI["basics"], form["basics"], "")
    for step in UI["steps"]:
        fill(step["elements"], form["steps"][step["name"]], "")
    return {name: evaluate(expression[1:-1], form) for name, expression in UI["outputs"].items()}


CREDENTIAL = {"webhookSecret": "s" * 16, "appId": "1", "appPrivateKey": "key"}
KINDS = {"string": str, "securestring": str, "int": int, "bool": bool, "array": list}


class TestPortal:
    """The portal's form."""

    @pytest.mark.parametrize(
        ("section", "parameter", "created"),
        [("ubuntu", "UbuntuPool", "batchLinux"), ("windows", "WindowsPool", "batchWindows")],
    )
    def test_a_pool_that_is_left_alone_is_still_served(self, section: str, parameter: str, created: str) -> None:
        """With its creation off, a pool's id goes from the form to the function; without an id there is no pool."""
        off = {**CREDENTIAL, f"{section}.create": False}
        assert outputs({**off, f"{section}.existingPool": "mine"})[parameter] == "mine"
        assert outputs(off)[parameter] == ""
        assert outputs({**CREDENTIAL, f"{section}.existingPool": "hidden"})[parameter] == created
        assert PARAMETERS[parameter]["defaultValue"].endswith(f", '{created}', '')]")

    def test_hidden_controls_give_the_templates_defaults(self) -> None:
        """Every output has its parameter's type, and what asks nothing on the screen is as the template has it."""
        nothing_created = outputs({**CREDENTIAL, "ubuntu.create": False, "windows.create": False})
        everything_created = outputs({**CREDENTIAL, "ubuntu.spot": True, "vnet": "existing", "batchSubnetId": "id",
                                      "functionSubnetId": "id", "endpointSubnetId": "id"})  # fmt: skip
        for given in (nothing_created, everything_created):
            for name, value in given.items():
                assert type(value) is KINDS[PARAMETERS[name]["type"]], name
        own = {"create_UbuntuBatchPool", "create_WindowsBatchPool", "UbuntuPool", "WindowsPool", "githubAppId"}
        for name in nothing_created.keys() - own - {"location"} - SECRETS:
            assert nothing_created[name] == PARAMETERS[name].get("defaultValue", nothing_created[name]), name

    def test_outputs_are_parameters(self) -> None:
        """The form fills in parameters of the template, and each one that has no default."""
        required = {name for name, parameter in PARAMETERS.items() if "defaultValue" not in parameter}
        assert required <= set(UI["outputs"]) <= set(PARAMETERS)

    def test_secrets_are_hidden(self) -> None:
        """Every secret comes from a password box."""
        boxes = {
            e["name"]
            for e in elements([*UI["basics"], *UI["steps"]])
            if e.get("type") == "Microsoft.Common.PasswordBox"
        }
        for name in SECRETS:
            assert any(f".{box}" in UI["outputs"][name] for box in boxes)

    def test_defaults_are_the_templates(self) -> None:
        """Who changes nothing in the form gets what the template does by itself."""
        defaults = {e["name"]: str(e.get("defaultValue")) for e in elements(UI["steps"])}
        assert defaults["hookRanges"].split(",") == PARAMETERS["githubHookIpRanges"]["defaultValue"]
        assert defaults["packageUri"] == PARAMETERS["packageUri"]["defaultValue"]
        assert defaults["addressPrefix"] == PARAMETERS["vnetAddressPrefix"]["defaultValue"]
        pools = {step["name"]: step for step in UI["steps"]}["pools"]["elements"]
        for section, names in (
            ("ubuntu", ("TaskSlotsPerNode", "ubuntuMaxNodes")),
            ("windows", ("windowsTaskSlotsPerNode", "windowsMaxNodes")),
        ):
            form = {e["name"]: e.get("defaultValue") for e in elements([s for s in pools if s["name"] == section])}
            assert [form["slots"], form["maxNodes"]] == [PARAMETERS[name]["defaultValue"] for name in names]
