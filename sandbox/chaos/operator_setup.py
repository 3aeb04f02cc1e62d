"""How an operator sets it all up: repositories, credentials and a webhook at GitHub, and the app settings to match."""

import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.batch import Batch
from sandbox.chaos.door import CONTAINER_ADDRESS
from sandbox.chaos.options import Options
from sandbox.chaos.scenarios import STRANGER
from sandbox.chaos.workload import GREEDY, ORGANIZATION, OUTSIDE, PUBLIC, repositories
from sandbox.github import GitHub
from sandbox.github.model import Scope

WEBHOOK = "http://function"
LINUX_POOL, WINDOWS_POOL = "batchLinux", "batchWindows"
SECRET_SETTINGS = frozenset(
    {"AzureWebJobsStorage", "BatchAccountKey", "ClaimKey", "GithubWebhookSecret", "GithubToken", "GithubAppPrivateKey"}
)
# What the scenarios make of `AllowedOrganizations`. Without the setting, the account that owns the App is served.
ALLOWED = {"greedy": f"{ORGANIZATION},{GREEDY}"}


def set_up(
    options: Options, github: GitHub, batch: Batch, *, batch_url: str, storage: str, door_url: str
) -> dict[str, str]:
    """Set GitHub up and return the app settings.

    Args:
        options: say which modes.
        github: gets repositories, a runner group, credentials and the webhook.
        batch: the account to use.
        batch_url: where it is.
        storage: the connection string of the queues.
        door_url: where the function takes claims.
    """
    secret = secrets.token_hex(16)
    settings = {
        "AzureWebJobsStorage": storage,
        "BatchAccountUrl": batch_url,
        "BatchAccountName": batch.account,
        "BatchAccountKey": batch.key,
        "ContainerRegistryServer": "acme.azurecr.io",
        "UbuntuPool": LINUX_POOL,
        "WindowsPool": WINDOWS_POOL,
        "GithubApiUrl": github.url,
        "GithubWebhookSecret": secret,
        "RunnerRegistration": options.registration,
        "RunnerScope": "repository" if options.per_repository else "organization",
    }
    if options.registration == "claim":
        settings["ClaimKey"] = secrets.token_hex(32)
        settings["ClaimUrl"] = f"{door_url}/api/ClaimRunner"
        settings["ClaimSources"] = CONTAINER_ADDRESS
    if options.boost:
        settings["PoolBoost"] = "resize"
    outside = "outside" in options.scenarios
    names = repositories(options.repositories)
    for name in (*names, PUBLIC, *([OUTSIDE] if outside else [])):
        github.add_repository(name, private=name != PUBLIC)
    if not options.per_repository:
        # Like GitHub's own default group, and unlike the stand-in's: not for public repositories.
        for organization in (ORGANIZATION, *([GREEDY] if "greedy" in options.scenarios else [])):
            admitted = names if outside else None
            scope = Scope("organization", organization)
            github.add_runner_group(scope, "internal", public=False, repositories=admitted)
        settings["RunnerGroup"] = "internal"
    return settings | (_app(options, github, secret) if options.app else _token(options, github, secret))


def _app(options: Options, github: GitHub, secret: str) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    app = github.add_app(public.decode())
    github.install(app, ORGANIZATION)
    for scenario, organization in (("stranger", STRANGER), ("greedy", GREEDY)):
        if scenario in options.scenarios:
            github.install(app, organization)
    github.add_hook(WEBHOOK, secret, app=app)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    settings = {"GithubAppId": str(app.id), "GithubAppPrivateKey": private.decode()}
    for scenario in options.scenarios & ALLOWED.keys():
        settings["AllowedOrganizations"] = ALLOWED[scenario]
    return settings


def _token(options: Options, github: GitHub, secret: str) -> dict[str, str]:
    token = f"ghp_{secrets.token_hex(18)}"
    github.add_token(token)
    github.add_hook(WEBHOOK, secret, scope=Scope("organization", ORGANIZATION))
    # A token does not tell whose repositories there are, and whoever deletes the Batch job deletes what tasks told.
    if options.repositories:
        return {"GithubToken": token, "AllowedOrganizations": ORGANIZATION}
    return {"GithubToken": token, "ReconcileRepositories": ",".join(repositories(0))}
