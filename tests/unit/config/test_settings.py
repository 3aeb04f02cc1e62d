"""App settings: what is right, and how wrong ones are reported."""

import base64
import json

import pytest
from pydantic import SecretStr

from orchestrator.config.settings import Settings, TaskLogs
from orchestrator.errors import SettingsError
from tests.builders import environment, settings

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMAYCAQACAQA=\n-----END RSA PRIVATE KEY-----"
PROFILES = [{"name": "gpu", "labels": ["gpu", "run-*"], "pool": "gpuPool", "image": "my/gpu:1", "slots": 2}]


def problems(**changes: str) -> dict[str, str]:
    """Return what is wrong with these settings, by setting."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment(**changes))
    return dict(caught.value.problems)


def test_defaults() -> None:
    """What is not set has a value that refuses rather than allows."""
    found = settings()
    assert found.runner_scope == "organization"
    assert found.runner_registration == "token"
    assert found.allowed_sources.github
    assert not found.allowed_sources.networks
    assert not found.allow_public_repositories
    assert not found.warm_up
    assert found.max_request_bytes == 1024 * 1024
    assert (found.trusted_proxies, found.operator_sources) == ((), ())
    assert found.github_api_url == "https://api.github.com"


def test_allowed_organizations() -> None:
    """They are logins; a list that names nobody is wrong, because none at all would admit more."""
    assert settings(AllowedOrganizations="Acme, mona_corp").allowed_organizations == ("acme", "mona_corp")
    for wrong in (",", "acme/app", "acme mona", "*"):
        assert "logins" in problems(AllowedOrganizations=wrong)["AllowedOrganizations"]


def test_an_empty_setting_is_absent() -> None:
    """What a template left empty counts as not set."""
    assert settings(RunnerGroup=" ", GithubEnterprise="", MaxRequestBytes="").runner_group is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("acct.westeurope.batch.azure.com", "https://acct.westeurope.batch.azure.com"),
        ("https://acct.westeurope.batch.azure.com/", "https://acct.westeurope.batch.azure.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_batch_account_url(given: str, expected: str) -> None:
    """The URL comes with or without scheme, and without TLS only for a loopback address."""
    assert settings(BatchAccountUrl=given).batch_account_url == expected


@pytest.mark.parametrize(
    "given", ["http://10.0.0.1", "http://localhost.evil", "ftp://x", "https://u:p@x", "https://x?a=b"]
)
def test_wrong_batch_account_url(given: str) -> None:
    """Keys and tokens never go to a plain address or one that hides something."""
    assert "BatchAccountUrl" in problems(BatchAccountUrl=given)


def test_entra_id_needs_tls() -> None:
    """Without a key the account is reached with a token, which never goes over http."""
    assert "BatchAccountKey" in problems(BatchAccountUrl="http://127.0.0.1:1", BatchAccountKey="")
    assert settings(BatchAccountKey="").batch_account_key is None


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://github.acme.com/api/v3/", "https://github.acme.com"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_web_url_follows_the_api(api: str, web: str) -> None:
    """Where runners register follows from the API's address on every kind of GitHub."""
    assert settings(GithubApiUrl=api).github_web_url == web


def test_prices_are_no_concern_of_the_function() -> None:
    """A wrong `PoolPrices` does not make the function refuse its settings."""
    assert settings(PoolPrices="a typo") == settings()


POOLS_IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pools"


def test_where_output_is_kept() -> None:
    """A container and the identity that writes there; without them no output is kept."""
    assert settings().task_logs is None
    for url in ("https://logs.blob.core.windows.net/task-logs", "http://127.0.0.1:10000/devstoreaccount1/task-logs"):
        found = settings(TaskLogsContainerUrl=f"{url}/", TaskLogsIdentity=POOLS_IDENTITY).task_logs
        assert found == TaskLogs(url, POOLS_IDENTITY)


@pytest.mark.parametrize(
    ("changes", "setting", "words"),
    [
        ({"TaskLogsIdentity": ""}, "TaskLogsIdentity", "is missing"),
        ({"TaskLogsContainerUrl": ""}, "TaskLogsContainerUrl", "is missing"),
        ({"TaskLogsIdentity": "pools"}, "TaskLogsIdentity", "resource id"),
        ({"TaskLogsContainerUrl": "https://logs.blob.core.windows.net"}, "TaskLogsContainerUrl", "URL of a blob cont"),
        ({"TaskLogsContainerUrl": "https://logs.blob.core.windows.net/Logs"}, "TaskLogsContainerUrl", "URL of a blob"),
        ({"TaskLogsContainerUrl": "http://logs.example.com/logs"}, "TaskLogsContainerUrl", "loopback"),
        ({"TaskLogsContainerUrl": "https://h/logs?sv=1&sig=s3cret"}, "TaskLogsContainerUrl", "no user, query"),
    ],
)
def test_wrong_places_for_output(changes: dict[str, str], setting: str, words: str) -> None:
    """What is missing or wrong is named; an address with a signature is refused and not repeated."""
    right = {"TaskLogsContainerUrl": "https://h/logs", "TaskLogsIdentity": POOLS_IDENTITY}
    found = problems(**(right | changes))
    assert list(found) == [setting]
    assert words in found[setting]
    assert "s3cret" not in str(found)


def test_web_url_of_its_own() -> None:
    """`GithubUrl` wins over what would follow from the API's address."""
    assert settings(GithubUrl="https://git.acme.com/").github_web_url == "https://git.acme.com"


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        f"\n{PEM}\n",
        f"{PEM}\n".replace("\n", "\\n"),
        base64.b64encode(PEM.encode()).decode(),
    ],
)
def test_private_key(text: str) -> None:
    """The App's key comes as PEM, with escaped line ends, or in base64; `test_private_key` has every form."""
    found = settings(GithubToken="", GithubAppId="12", GithubAppPrivateKey=text)
    assert found.github_app_private_key == SecretStr(PEM + "\n")


@pytest.mark.parametrize(
    "text", ["secret", base64.b64encode(b"secret").decode(), PEM[:50], "-----BEGIN CERTIFICATE-----"]
)
def test_wrong_private_key(text: str) -> None:
    """What is not a private key is refused at start-up, without repeating it."""
    found = problems(GithubAppId="12", GithubAppPrivateKey=text)
    assert list(found) == ["GithubAppPrivateKey"]
    assert "secret" not in str(found)


def test_profiles_from_settings() -> None:
    """`RunnerProfiles` replaces the default profiles, and takes what it leaves open from the other settings."""
    found = settings(
        RunnerProfiles=json.dumps(PROFILES),
        RunnerGroup="Batch",
        JobMaxHours="3.5",
        RunnerIdleMinutes="4",
        UbuntuPool="",
    )
    (profile,) = found.profiles
    assert profile.image == "registry.azurecr.io/my/gpu:1"
    assert (profile.pool, profile.slots, profile.os) == ("gpuPool", 2, "linux")
    assert (profile.max_hours, profile.idle_minutes, profile.runner_group) == (3.5, 4, "Batch")


def test_what_starts_windows_containers() -> None:
    """`WindowsLaunch` is for the Windows profiles that say nothing themselves, default ones and others."""

    def launches(**changes: str) -> list[tuple[str, str | None]]:
        found = settings(WindowsPool="w", **changes)
        return sorted({(profile.os, profile.launch) for profile in found.profiles})

    own = json.dumps(
        [
            {"name": "a", "labels": ["a"], "pool": "w", "image": "i", "os": "windows"},
            {"name": "b", "labels": ["b"], "pool": "w", "image": "i", "os": "windows", "launch": "batch"},
            {"name": "c", "labels": ["c"], "pool": "l", "image": "i"},
        ]
    )
    assert launches() == [("linux", "batch"), ("windows", "batch")]
    assert launches(WindowsLaunch="Docker") == [("linux", "batch"), ("windows", "docker")]
    assert launches(WindowsLaunch="docker", RunnerProfiles=own) == [
        ("linux", "batch"), ("windows", "batch"), ("windows", "docker"),
    ]  # fmt: skip


def test_quotas() -> None:
    """Runners are limited by a setting, by the profile, or not at all: 0 is no limit."""
    limited = json.dumps([PROFILES[0] | {"maxRunners": 3}, PROFILES[0] | {"name": "other"}])
    found = settings(RunnerProfiles=limited)
    assert [profile.max_runners for profile in found.profiles] == [3, None]
    assert (found.has_quotas, [found.has_quota(profile) for profile in found.profiles]) == (True, [True, False])
    assert settings(MaxRunnersPerRepository="5").has_quotas
    assert not settings(MaxRunnersPerRepository="0").has_quotas
    assert list(problems(MaxRunnersPerRepository="-1")) == ["MaxRunnersPerRepository"]


def test_a_profile_keeps_its_own() -> None:
    """What a profile says itself wins over the other settings, its image's registry included."""
    own = {
        "image": "other.azurecr.io/x:1",
        "maxHours": 1,
        "idleMinutes": 2,
        "runnerGroup": "Own",
        "runOptions": "-m 2g",
    }
    found = settings(RunnerProfiles=json.dumps([PROFILES[0] | own]), RunnerGroup="Batch", ContainerRegistryServer="")
    (profile,) = found.profiles
    assert profile.image == "other.azurecr.io/x:1"
    assert (profile.max_hours, profile.idle_minutes, profile.runner_group) == (1, 2, "Own")
    assert profile.run_options == "-m 2g"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[", "RunnerProfiles"),
        ("[]", "RunnerProfiles"),
        ("{}", "RunnerProfiles"),
        ('[{"name": "a", "pool": "p"}]', "RunnerProfiles[0].image"),
        (json.dumps([*PROFILES, PROFILES[0] | {"pol": 1}]), "RunnerProfiles[1].pol"),
        (json.dumps([PROFILES[0] | {"labels": ["*"]}]), "RunnerProfiles[0]"),
        (json.dumps([PROFILES[0] | {"repositories": ["app"]}]), "RunnerProfiles[0].repositories[0]"),
        (json.dumps([PROFILES[0] | {"maxRunners": 0}]), "RunnerProfiles[0].maxRunners"),
        (json.dumps([PROFILES[0] | {"runOptions": "--cpus 2 --init"}]), "RunnerProfiles[0].runOptions"),
        (json.dumps([PROFILES[0] | {"runOptions": "--entrypoint=sh"}]), "RunnerProfiles[0].runOptions"),
    ],
)
def test_malformed_profiles(text: str, where: str) -> None:
    """A malformed profile is reported with its place in the list."""
    assert where in problems(RunnerProfiles=text)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"GithubWebhookSecret": ""}, "GithubWebhookSecret"),
        ({"BatchAccountUrl": ""}, "BatchAccountUrl"),
        ({"AzureWebJobsStorage": ""}, "AzureWebJobsStorage"),
        ({"AzureWebJobsStorage": "nonsense"}, "AzureWebJobsStorage"),
        ({"AzureWebJobsStorage": "", "AzureWebJobsStorage__queueServiceUri": "ftp://x"}, "AzureWebJobsStorage"),
        ({"GithubToken": ""}, "GithubToken"),
        ({"GithubAppId": "1"}, "GithubAppPrivateKey"),
        ({"GithubAppPrivateKey": PEM}, "GithubAppId"),
        ({"UbuntuPool": "", "WindowsPool": ""}, "UbuntuPool"),
        ({"UbuntuPool": "a/b"}, "UbuntuPool"),
        ({"ContainerRegistryServer": ""}, "ContainerRegistryServer"),
        ({"ContainerRegistryServer": "https://x/y"}, "ContainerRegistryServer"),
        ({"RunnerScope": "enterprise"}, "GithubEnterprise"),
        ({"GithubToken": "ghp_one\nghp_two"}, "GithubToken"),
        ({"GithubToken": "ghp_\u20ac"}, "GithubToken"),
        ({"RunnerScope": "team"}, "RunnerScope"),
        ({"RunnerRegistration": "magic"}, "RunnerRegistration"),
        ({"BatchAccountName": ""}, "BatchAccountName"),
        ({"BatchAccountKey": "???"}, "BatchAccountKey"),
        ({"AllowedSources": "everyone"}, "AllowedSources"),
        ({"AllowedRepositories": "acme"}, "AllowedRepositories"),
        ({"ReconcileRepositories": "acme/app,acme/*"}, "ReconcileRepositories"),
        ({"ReconcileRepositories": "acme/app,../app"}, "ReconcileRepositories"),
        ({"ReconcileRepositories": "acme/.."}, "ReconcileRepositories"),
        ({"ReconcileMinutes": "0"}, "ReconcileMinutes"),
        ({"AllowPublicRepositories": "perhaps"}, "AllowPublicRepositories"),
        ({"WarmUp": "perhaps"}, "WarmUp"),
        ({"MaxRequestBytes": "-1"}, "MaxRequestBytes"),
        ({"TrustedProxies": "10.0.0.1/8"}, "TrustedProxies"),
        ({"TrustedProxies": "10.0.0.0/8, github"}, "TrustedProxies"),
        ({"TrustedProxies": "10.0.0.4, 0.0.0.0/0"}, "TrustedProxies"),
        ({"TrustedProxies": ","}, "TrustedProxies"),
        ({"TrustedProxyCount": "1"}, "TrustedProxyCount"),
        ({"OperatorSources": "github"}, "OperatorSources"),
        ({"JobMaxHours": "0"}, "JobMaxHours"),
        ({"GithubApiUrl": "api.github.com"}, "GithubApiUrl"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], setting: str) -> None:
    """Each wrong or missing setting is reported by its own name."""
    assert list(problems(**changes)) == [setting]


def test_enterprise_runners_need_a_token() -> None:
    """A GitHub App cannot register runners of an enterprise, so that is said at start-up."""
    app = {"GithubAppId": "1", "GithubAppPrivateKey": PEM, "GithubToken": ""}
    assert list(problems(RunnerScope="enterprise", GithubEnterprise="acme", **app)) == ["GithubToken"]
    assert settings(RunnerScope="Enterprise", GithubEnterprise="acme").github_enterprise == "acme"


@pytest.mark.parametrize(
    "setting", ["GithubWebhookSecret", "GithubToken", "GithubWebhookSecretPrevious", "RunnerGroup"]
)
def test_unresolved_key_vault_reference(setting: str) -> None:
    """A Key Vault reference that could not be resolved is never taken for the secret itself."""
    found = problems(**{setting: "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"})
    assert list(found) == [setting]
    assert "vault.azure.net" not in str(found)


def test_the_number_of_proxies_is_refused_with_advice() -> None:
    """The setting that counted proxies is refused, beside whatever else is wrong, and the new one is named."""
    found = problems(TrustedProxyCount="0", BatchAccountName="")
    assert list(found) == ["BatchAccountName", "TrustedProxyCount"]
    assert "TrustedProxies" in found["TrustedProxyCount"]


def test_everything_wrong_is_said_at_once() -> None:
    """Whoever deploys sees all that is missing in one go."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"JobMaxHours": "x"})
    names = {setting for setting, _ in caught.value.problems}
    assert names == {"BatchAccountUrl", "GithubWebhookSecret", "AzureWebJobsStorage", "JobMaxHours"}


def test_no_value_is_ever_repeated() -> None:
    """Neither what is wrong nor the settings themselves show a secret."""
    secrets = {"GithubToken": "ghp_s3cret", "GithubWebhookSecret": "s3cret", "BatchAccountKey": "czNjcmV0"}
    storage = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=czNjcmV0"
    found = settings(AzureWebJobsStorage=storage, **secrets)
    assert "s3cret" not in repr(found) + str(found)
    assert "czNjcmV0" not in repr(found) + str(found)
    wrong = problems(
        BatchAccountKey="s3cret!", GithubAppPrivateKey="s3cret", AzureWebJobsStorage="s3cret", RunnerScope="s3cret"
    )
    assert "s3cret" not in str(wrong)


@pytest.mark.parametrize(
    ("changes", "uri"),
    [
        ({"AzureWebJobsStorage__accountName": "acct"}, "https://acct.queue.core.windows.net"),
        ({"AzureWebJobsStorage__queueServiceUri": "https://q.example/"}, "https://q.example"),
    ],
)
def test_storage_by_identity(changes: dict[str, str], uri: str) -> None:
    """The queue is found by the same settings that the Functions host reads."""
    found = settings(AzureWebJobsStorage="", AzureWebJobsStorage__clientId="id", **changes).azure_web_jobs_storage
    assert (found.connection_string, found.queue_service_uri, found.client_id) == (None, uri, "id")


def test_webhook_secrets_during_rotation() -> None:
    """While the secret is being replaced, both count; otherwise only the one."""
    assert settings(GithubWebhookSecretPrevious="old").webhook_secrets == (b"a-webhook-secret", b"old")
    assert settings().webhook_secrets == (b"a-webhook-secret",)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "app"),
        ({"RunnerScope": "repository"}, "app"),
        ({"RunnerScope": "enterprise", "GithubEnterprise": "big"}, "token"),
        ({"GithubAppId": "", "GithubAppPrivateKey": ""}, "token"),
    ],
)
def test_an_app_beside_a_token(app_keys: tuple[str, str], changes: dict[str, str], kind: str) -> None:
    """Where both are configured the App is used, but not for an enterprise's runners, which no App may register."""
    app = {"GithubAppId": "1", "GithubAppPrivateKey": app_keys[0]}
    assert settings(**{**app, **changes}).github_credential == kind


CLAIMING = {
    "RunnerRegistration": "claim",
    "ClaimKey": "k" * 32,
    "ClaimUrl": "https://f.example/api/ClaimRunner",
    "ClaimSources": "10.1.0.0/16",
}


def test_claims() -> None:
    """With key, address and sources every profile claims, those of Windows too."""
    found = settings(**CLAIMING, ClaimKeyPrevious="p" * 40)
    assert {profile.registration for profile in found.profiles} == {"claim"}
    assert found.claim_keys == (b"k" * 32, b"p" * 40)
    assert found.takes_claims
    assert "kkk" not in repr(found)


@pytest.mark.parametrize("missing", ["ClaimKey", "ClaimUrl", "ClaimSources"])
def test_claims_need_all_of_it(missing: str) -> None:
    """What claims need is asked for by its name, by the setting or by a profile; without sources nobody is let in."""
    own = json.dumps([PROFILES[0] | {"registration": "claim"}])
    for changes in ({}, {"RunnerRegistration": "token", "RunnerProfiles": own}):
        found = problems(**CLAIMING | changes | {missing: ""})
        assert list(found) == [missing]
        assert "containers claim their registration" in found[missing]


def test_without_claims() -> None:
    """Without a profile that claims nothing is needed; earlier tasks may claim while key and sources are set."""
    assert not settings().takes_claims
    assert settings(ClaimKeyPrevious="p" * 32).claim_keys == ()
    assert not settings(ClaimKey="k" * 32).takes_claims
    assert not settings(ClaimSources="10.0.0.0/8").takes_claims
    assert settings(ClaimKey="k" * 32, ClaimSources="10.0.0.0/8").takes_claims


@pytest.mark.parametrize("key", ["k" * 31, "k" * 31 + " ", "k" * 16 + " " + "k" * 16, "ü" * 32, "k\n" * 32])
def test_wrong_claim_key(key: str) -> None:
    """A key that can be guessed, or that is not what it seems, is refused without being told."""
    for name in ("ClaimKey", "ClaimKeyPrevious"):
        found = problems(**CLAIMING | {name: key})
        assert found == {name: "must have at least 32 printable characters, and no white space"}


def test_claim_url() -> None:
    """Containers claim at this site's own address, where Azure tells it and no other is set."""
    own = settings(**CLAIMING | {"ClaimUrl": ""}, WEBSITE_HOSTNAME="f.azurewebsites.net")
    assert own.claim_url == "https://f.azurewebsites.net/api/ClaimRunner"
    assert settings(**CLAIMING, WEBSITE_HOSTNAME="f.azurewebsites.net").claim_url == CLAIMING["ClaimUrl"]
    loopback = "http://127.0.0.1:7071/api/ClaimRunner"
    assert settings(**CLAIMING | {"ClaimUrl": loopback}).claim_url == loopback


@pytest.mark.parametrize(
    "url", ["http://f.example/api/ClaimRunner", "https://f.example", "f.example/x", "https://f/x?y=1"]
)
def test_wrong_claim_url(url: str) -> None:
    """A claim travels by TLS, to an address that the runner image takes."""
    assert list(problems(**CLAIMING | {"ClaimUrl": url})) == ["ClaimUrl"]


def test_wrong_claim_sources() -> None:
    """An entry that is no network is named by its place."""
    assert "entry 2" in problems(**CLAIMING | {"ClaimSources": "10.0.0.0/8, github"})["ClaimSources"]
