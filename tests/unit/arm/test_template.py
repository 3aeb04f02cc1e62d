"""What the template promises: a private platform without keys, with the least roles, in a company's network."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arm.expressions import GROUP, Refused, Scope, evaluated, resources
from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES
from orchestrator.config.profiles import default_profiles
from orchestrator.config.settings import Settings

ARM = Path(__file__).parents[3] / "arm"
CONTRACT = ARM.parent / "runner-images" / "entrypoint" / "contract.py"
TEMPLATE: dict[str, Any] = json.loads((ARM / "azuredeploy.json").read_text(encoding="utf-8"))
PARAMETERS, VARIABLES = TEMPLATE["parameters"], TEMPLATE["variables"]
PARAMETERS_FILE = json.loads((ARM / "azuredeploy.parameters.json").read_text(encoding="utf-8"))["parameters"]
SECRETS = {"githubWebhookSecret", "githubWebhookSecretPrevious", "githubToken", "githubAppPrivateKey", "claimKey"}
SETTINGS = {field.alias for field in Settings.model_fields.values()}
HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "HTTPS_PROXY",
    "NO_PROXY",
}
IDS = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/shared/providers"
GALLERY = f"{IDS}/Microsoft.Compute/galleries/g/images/i/versions/1.0.0"
OWN_NETWORK = {
    f"{name}SubnetId": f"{IDS}/Microsoft.Network/virtualNetworks/hub/subnets/{name}"
    for name in ("batch", "function", "endpoint")
}
GPU: dict[str, Any] = {
    "name": "gpu", "vmSize": "Standard_NC4as_T4_v3", "maxNodes": 2, "spot": True,
    "profile": {"labels": ["gpu"], "image": "runner:gpu", "runOptions": "--gpus all", "maxRunners": 3},
}  # fmt: skip


def deployed(**given: Any) -> list[dict[str, Any]]:
    """Return what is deployed with these parameters."""
    return list(resources(TEMPLATE, {"appName": "runners", "githubWebhookSecret": "s" * 16} | given))


def of(kind: str, within: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the resources of a type."""
    return [resource for resource in within if resource["type"] == f"Microsoft.{kind}"]


def only(kind: str, **given: Any) -> dict[str, Any]:
    """Return the properties of the one resource of a type."""
    (resource,) = of(kind, deployed(**given))
    properties: dict[str, Any] = resource["properties"]
    return properties


def app_settings(**given: Any) -> dict[str, str]:
    """Return the app settings."""
    return only("Web/sites/config", **given)


def pools(**given: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of the pools, by their ids."""
    found = of("Batch/batchAccounts/pools", deployed(**given))
    return {pool["name"].rpartition("/")[2]: pool["properties"] for pool in found}


def machine(pool: dict[str, Any]) -> dict[str, Any]:
    """Return what a pool's nodes are made of."""
    configuration: dict[str, Any] = pool["deploymentConfiguration"]["virtualMachineConfiguration"]
    return configuration


def environment(pool: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a pool's start task."""
    return {entry["name"]: entry["value"] for entry in pool["startTask"]["environmentSettings"]}


def profiles(**given: Any) -> list[dict[str, Any]]:
    """Return the runner profiles that the template writes."""
    written: list[dict[str, Any]] = json.loads(app_settings(**given)["RunnerProfiles"])
    return written


def callers(within: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rules that say whom App Service lets in."""
    (site,) = of("Web/sites", within)
    rules: list[dict[str, Any]] = site["properties"]["siteConfig"]["ipSecurityRestrictions"]
    return rules


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


class TestPrivate:
    """Only the function can be called, by GitHub alone, unless a parameter says otherwise."""

    @pytest.mark.parametrize(
        "kind", ["Storage/storageAccounts", "ContainerRegistry/registries", "KeyVault/vaults", "Batch/batchAccounts"]
    )
    def test_no_public_access(self, kind: str) -> None:
        """Storage, registry, vault and Batch account answer nobody in public."""
        found = of(kind, deployed())
        assert {each["properties"]["publicNetworkAccess"] for each in found} == {"Disabled"}

    def test_private_endpoints(self) -> None:
        """Each of them, and the nodes' management, has a private endpoint, with a zone linked to the network."""
        found = deployed()
        groups = {
            endpoint["properties"]["privateLinkServiceConnections"][0]["properties"]["groupIds"][0]
            for endpoint in of("Network/privateEndpoints", found)
        }
        assert groups == {"batchAccount", "nodeManagement", "registry", "vault", "blob", "queue", "table"}
        zones = {zone["name"] for zone in of("Network/privateDnsZones", found)}
        named = [
            group["properties"]["privateDnsZoneConfigs"][0]["properties"]["privateDnsZoneId"].rpartition("/")[2]
            for group in of("Network/privateEndpoints/privateDnsZoneGroups", found)
        ]
        assert len(named) == len(groups) + 1  # two accounts have blobs
        assert set(named) == zones
        links = of("Network/privateDnsZones/virtualNetworkLinks", found)
        assert {link["name"].partition("/")[0] for link in links} == zones

    def test_zones_of_a_hub(self) -> None:
        """Zones may stand in another resource group, each by its id too; then none is made or linked."""
        group = "/subscriptions/s/resourceGroups/dns"
        vault = {"privatelink.vaultcore.azure.net": f"{IDS}/Microsoft.Network/privateDnsZones/vault"}
        found = deployed(privateDnsZonesResourceGroupId=group, privateDnsZoneIds=vault)
        assert not of("Network/privateDnsZones", found)
        ids = [
            group["properties"]["privateDnsZoneConfigs"][0]["properties"]["privateDnsZoneId"]
            for group in of("Network/privateEndpoints/privateDnsZoneGroups", found)
        ]
        assert ids[0] == vault["privatelink.vaultcore.azure.net"]
        assert all(zone.startswith(group) for zone in ids[1:])
        with pytest.raises(Refused, match=r"privateDnsZoneIds lacks privatelink\.blob\.core\.windows\.net"):
            deployed(privateDnsZoneIds=vault)

    def test_dns_by_policy(self) -> None:
        """Where a policy writes the DNS records the template writes none, so that the two do not collide."""
        found = deployed(privateDns="policy", functionPrivateEndpoint=True)
        assert len(of("Network/privateEndpoints", found)) == 9
        for kind in ("privateDnsZones", "privateDnsZones/virtualNetworkLinks", "privateEndpoints/privateDnsZoneGroups"):
            assert not of(f"Network/{kind}", found)

    def test_the_function_lets_in_the_given_ranges_only(self) -> None:
        """The function denies whoever is not named, and its deployment site everybody."""
        site = only("Web/sites")
        config = site["siteConfig"]
        assert site["publicNetworkAccess"] == "Enabled"
        assert (
            config["ipSecurityRestrictionsDefaultAction"] == config["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
        )
        ranges = [rule["ipAddress"] for rule in config["ipSecurityRestrictions"]]
        assert ranges == PARAMETERS["githubHookIpRanges"]["defaultValue"]
        assert app_settings()["SiteHookRanges"] == ",".join(ranges)
        assert {rule["action"] for rule in config["ipSecurityRestrictions"]} == {"Allow"}
        assert config["scmIpSecurityRestrictions"] == []
        assert config["scmIpSecurityRestrictionsUseMain"] is False
        assert "0.0.0.0/0" not in ranges

    def test_a_function_without_public_access(self) -> None:
        """Then it has a private endpoint of its own, whose name resolves."""
        found = deployed(functionPublicAccess=False)
        assert of("Web/sites", found)[0]["properties"]["publicNetworkAccess"] == "Disabled"
        assert "runners-prd-function-pep" in {endpoint["name"] for endpoint in of("Network/privateEndpoints", found)}
        zone = of("Network/privateEndpoints/privateDnsZoneGroups", found)[-1]["properties"]["privateDnsZoneConfigs"][0]
        assert zone["properties"]["privateDnsZoneId"].endswith("/privatelink.azurewebsites.net")
        assert "privatelink.azurewebsites.net" in {zone["name"] for zone in of("Network/privateDnsZones", found)}

    def test_operators(self) -> None:
        """Operators reach the function, its operators' routes, and the Batch account, which answers nobody else."""
        operators = ["198.51.100.0/24", "203.0.113.9/32"]
        given: dict[str, Any] = {"operatorIpRanges": operators, "deploymentSiteRanges": ["192.0.2.0/24"]}
        batch = only("Batch/batchAccounts", **given)
        assert batch["publicNetworkAccess"] == "Enabled"
        access = batch["networkProfile"]["accountAccess"]
        assert access["defaultAction"] == batch["networkProfile"]["nodeManagementAccess"]["defaultAction"] == "Deny"
        assert access["ipRules"] == [{"action": "Allow", "value": value} for value in operators]
        config = only("Web/sites", **given)["siteConfig"]
        assert [rule["ipAddress"] for rule in config["ipSecurityRestrictions"]][-2:] == operators
        assert [rule["ipAddress"] for rule in config["scmIpSecurityRestrictions"]] == ["192.0.2.0/24"]
        assert app_settings(**given)["OperatorSources"] == ",".join(operators)
        assert "OperatorSources" not in app_settings()

    def test_no_passwords_at_the_function(self) -> None:
        """Nobody publishes code with a user name and a password; of FTP, which Flex does not have, nothing is said."""
        (policy,) = of("Web/sites/basicPublishingCredentialsPolicies", deployed())
        assert policy["name"].endswith("/scm")
        assert policy["properties"]["allow"] is False

    def test_pools_have_no_public_addresses(self) -> None:
        """Nodes call out through the NAT gateway, and nobody calls them."""
        for pool in pools(morePools=[GPU]).values():
            network = pool["networkConfiguration"]
            assert network["publicIPAddressConfiguration"] == {"provision": "NoPublicIPAddresses"}
            assert "endpointConfiguration" not in network
            assert network["subnetId"].endswith("/subnets/batchpool")


class TestNetwork:
    """The template's own network, and one that was there before."""

    def test_subnets(self) -> None:
        """Each subnet is a resource of its own, private, with a security group; two have the way out."""
        found = deployed()
        subnets = {subnet["name"]: subnet["properties"] for subnet in of("Network/virtualNetworks/subnets", found)}
        assert set(subnets) == {f"runners-prd-net/{name}" for name in ("batchpool", "function", "endpoints")}
        assert {subnet["defaultOutboundAccess"] for subnet in subnets.values()} == {False}
        groups = {
            group["name"]: group["properties"]["securityRules"] for group in of("Network/networkSecurityGroups", found)
        }
        for name, subnet in subnets.items():
            assert subnet["networkSecurityGroup"]["id"].rpartition("/")[2] in groups
            assert (subnet["natGateway"] is None) == name.endswith("endpoints")
        (rule,) = groups["runners-prd-batchpool-nsg"]
        assert (rule["properties"]["access"], rule["properties"]["direction"]) == ("Deny", "Inbound")

    def test_the_most_nodes_that_the_new_network_holds(self) -> None:
        """The pools' descriptions say how many addresses the nodes' subnet has, less the five that Azure keeps."""
        subnet = of("Network/virtualNetworks/subnets", deployed())[0]["properties"]["addressPrefix"]
        nodes = 2 ** (32 - int(subnet.partition("/")[2])) - 5
        for name in ("ubuntuMaxNodes", "windowsMaxNodes"):
            assert f" holds {nodes} of all pools together." in PARAMETERS[name]["metadata"]["description"]

    def test_a_route_table_is_the_way_out(self) -> None:
        """With a route table there is no NAT gateway, and the subnets of nodes and function use the table."""
        table = f"{IDS}/Microsoft.Network/routeTables/hub"
        found = deployed(routeTableId=table, dnsServers=["10.0.0.4"])
        assert not of("Network/natGateways", found) + of("Network/publicIPAddresses", found)
        tables = [subnet["properties"]["routeTable"] for subnet in of("Network/virtualNetworks/subnets", found)]
        assert tables == [{"id": table}, {"id": table}, None]
        assert of("Network/virtualNetworks", found)[0]["properties"]["dhcpOptions"] == {"dnsServers": ["10.0.0.4"]}

    @pytest.mark.parametrize("given", [OWN_NETWORK, {"networkMode": "keep"}], ids=["existing", "keep"])
    def test_a_network_is_left_alone(self, given: dict[str, Any]) -> None:
        """With subnets of one's own, or with networkMode=keep, nothing of a network is written."""
        found = deployed(**given)
        kinds = {resource["type"].removeprefix("Microsoft.") for resource in found}
        assert not kinds & {
            "Network/publicIPAddresses", "Network/natGateways", "Network/networkSecurityGroups",
            "Network/virtualNetworks", "Network/virtualNetworks/subnets",
        }  # fmt: skip
        assert of("Web/sites", found)[0]["properties"]["virtualNetworkSubnetId"].endswith("/subnets/function")

    @pytest.mark.parametrize("missing", OWN_NETWORK)
    def test_half_a_network_is_refused(self, missing: str) -> None:
        """Two subnets of three are told as such, before anything is deployed."""
        with pytest.raises(Refused, match="all three subnets, or none"):
            deployed(**{name: value for name, value in OWN_NETWORK.items() if name != missing})


class TestExisting:
    """A Batch account, a registry and a workspace that were there before."""

    GIVEN: dict[str, Any] = {  # noqa: RUF012
        "batchAccountId": f"{IDS}/Microsoft.Batch/batchAccounts/b",
        "containerRegistryId": f"{IDS}/Microsoft.ContainerRegistry/registries/r",
        "logAnalyticsWorkspaceId": f"{IDS}/Microsoft.OperationalInsights/workspaces/w",
    }

    def test_they_are_used_and_not_changed(self) -> None:
        """None of them is written; they get no endpoints, no logs, and only the roles that the identities need."""
        found = deployed(**self.GIVEN)
        for kind in ("Batch/batchAccounts", "ContainerRegistry/registries", "OperationalInsights/workspaces"):
            assert not of(kind, found)
        assert of("Insights/components", found)[0]["properties"]["WorkspaceResourceId"].endswith("/workspaces/w")
        assert len(of("Network/privateEndpoints", found)) == 5
        assert not any("/Microsoft.Batch/" in each["scope"] for each in of("Insights/diagnosticSettings", found))
        scopes = {role["scope"] for role in of("Authorization/roleAssignments", found)}
        assert {self.GIVEN["batchAccountId"], self.GIVEN["containerRegistryId"]} <= scopes
        assert app_settings(**self.GIVEN)["BatchAccountName"] == "b"

    def test_what_is_deployed_into_their_groups(self) -> None:
        """Roles and pools are deployed where the resource is, in its group and subscription."""
        found = of("Resources/deployments", deployed(**self.GIVEN))
        places = {each["name"].split("-")[2:4][-1]: each["resourceGroup"] for each in found}
        assert {places[name] for name in ("batch", "registry", "batchLinux", "batchWindows")} == {"shared"}
        assert {places[name] for name in ("blob", "vault", "log")} == {"runners"}


class TestNoKeys:
    """Identities, and secrets in the vault alone."""

    def test_entra_only(self) -> None:
        """Every service that could take a key takes none."""
        assert only("Batch/batchAccounts")["allowedAuthenticationModes"] == ["AAD"]
        accounts = of("Storage/storageAccounts", deployed())
        assert [each["properties"]["allowSharedKeyAccess"] for each in accounts] == [False, False]
        registry = only("ContainerRegistry/registries")
        assert (registry["adminUserEnabled"], registry["anonymousPullEnabled"]) == (False, False)
        assert only("KeyVault/vaults")["enableRbacAuthorization"] is True
        assert only("Insights/components")["DisableLocalAuth"] is True

    def test_no_key_is_read(self) -> None:
        """No expression of the template asks Azure for a key or password."""
        assert [text for text in strings(TEMPLATE) if re.search(r"\blist[A-Z]\w*\(", text)] == []

    def test_secrets_are_secure_parameters(self) -> None:
        """Secrets have no default, except none at all or a random one; beside them only the app settings are secure."""
        secure = {name for name, parameter in PARAMETERS.items() if parameter["type"].startswith("secure")}
        assert secure == SECRETS | {"appSettings"}
        assert "defaultValue" not in PARAMETERS["githubWebhookSecret"]
        defaults = {name: PARAMETERS[name].get("defaultValue", "") for name in SECRETS}
        assert {name: value for name, value in defaults.items() if value} == {
            "claimKey": "[concat(newGuid(), newGuid())]"
        }

    def test_secrets_go_into_the_vault_and_nowhere_else(self) -> None:
        """Given secrets stand in the vault's secrets, and in no other resource that is deployed."""
        given = {name: f"{name}-{'s' * 16}" for name in SECRETS}
        found = deployed(**given, githubAppId="1", runnerRegistration="claim")
        vault = of("KeyVault/vaults/secrets", found)
        assert {secret["properties"]["value"] for secret in vault} == {given[name] for name in SECRETS}
        rest = [text for each in found if each not in vault for text in strings(each)]
        assert not [name for name in SECRETS if any(given[name] in text for text in rest)]

    def test_secret_settings_name_their_version(self) -> None:
        """What is secret is a reference to one version in the vault, so that a new secret is a new setting."""
        settings = app_settings(**dict.fromkeys(SECRETS, "s" * 16), githubAppId="1", runnerRegistration="claim")
        secret = {name for name in settings if re.search("Secret|Token|Key$|Previous", name)}
        assert secret == {
            "GithubWebhookSecret", "GithubWebhookSecretPrevious", "GithubToken", "GithubAppPrivateKey", "ClaimKey",
        }  # fmt: skip
        for name in secret:
            assert settings[name].startswith("@Microsoft.KeyVault(SecretUri=reference(")
            assert settings[name].endswith(".secretUriWithVersion)")
        assert only("Web/sites")["keyVaultReferenceIdentity"].endswith("/runners-prd-fun-id")
        assert not {"GithubWebhookSecretPrevious", "GithubToken", "GithubAppId", "ClaimKey"} & set(app_settings())

    def test_secrets_expire_if_asked(self) -> None:
        """Only with secretsValidDays has a secret a date, which the deployment's time is the start of."""
        (secret,) = of("KeyVault/vaults/secrets", deployed())
        assert secret["properties"]["attributes"] == {}
        (secret,) = of("KeyVault/vaults/secrets", deployed(secretsValidDays=90))
        assert secret["properties"]["attributes"]["exp"] == "dateTimeToEpoch(dateTimeAdd(20260101T000000Z, P90D))"

    def test_the_vaults_name_and_protection(self) -> None:
        """A deleted vault is kept; a suffix of one's own makes names that differ from those it holds."""
        assert only("KeyVault/vaults")["enablePurgeProtection"] is True
        assert only("KeyVault/vaults", keyVaultPurgeProtection=False)["enablePurgeProtection"] is None
        (vault,) = of("KeyVault/vaults", deployed(appName="abcdefgh", nameSuffix="z" * 8))
        assert vault["name"] == "abcdefgh-prd-kv-zzzzzzzz"
        assert len(vault["name"]) <= 24
        storage = of("Storage/storageAccounts", deployed(appName="abcdefgh", nameSuffix="z" * 8))
        assert all(len(each["name"]) <= 24 for each in storage)

    def test_pools_pull_with_their_identity(self) -> None:
        """The registry's login on a node is the pool's identity."""
        for pool in of("Batch/batchAccounts/pools", deployed(windowsImageId=GALLERY)):
            (identity,) = pool["identity"]["userAssignedIdentities"]
            assert identity.endswith("/runners-prd-pool-id")
            (registry,) = machine(pool["properties"])["containerConfiguration"]["containerRegistries"]
            assert registry["identityReference"] == {"resourceId": identity}
            assert set(registry) == {"registryServer", "identityReference"}


def test_least_roles() -> None:
    """Each identity has the roles it needs, on the one resource where it needs them."""
    roles = {
        "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
        "48e5e92e-a480-4e71-aa9c-2778f4c13781": "Azure Batch Job Submitter",
        "6aaa78f1-f7de-44ca-8722-c64a23943cae": "Azure Batch Data Contributor",
        "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
        "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    }

    def assigned(**given: Any) -> set[tuple[str, str, str]]:
        found = of("Authorization/roleAssignments", deployed(**given))
        assert {role["properties"]["principalType"] for role in found} == {"ServicePrincipal"}
        return {
            (
                role["scope"].split("/")[-2],
                "pool" if "-pool-id" in role["properties"]["principalId"] else "function",
                roles[role["properties"]["roleDefinitionId"].rpartition("/")[2]],
            )
            for role in found
        }

    submitter = ("batchAccounts", "function", "Azure Batch Job Submitter")
    assert assigned() == {
        ("storageAccounts", "function", "Storage Blob Data Owner"),
        ("storageAccounts", "function", "Storage Queue Data Contributor"),
        ("storageAccounts", "function", "Storage Table Data Contributor"),
        ("vaults", "function", "Key Vault Secrets User"),
        ("components", "function", "Monitoring Metrics Publisher"),
        ("registries", "pool", "AcrPull"),
        ("containers", "pool", "Storage Blob Data Contributor"),
        ("containers", "function", "Storage Blob Data Reader"),
        submitter,
    }
    contributor = ("batchAccounts", "function", "Azure Batch Data Contributor")
    assert assigned(allowPoolBoost=True) == assigned() - {submitter} | {contributor}
    assert app_settings()["PoolBoost"] == "off"
    assert app_settings(allowPoolBoost=True)["PoolBoost"] == "resize"


def test_a_role_survives_an_identity_that_was_made_anew() -> None:
    """The name of an assignment is made from the principal, which a new identity of the same name has anew."""
    for role in of("Authorization/roleAssignments", deployed()):
        assert role["properties"]["principalId"] in role["name"]


class TestTaskLogs:
    """Where the output of tasks is kept."""

    def test_an_account_of_its_own(self) -> None:
        """What a node may write to is not the account with the function's keys and code; its container is private."""
        found = deployed()
        own, logs = (each["name"] for each in of("Storage/storageAccounts", found))
        assert app_settings()["AzureWebJobsStorage__accountName"] == own
        (container,) = [
            each
            for each in of("Storage/storageAccounts/blobServices/containers", found)
            if each["name"].startswith(logs)
        ]
        assert container["properties"] == {"publicAccess": "None"}
        assert app_settings()["TaskLogsContainerUrl"].endswith(container["name"].rpartition("/")[2])
        assert logs in app_settings()["TaskLogsContainerUrl"]
        (pools_identity,) = of("Batch/batchAccounts/pools", found)[0]["identity"]["userAssignedIdentities"]
        assert app_settings()["TaskLogsIdentity"] == pools_identity

    def test_the_pools_write_and_do_not_read(self) -> None:
        """Of the role's data actions the condition leaves writing; no other role of theirs is on a storage account."""
        roles = [
            role
            for role in of("Authorization/roleAssignments", deployed())
            if "-pool-id" in role["properties"]["principalId"] and "/Microsoft.Storage/" in role["scope"]
        ]
        (role,) = roles
        assert role["scope"].endswith("/containers/task-logs")
        assert role["properties"]["conditionVersion"] == "2.0"
        condition = role["properties"]["condition"]
        blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
        refused = set(re.findall(r"!\(ActionMatches\{'([^']+)'\}\)", condition))
        assert refused == {f"{blobs}/read", f"{blobs}/delete", f"{blobs}/move/action"}
        # Never true in the container that the role is assigned on.
        assert condition.endswith(
            "OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] "
            "StringNotEquals 'task-logs'))"
        )
        assert condition.count("(") == condition.count(")")

    def test_other_roles_have_no_condition(self) -> None:
        """Only the pools' role on the container is limited."""
        found = of("Authorization/roleAssignments", deployed())
        assert sum(role["properties"]["condition"] is not None for role in found) == 1

    def test_how_long(self) -> None:
        """Output is removed after the given days; what was removed or overwritten comes back for a week."""
        (rule,) = only("Storage/storageAccounts/managementPolicies", taskLogsDays=7)["policy"]["rules"]
        assert rule["definition"]["actions"] == {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 7}}}
        assert rule["definition"]["filters"]["prefixMatch"] == ["task-logs/"]
        assert PARAMETERS["taskLogsDays"]["defaultValue"] == 30
        kept = only("Storage/storageAccounts/blobServices")
        assert kept["deleteRetentionPolicy"] == kept["containerDeleteRetentionPolicy"] == {"enabled": True, "days": 7}

    def test_readers(self) -> None:
        """Groups that are named may read the container, and nobody else is."""
        group = "00000000-0000-0000-0000-00000000000a"
        found = of("Authorization/roleAssignments", deployed(taskLogsReaders=[group]))
        (reader,) = [role["properties"] for role in found if role["properties"]["principalType"] == "Group"]
        assert reader["principalId"] == group
        assert reader["roleDefinitionId"].endswith("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1")

    def test_without(self) -> None:
        """With no days there is no account, no endpoint, no role, no log and no setting of it."""
        found = deployed(taskLogsDays=0, taskLogsReaders=["00000000-0000-0000-0000-00000000000a"])
        assert len(of("Storage/storageAccounts", found)) == 1
        assert not of("Storage/storageAccounts/managementPolicies", found)
        assert not of("Storage/storageAccounts/blobServices", found)
        assert len(of("Network/privateEndpoints", found)) == 7
        assert len(of("Insights/diagnosticSettings", found)) == 3
        assert not [role for role in of("Authorization/roleAssignments", found) if "task-logs" in role["scope"]]
        assert not {"TaskLogsContainerUrl", "TaskLogsIdentity"} & set(app_settings(taskLogsDays=0))


class TestPools:
    """The pools `batchLinux` and `batchWindows`, and more of them."""

    def test_what_a_deployment_does_to_them(self) -> None:
        """They are written, left as Batch has them but for formula and start task, or not touched at all."""
        assert list(pools()) == ["batchLinux", "batchWindows"]
        assert pools(poolsMode="keep") == {}
        for name, pool in pools(poolsMode="update").items():
            kept = {key for key, value in pool.items() if f"/pools/{name}, " in str(value) and key != "startTask"}
            assert kept == {
                "vmSize",
                "taskSlotsPerNode",
                "deploymentConfiguration",
                "networkConfiguration",
                "scaleSettings",
            }
            assert (
                f"slots = reference({pool['vmSize'].partition('reference(')[2].rpartition('.')[0]}"
                in (pool["scaleSettings"]["autoScale"]["formula"])
            )
            assert "maxNodes = " in pool["scaleSettings"]["autoScale"]["formula"]

    def test_each_can_be_left_alone(self) -> None:
        """A pool is written only if its parameter says so; another name is another pool."""
        assert list(pools(create_WindowsBatchPool=False)) == ["batchLinux"]
        assert list(pools(create_UbuntuBatchPool=False)) == ["batchWindows"]
        assert list(pools(UbuntuPool="mine")) == ["mine", "batchWindows"]
        assert pools(create_UbuntuBatchPool=False, create_WindowsBatchPool=False, WindowsPool="mine") == {}

    def test_autoscale_from_zero(self) -> None:
        """Pools follow their formulas as often as Batch allows, and fill one node before the next."""
        for pool in pools(morePools=[GPU]).values():
            assert pool["scaleSettings"]["autoScale"]["evaluationInterval"] == "PT5M"
            assert pool["taskSchedulingPolicy"] == {"nodeFillType": "Pack"}
            assert "\nwarmNodes = 0;\n" in pool["scaleSettings"]["autoScale"]["formula"]

    @pytest.mark.parametrize(
        ("name", "shell", "variable"),
        [("batchLinux", "/bin/bash", "startTaskLinux"), ("batchWindows", "powershell", "startTaskWindows")],
    )
    def test_the_start_task_comes_before_any_runner(self, name: str, shell: str, variable: str) -> None:
        """No runner starts on a node whose start task has not done its work as administrator."""
        task = pools()[name]["startTask"]
        assert shlex.split(task["commandLine"])[0] == shell
        assert task["waitForSuccess"] is True
        assert task["userIdentity"] == {"autoUser": {"scope": "Pool", "elevationLevel": "Admin"}}
        # Windows takes 32,767 characters in a variable; base64 makes four of three.
        assert len(VARIABLES[variable].encode()) * 4 / 3 < 32_000

    def test_disks_and_security(self) -> None:
        """Nodes have a disk that images and checkouts fit on; trusted launch and encryption come when asked for."""
        plain = machine(pools()["batchLinux"])
        assert plain["osDisk"] == {"diskSizeGB": 256, "managedDisk": {"storageAccountType": "StandardSSD_LRS"}}
        assert plain["securityProfile"] is None
        safe = machine(
            pools(trustedLaunch=True, encryptionAtHost=True, osDiskGB=512, zoneRedundant=True)["batchWindows"]
        )
        assert safe["osDisk"]["diskSizeGB"] == 512
        assert safe["nodePlacementConfiguration"] == {"policy": "Zonal"}
        assert safe["securityProfile"] == {
            "securityType": "trustedLaunch", "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            "encryptionAtHost": True,
        }  # fmt: skip

    def test_more_pools(self) -> None:
        """A pool of the list has its own size, caps and disk, and the rest as the others have it."""
        pool = pools(morePools=[GPU | {"osDiskGB": 1024}])["gpu"]
        assert (pool["vmSize"], pool["taskSlotsPerNode"]) == ("Standard_NC4as_T4_v3", 1)
        assert machine(pool)["osDisk"]["diskSizeGB"] == 1024
        assert machine(pool)["imageReference"]["offer"] == "ubuntu-hpc"
        formula = pool["scaleSettings"]["autoScale"]["formula"]
        assert all(f"\n{line};\n" in formula for line in ("maxNodes = 2", "spot = 1", "slots = 1"))

    def test_an_arm64_pool_brings_its_image(self) -> None:
        """There is no image that Batch lists for arm64, so none is taken for granted."""
        pool = GPU | {"name": "arm", "arch": "arm64", "vmSize": "Standard_D4ps_v6"}
        with pytest.raises(Refused, match="linux-arm64"):
            deployed(morePools=[pool])
        own = pool | {"image": {"id": GALLERY}, "nodeAgentSkuId": "batch.node.ubuntu 24.04"}
        assert machine(pools(morePools=[own])["arm"])["imageReference"] == {"id": GALLERY}
        assert profiles(morePools=[own])[0]["arch"] == "arm64"

    @pytest.mark.parametrize(("image", "launch"), [("", "docker"), (GALLERY, "batch")], ids=["plain", "Gallery"])
    def test_windows_tasks_and_pool_agree(self, image: str, launch: str) -> None:
        """On a plain image Docker is installed and called by the task; on a Gallery image Batch starts containers."""
        pool = pools(windowsImageId=image)["batchWindows"]
        assert (machine(pool)["containerConfiguration"] is None) == (launch == "docker")
        assert environment(pool)["INSTALL_DOCKER"] == ("true" if launch == "docker" else "false")
        assert app_settings(windowsImageId=image)["WindowsLaunch"] == launch

    @pytest.mark.parametrize(
        "given",
        [
            {"poolsMode": "keep"},
            {"poolsMode": "update"},
            {"create_WindowsBatchPool": False, "WindowsPool": "batchWindows"},
        ],
    )
    def test_the_launch_follows_a_pool_that_is_there(self, given: dict[str, Any]) -> None:
        """For a pool that is not written anew today's image decides nothing: the pool itself is asked."""
        assert app_settings(**given) == app_settings(**given, windowsImageId=GALLERY)
        config = next(r for r in TEMPLATE["resources"] if r["type"] == "Microsoft.Web/sites/config")["properties"]
        assert "contains(string(reference(concat(variables('batchId'), '/pools/', parameters('WindowsPool'))" in config


class TestProfiles:
    """The runner profiles that the template writes."""

    def test_the_defaults_are_those_of_the_code(self) -> None:
        """They say what the code's defaults say, less the Windows that the pool's nodes cannot run."""
        written = [profile.model_dump() for profile in Settings.from_environment(complete()).runner_profiles or ()]
        known = [profile.model_dump() for profile in default_profiles("batchLinux", "batchWindows")]
        assert written == [profile for profile in known if "windows-2019" not in profile["labels"]]

    @pytest.mark.parametrize(
        ("sku", "labels"),
        [
            ("2022-datacenter-core-g2", ["windows-latest", "windows-2022"]),
            ("2025-datacenter-core-g2", ["windows-latest", "windows-2025"]),
            ("2019-datacenter-core-g2", ["windows-2019"]),
            ("mine", ["windows-latest", "windows-2022"]),
        ],
    )
    def test_windows_is_that_of_the_nodes(self, sku: str, labels: list[str]) -> None:
        """A pool serves the release of Windows that its nodes have; of an unknown one it is taken to be 2022."""
        (profile,) = profiles(create_UbuntuBatchPool=False, windowsImageSku=sku)
        assert profile == {
            "name": labels[0], "labels": labels, "pool": "batchWindows", "os": "windows",
            "image": f"githubactions-runner:windows-core-ltsc{labels[-1][-4:]}-actionsrunner",
        }  # fmt: skip

    def test_more_pools_come_first(self) -> None:
        """A profile of the list comes before the defaults, and has whatever option its pool's entry gives it."""
        windows = {
            "name": "big",
            "os": "windows",
            "vmSize": "Standard_D8s_v5",
            "profile": {"labels": ["big"], "image": "w"},
        }
        first, second, *rest = profiles(morePools=[GPU, windows])
        assert first == GPU["profile"] | {"name": "gpu", "pool": "gpu", "os": "linux", "arch": "x64"}
        assert (second["pool"], second["launch"]) == ("big", "docker")
        assert profiles(morePools=[windows | {"image": {"id": GALLERY}}])[0]["launch"] == "batch"
        assert rest == profiles()

    def test_without_pools_there_are_none(self) -> None:
        """Then the setting is left out, so that the function names the settings that are missing."""
        assert "RunnerProfiles" not in app_settings(create_UbuntuBatchPool=False, create_WindowsBatchPool=False)


class TestCompanyNetwork:
    """A proxy, and certificate authorities."""

    GIVEN: dict[str, Any] = {  # noqa: RUF012
        "httpsProxy": "http://proxy.test:3128", "noProxy": ".corp.test", "caCertificates": "LS0tLS1CRUdJTg==",
    }  # fmt: skip

    def test_they_reach_code_nodes_and_runners(self) -> None:
        """The function, the nodes' Docker and the runners get both; without them nobody is told anything."""
        settings = app_settings(**self.GIVEN)
        assert (settings["HTTPS_PROXY"], settings["CaCertificates"]) == ("http://proxy.test:3128", "LS0tLS1CRUdJTg==")
        assert settings["MountCaCertificates"] == "true"
        runners = json.loads(settings["RunnerEnvironment"])
        assert runners["HTTPS_PROXY"] == runners["https_proxy"] == "http://proxy.test:3128"
        assert runners["NO_PROXY"] == runners["no_proxy"] == settings["NO_PROXY"]
        for pool in pools(**self.GIVEN).values():
            assert environment(pool)["HTTPS_PROXY"] == "http://proxy.test:3128"
            assert environment(pool)["CA_CERTIFICATES"] == "LS0tLS1CRUdJTg=="
            assert environment(pool)["NO_PROXY"] == settings["NO_PROXY"]
        without = {"HTTPS_PROXY", "NO_PROXY", "CaCertificates", "MountCaCertificates", "RunnerEnvironment"}
        assert not without & set(app_settings())

    def test_what_is_private_is_called_without_the_proxy(self) -> None:
        """What is made here, the node's own addresses, what the company adds; not the storage of GitHub."""
        hosts = app_settings(**self.GIVEN)["NO_PROXY"].split(",")
        made = {f"runnersprdstouniqu.{kind}.core.windows.net" for kind in ("blob", "queue", "table")}
        made |= {"runners-prd-kv-uniqu.vault.azure.net", "runnersprdacruniqu.azurecr.io"}
        made |= {"runnersprdacruniqu.westeurope.data.azurecr.io", ".batch.azure.com"}
        made |= {"runnersprdloguniqu.blob.core.windows.net"}
        assert set(hosts) == {"localhost", "127.0.0.1", "169.254.169.254", "168.63.129.16", ".corp.test"} | made

    def test_a_password_is_refused(self) -> None:
        """Whoever may read the Batch account could read it."""
        with pytest.raises(Refused, match="no user and password"):
            deployed(httpsProxy="http://user:password@proxy.test:3128")


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

    def test_what_it_did_before_the_restart_is_kept(self) -> None:
        """It logs into the node's own folder from the start, appending, since the restart cuts the other output."""
        assert -1 < self.SCRIPT.find("Start-Transcript -Append") < self.SCRIPT.find("Restart-Computer")
        assert "AZ_BATCH_NODE_ROOT_DIR" in self.SCRIPT

    def test_docker_is_checked(self) -> None:
        """The archive that is downloaded by default has a checksum by default."""
        assert re.fullmatch("[0-9a-f]{64}", PARAMETERS["windowsDockerSha256"]["defaultValue"])
        assert "DOCKER_SHA256" in self.SCRIPT


class TestClaims:
    """What runners need that ask the function for their registration."""

    CLAIM: dict[str, Any] = {"runnerRegistration": "claim"}  # noqa: RUF012
    RANGES: dict[str, Any] = {"runnerRegistration": "claim", "claimIpRanges": ["203.0.113.0/28"]}  # noqa: RUF012
    TABLE: dict[str, Any] = {"routeTableId": f"{IDS}/Microsoft.Network/routeTables/hub"}  # noqa: RUF012
    PRIVATE: dict[str, Any] = {"functionPrivateEndpoint": True}  # noqa: RUF012
    CLOSED: dict[str, Any] = {"functionPublicAccess": False}  # noqa: RUF012

    @pytest.mark.parametrize("registration", ["token", "jit"])
    def test_without(self, registration: str) -> None:
        """In the other modes nothing is made for claims, and nobody is let in for them."""
        found = deployed(runnerRegistration=registration, **self.TABLE, taskLogsDays=0)
        assert not [each for each in found if "claim" in each["name"]]
        assert not of("Storage/storageAccounts/managementPolicies", found)
        settings = app_settings(runnerRegistration=registration)
        assert settings["RunnerRegistration"] == registration
        assert not [name for name in settings if name.startswith("Claim")]
        ranges = [rule["ipAddress"] for rule in callers(found)]
        assert ranges == PARAMETERS["githubHookIpRanges"]["defaultValue"]

    def test_the_default_is_a_token(self) -> None:
        """Who chooses nothing gets what the function itself takes by default."""
        assert app_settings()["RunnerRegistration"] == Settings.model_fields["runner_registration"].default == "token"

    @pytest.mark.parametrize("given", [{}, {"networkMode": "keep"}], ids=["made", "kept"])
    def test_by_the_nat_gateway(self, given: dict[str, Any]) -> None:
        """In the default network the site and the function let in the one address that containers show."""
        (address,) = [rule for rule in callers(deployed(**self.CLAIM, **given)) if rule["name"] == "claims"]
        nat = "Microsoft.Network/publicIPAddresses/runners-prd-nat-ip, 2025-05-01).ipAddress/32"
        assert address["ipAddress"].endswith(nat)
        settings = app_settings(**self.CLAIM, **given)
        assert settings["ClaimSources"] == address["ipAddress"]
        assert settings["ClaimUrl"].startswith("https://reference(")
        assert settings["ClaimUrl"].endswith("/runners-prd-fun-uniqu, 2024-04-01).defaultHostName/api/ClaimRunner")
        assert "reference(" not in settings["SiteHookRanges"]

    @pytest.mark.parametrize("given", [{}, {"operatorIpRanges": ["198.51.100.0/24", "203.0.113.9/32"]}])
    def test_each_caller_has_a_priority_of_its_own(self, given: dict[str, Any]) -> None:
        """App Service takes no two rules of one priority."""
        rules = callers(deployed(**self.CLAIM, **given))
        assert [rule["priority"] for rule in rules] == list(range(100, 100 + len(rules)))
        assert len({rule["name"] for rule in rules}) == len(rules)

    @pytest.mark.parametrize(
        "given",
        [PRIVATE, CLOSED, PRIVATE | TABLE, CLOSED | {"networkMode": "keep"}, PRIVATE | OWN_NETWORK],
        ids=["private", "closed", "route table", "kept", "own subnets"],
    )
    def test_by_the_private_endpoint(self, given: dict[str, Any]) -> None:
        """With a private endpoint claims come from the pools' subnet, and the public site lets in no one for them."""
        found = deployed(**self.CLAIM, **given)
        assert not [rule for rule in callers(found) if "claim" in rule["name"] or "reference(" in rule["ipAddress"]]
        (subnet,) = {pool["networkConfiguration"]["subnetId"] for pool in pools(**given).values()}
        assert app_settings(**self.CLAIM, **given)["ClaimSources"] == f"reference({subnet}, 2025-05-01).addressPrefix"
        assert "runners-prd-function-pep" in {endpoint["name"] for endpoint in of("Network/privateEndpoints", found)}

    @pytest.mark.parametrize("given", [OWN_NETWORK, TABLE, {}], ids=["own subnets", "route table", "new network"])
    def test_given_ranges(self, given: dict[str, Any]) -> None:
        """Ranges that are given are let in by the site and by the function, and nothing besides."""
        rules = [rule["ipAddress"] for rule in callers(deployed(**self.RANGES, **given))]
        assert rules[-1] == "203.0.113.0/28"
        assert len(rules) == len(PARAMETERS["githubHookIpRanges"]["defaultValue"]) + 1
        assert app_settings(**self.RANGES, **given)["ClaimSources"] == "203.0.113.0/28"

    def test_given_ranges_behind_a_private_endpoint(self) -> None:
        """Private ranges that are given open nothing to the public."""
        found = deployed(**self.RANGES, **OWN_NETWORK, **self.PRIVATE)
        assert "203.0.113.0/28" not in [rule["ipAddress"] for rule in callers(found)]
        assert app_settings(**self.RANGES, **OWN_NETWORK, **self.PRIVATE)["ClaimSources"] == "203.0.113.0/28"

    @pytest.mark.parametrize("given", [OWN_NETWORK, TABLE], ids=["own subnets", "route table"])
    def test_a_door_for_nobody_is_refused(self, given: dict[str, Any]) -> None:
        """Where the template does not know the containers' addresses, it asks for them before anything is made."""
        with pytest.raises(Refused, match="Give claimIpRanges"):
            deployed(**self.CLAIM, **given)

    def test_the_proxy_is_not_asked_for_claims(self) -> None:
        """The address that is let in is shown by a direct call; a given one may be the proxy's."""
        host, proxy = "runners-prd-fun-uniqu.azurewebsites.net", TestCompanyNetwork.GIVEN
        runners = json.loads(app_settings(**self.CLAIM, **proxy)["RunnerEnvironment"])
        assert host in runners["no_proxy"].split(",")
        assert host in app_settings(**self.RANGES, **self.PRIVATE, **proxy)["NO_PROXY"].split(",")
        assert host not in app_settings(**self.RANGES, **proxy)["NO_PROXY"].split(",")
        assert host not in app_settings(**proxy)["NO_PROXY"].split(",")

    def test_a_key_is_made_or_kept(self) -> None:
        """The key is written once or at each deployment, and its version in force is what the function reads."""

        def key(**given: Any) -> list[dict[str, Any]]:
            return [each for each in of("KeyVault/vaults/secrets", deployed(**given)) if "claim-key" in each["name"]]

        (made,) = key(**self.CLAIM)
        assert len(made["properties"]["value"]) >= PARAMETERS["claimKey"]["minLength"]
        assert key(**self.CLAIM, claimKeyMode="keep") == key() == []
        assert app_settings(**self.CLAIM) == app_settings(**self.CLAIM, claimKeyMode="keep")

    def test_what_is_noted_of_a_claim_goes(self) -> None:
        """The function's storage forgets used claims after a week, and nothing else."""
        found = of("Storage/storageAccounts/managementPolicies", deployed(**self.CLAIM, taskLogsDays=0))
        (policy,) = [each for each in found if each["name"].startswith("runnersprdsto")]
        (rule,) = policy["properties"]["policy"]["rules"]
        assert rule["definition"]["filters"]["prefixMatch"] == ["runner-claims/"]
        assert rule["definition"]["actions"] == {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 7}}}


def complete() -> dict[str, str]:
    """Return the app settings of a default deployment, with values where only Azure knows them."""
    values = {
        "BatchAccountUrl": "https://a.westeurope.batch.azure.com", "ContainerRegistryServer": "a.azurecr.io",
        "GithubWebhookSecret": "secret", "GithubToken": "token",
    }  # fmt: skip
    return app_settings(githubToken="t") | values


class TestFunction:
    """The function and its settings."""

    def test_the_plan(self) -> None:
        """It runs on Flex Consumption with the Python it was tested on, and its code comes from a package."""
        found = deployed()
        assert of("Web/serverfarms", found)[0]["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
        runtime = of("Web/sites", found)[0]["properties"]["functionAppConfig"]["runtime"]
        assert runtime == {"name": "python", "version": (ARM.parent / ".python-version").read_text().strip()}
        (deploy,) = of("Web/sites/extensions", found)
        assert deploy["name"].endswith("/onedeploy")
        assert deploy["properties"]["packageUri"] == PARAMETERS["packageUri"]["defaultValue"]
        assert not of("Web/sites/extensions", deployed(packageUri=""))

    def test_hook_ranges(self) -> None:
        """Template, form and function let in the same addresses of GitHub's, as long as nobody has asked it."""
        shipped = list(map(str, SHIPPED_HOOK_RANGES))
        assert PARAMETERS["githubHookIpRanges"]["defaultValue"] == shipped
        form = (ARM / "createUiDefinition.json").read_text(encoding="utf-8")
        assert f'"defaultValue": "{",".join(shipped)}"' in form

    def test_the_package_is_that_of_a_tag(self) -> None:
        """The default package stays the same until somebody names another."""
        version = re.search(
            r'^version = "(.+)"', (ARM.parent / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert version is not None
        assert f"/releases/download/v{version[1]}/" in PARAMETERS["packageUri"]["defaultValue"]

    def test_every_setting_is_known(self) -> None:
        """Each app setting means something to the orchestrator or the Functions host."""
        given: dict[str, Any] = {"operatorIpRanges": ["192.0.2.0/24"], "alwaysReadyInstances": 1}
        given["runnerRegistration"] = "claim"
        settings = app_settings(
            **dict.fromkeys(SECRETS, "s" * 16), githubAppId="1", **given, **TestCompanyNetwork.GIVEN
        )
        names = {name.partition("__")[0] for name in settings}
        assert names - HOST_SETTINGS <= SETTINGS
        assert "AzureWebJobsStorage" not in settings

    def test_the_settings_are_enough(self) -> None:
        """With what the template sets, with either credential, the orchestrator finds nothing missing."""
        pem = "-----BEGIN RSA PRIVATE KEY-----\nMAYCAQACAQA=\n-----END RSA PRIVATE KEY-----"
        token = complete()
        app = {name: value for name, value in token.items() if name != "GithubToken"}
        for environment in (token, app | {"GithubAppId": "1", "GithubAppPrivateKey": pem}):
            loaded = Settings.from_environment(environment)
            assert loaded.batch_account_key is None
            windows = {(profile.launch, profile.registration) for profile in loaded.profiles if profile.os == "windows"}
            assert windows == {("docker", "jit")}  # a Windows job could read a token

    @pytest.mark.parametrize(
        ("registration", "taken"),
        [("token", {"token", "jit"}), ("jit", {"jit"}), ("claim", {"claim"})],
    )
    def test_every_registration_is_enough(self, registration: str, taken: set[str]) -> None:
        """In each mode nothing is missing; a Windows runner has what the others have, but never a token."""
        claims = {"ClaimKey": "k" * 32, "ClaimUrl": "https://a.test/api/ClaimRunner", "ClaimSources": "192.0.2.1/32"}
        known = complete() | (claims if registration == "claim" else {})
        chosen = app_settings(runnerRegistration=registration)
        assert chosen.keys() <= known.keys() | {"GithubToken"}
        loaded = Settings.from_environment(known | {"RunnerRegistration": chosen["RunnerRegistration"]})
        assert {profile.registration for profile in loaded.profiles} == taken

    def test_own_settings_win(self) -> None:
        """The parameter `appSettings` wins over what the template sets."""
        assert app_settings(appSettings={"PoolBoost": "mine", "RunnerScope": "repository"})["PoolBoost"] == "mine"

    def test_an_instance_that_is_kept_ready_is_warm(self) -> None:
        """With instances that are always ready the function is told to warm up."""
        assert app_settings(alwaysReadyInstances=1)["WarmUp"] == "true"
        scale = only("Web/sites", alwaysReadyInstances=1)["functionAppConfig"]["scaleAndConcurrency"]
        assert scale["alwaysReady"] == [{"name": "http", "instanceCount": 1}]
        assert "WarmUp" not in app_settings()


class TestGovernance:
    """What a platform team asks for."""

    def test_logs(self) -> None:
        """Batch, reads of the vault and of kept output, and writing the package are logged, unless told not to."""
        logged = {
            each["scope"].split("/")[8]: [log["category"] for log in each["properties"]["logs"]]
            for each in of("Insights/diagnosticSettings", deployed())
        }
        assert len(logged) == 4
        categories = sorted(category for each in logged.values() for category in each)
        assert categories == [
            "AuditEvent", "AuditLog", "ServiceLog", "StorageDelete", "StorageDelete", "StorageRead", "StorageWrite",
        ]  # fmt: skip
        assert not of("Insights/diagnosticSettings", deployed(diagnosticLogs=False))

    def test_zones(self) -> None:
        """With zoneRedundant all that can be is spread over the zones."""
        found = deployed(zoneRedundant=True)
        assert of("Storage/storageAccounts", found)[0]["sku"] == {"name": "Standard_ZRS"}
        assert of("ContainerRegistry/registries", found)[0]["properties"]["zoneRedundancy"] == "Enabled"
        assert of("Web/serverfarms", found)[0]["properties"]["zoneRedundant"] is True
        assert of("Network/publicIPAddresses", found)[0]["zones"] == ["1", "2", "3"]

    def test_a_lock(self) -> None:
        """A lock against deletion is there when asked for."""
        assert only("Authorization/locks", resourceLock=True)["level"] == "CanNotDelete"
        assert not of("Authorization/locks", deployed())


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
    # A host's key would open the operators' routes to whoever reads the webhook's address.
    scope = Scope(TEMPLATE, {"appName": "runners", "githubWebhookSecret": "s" * 16})
    command = shlex.split(evaluated(outputs["webhookKeyCommand"]["value"], scope.functions))
    function = f"{GROUP}/providers/Microsoft.Web/sites/runners-prd-fun-uniqu/functions/ProvideActionsRunner"
    assert command[:6] == ["az", "rest", "--method", "post", "--url", f"{function}/listkeys?api-version=2024-04-01"]
    assert command[6:] == ["--query", "default", "--output", "tsv"]
    assert "listKeys" not in json.dumps(outputs)
    # A deployment fails at an output that asks for what is not there, and a network that is kept may have no address.
    assert "if(and(variables('writesNetwork'), variables('newNat')), reference(" in outputs["egressAddress"]["value"]


def test_the_parameters_file() -> None:
    """It gives all that has no default, nothing unknown, and in a secret's place only what the template refuses."""
    required = {name for name, parameter in PARAMETERS.items() if "defaultValue" not in parameter}
    assert required <= set(PARAMETERS_FILE) <= set(PARAMETERS)
    for name in SECRETS & set(PARAMETERS_FILE):
        assert len(PARAMETERS_FILE[name]["value"]) < PARAMETERS[name].get("minLength", 0)


class TestAlerts:
    """What tells operators that something is wrong, and shows them how it goes."""

    GROUP = f"{IDS}/Microsoft.Insights/actionGroups/operators"

    def rules(self, **given: Any) -> dict[str, dict[str, Any]]:
        """Return the properties of the alert rules, by their names without the deployment's."""
        found = of("Insights/scheduledQueryRules", deployed(actionGroupId=self.GROUP, **given))
        return {rule["name"].removeprefix("runners-prd-"): rule["properties"] for rule in found}

    def test_none_without_somebody(self) -> None:
        """Without an action group there are no alerts, and the workbook is there all the same."""
        found = deployed()
        assert of("Insights/scheduledQueryRules", found) == []
        assert len(of("Insights/workbooks", found)) == 1

    def test_each_alert(self) -> None:
        """Each alert looks into this function's own log, calls the action group, and ends by itself."""
        rules = self.rules()
        assert set(rules) == {alert["name"] for alert in VARIABLES["alerts"]} == set(VARIABLES["alertQueries"])
        for rule in rules.values():
            assert len(rule["scopes"]) == 1
            assert rule["scopes"][0].endswith("/Microsoft.Insights/components/runners-prd-ai")
            assert rule["actions"] == {"actionGroups": [self.GROUP]}
            assert rule["autoMitigate"] is rule["enabled"] is True
            (criterion,) = rule["criteria"]["allOf"]
            assert criterion["query"].startswith("traces\n")
            assert rule["description"].endswith("docs/operating.md#alerts says what to do.")

    def test_one_evaluation_sees_what_the_one_before_could_not(self) -> None:
        """A window is longer than the time between two evaluations, so that a line that comes late is seen."""
        minutes = {"PT15M": 15, "PT30M": 30, "PT1H": 60, "P1D": 1440}
        for rule in self.rules().values():
            assert minutes[rule["windowSize"]] >= 2 * minutes[rule["evaluationFrequency"]]

    def test_conditions(self) -> None:
        """An alert is one line that ought not to be; the control loop's is a line that is missing."""
        for name, rule in self.rules().items():
            (criterion,) = rule["criteria"]["allOf"]
            expected = ("LessThan", 1) if name == "no-pass" else ("GreaterThan", 0)
            assert (criterion["timeAggregation"], criterion["operator"], criterion["threshold"]) == ("Count", *expected)
        assert self.rules()["refused-deliveries"]["overrideQueryTimeRange"] == "P1D"

    def test_how_long_a_job_may_wait(self) -> None:
        """The parameter's minutes are in the query, as seconds."""
        for minutes, seconds in ((30, 1800), (5, 300)):
            (criterion,) = self.rules(alertWaitMinutes=minutes)["waits"]["criteria"]["allOf"]
            assert f"\n| where longest_wait_s > {seconds}\n" in criterion["query"]

    def test_workbook(self) -> None:
        """The workbook opens on this function's own log, and its content is JSON."""
        properties = only("Insights/workbooks")
        content = json.loads(properties["serializedData"])
        assert content["version"] == properties["version"] == "Notebook/1.0"
        assert content["fallbackResourceIds"] == [properties["sourceId"]]
        assert properties["sourceId"].endswith("/components/runners-prd-ai")
        names = [item["name"] for item in content["items"]]
        assert len(names) == len(set(names))
        assert {item["type"] for item in content["items"]} == {3, 9}
