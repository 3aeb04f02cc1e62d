"""Every app setting, validated, in one object that is read once.

Azure hands app settings to the function as environment variables. An empty one counts as absent, as templates and the
portal leave such behind. What is wrong is collected and reported by the setting's name, never with its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_pascal

from orchestrator.config import forms
from orchestrator.config.allowed_sources import AllowedSources, Network, networks, proxy_networks, site_networks
from orchestrator.config.container import Environment, ca_mount, ca_variables, misleads_docker
from orchestrator.config.forms import CLAIM_ROUTE
from orchestrator.config.profiles import (
    MOST_RUNNERS,
    GroupName,
    IdleMinutes,
    Launch,
    MaxHours,
    PoolId,
    Profile,
    ProfileSetting,
    RegistrationKind,
    default_profiles,
)
from orchestrator.config.runner_version import PINNED, RunnerVersion
from orchestrator.config.storage import STORAGE, FunctionStorage
from orchestrator.egress import Egress, certificates, no_proxy_entries
from orchestrator.errors import SettingsError

MIB = 1024 * 1024
PUBLIC_API = "https://api.github.com"

# The literal text that an app setting keeps when Key Vault could not be read.
_UNRESOLVED = "@Microsoft.KeyVault("

# Settings of earlier releases that would leave a gap if they were ignored, and what to do instead.
_REPLACED = {
    "TrustedProxyCount": "is replaced by TrustedProxies: name the addresses of your proxies there, and remove this one"
}

# What is missing where a profile's containers claim their registration.
_CLAIMS_NEED = {
    "ClaimKey": "is missing: containers claim their registration, and this key signs the claims",
    "ClaimUrl": "is missing: containers claim their registration, and this site's own address is not known",
    "ClaimSources": "is missing: containers claim their registration; name the networks that they call from",
}

# The environment variable in which App Service tells a site its own host.
OWN_HOST = "WEBSITE_HOSTNAME"

_LOWER = BeforeValidator(str.lower)


@dataclass(frozen=True)
class TaskLogs:
    """Where Batch puts what a task has written, when it is over.

    Attributes:
        container_url: the blob container.
        identity: resource id of the user-assigned identity of the pools that may write there.
    """

    container_url: str
    identity: str


class Settings(BaseModel):
    """The app settings. A field's alias is the setting's name: `max_request_bytes` is `MaxRequestBytes`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    batch_account_url: Annotated[str, AfterValidator(forms.batch_url)]
    batch_account_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    batch_account_key: Annotated[SecretStr, AfterValidator(forms.account_key)] | None = None
    container_registry_server: Annotated[str, AfterValidator(forms.registry)] | None = None
    ubuntu_pool: PoolId | None = None
    windows_pool: PoolId | None = None
    windows_launch: Annotated[Launch, _LOWER] = "batch"
    pool_boost: Annotated[Literal["off", "resize"], _LOWER] = "off"
    task_logs_container_url: Annotated[str, AfterValidator(forms.container_url)] | None = None
    task_logs_identity: Annotated[str, AfterValidator(forms.identity_id)] | None = None

    github_webhook_secret: SecretStr
    github_webhook_secret_previous: SecretStr | None = None
    github_token: Annotated[SecretStr, AfterValidator(forms.token)] | None = None
    github_app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    github_app_private_key: Annotated[SecretStr, AfterValidator(forms.app_key)] | None = None
    github_api_url: Annotated[str, AfterValidator(forms.url)] = PUBLIC_API
    github_url: Annotated[str, AfterValidator(forms.url)] | None = None
    github_enterprise: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None

    runner_scope: Annotated[Literal["organization", "repository", "enterprise"], _LOWER] = "organization"
    runner_registration: Annotated[RegistrationKind, _LOWER] = "token"
    claim_key: Annotated[SecretStr, AfterValidator(forms.claim_key)] | None = None
    claim_key_previous: Annotated[SecretStr, AfterValidator(forms.claim_key)] | None = None
    claim_url: Annotated[str, AfterValidator(forms.claim_url)] | None = None
    claim_sources: Annotated[tuple[Network, ...], BeforeValidator(networks)] = ()
    runner_group: GroupName | None = None
    runner_version: RunnerVersion = PINNED
    runner_profiles: Json[Annotated[tuple[ProfileSetting, ...], Field(min_length=1)]] | None = None
    runner_environment: Json[Environment] | None = None
    mount_ca_certificates: bool = False
    job_max_hours: MaxHours = 7
    runner_idle_minutes: IdleMinutes = 10

    allowed_sources: Annotated[AllowedSources, BeforeValidator(AllowedSources.parse)] = AllowedSources(github=True)
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(proxy_networks)] = ()
    site_hook_ranges: Annotated[tuple[Network, ...], BeforeValidator(site_networks)] = ()
    operator_sources: Annotated[tuple[Network, ...], BeforeValidator(networks)] = ()
    allowed_organizations: Annotated[tuple[str, ...], BeforeValidator(forms.logins)] = ()
    allowed_repositories: Annotated[tuple[str, ...], BeforeValidator(forms.globs)] = ()
    allow_public_repositories: bool = False
    max_runners_per_repository: Annotated[int, Field(ge=0, le=MOST_RUNNERS)] = 0
    reconcile_minutes: Annotated[int, Field(ge=1, le=10)] = 5
    reconcile_repositories: Annotated[tuple[str, ...], BeforeValidator(forms.repositories)] = ()
    max_request_bytes: Annotated[int, Field(ge=1, le=100 * MIB)] = MIB
    warm_up: bool = False

    https_proxy: Annotated[SecretStr, AfterValidator(forms.proxy)] | None = Field(default=None, alias="HTTPS_PROXY")
    no_proxy: Annotated[tuple[str, ...], BeforeValidator(no_proxy_entries)] = Field(default=(), alias="NO_PROXY")
    ca_certificates: Annotated[str, AfterValidator(certificates)] = ""

    azure_web_jobs_storage: FunctionStorage

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and validate the app settings.

        Raises:
            SettingsError: It names every setting that is missing or wrong.
        """
        present = {name: value for name, value in environment.items() if value.strip()}
        # As curl has it: these two are written either way, and the lower case comes first.
        present |= {name: present[name.lower()] for name in ("HTTPS_PROXY", "NO_PROXY") if name.lower() in present}
        names = [field.alias or "" for field in cls.model_fields.values()]
        unresolved = [
            (name, "is a Key Vault reference that could not be resolved: may the function's identity read the vault?")
            for name in present
            if name.partition("__")[0] in names and present[name].strip().startswith(_UNRESOLVED)
        ]
        if unresolved:
            raise SettingsError(unresolved)
        problems = [(name, advice) for name, advice in _REPLACED.items() if name in present]
        values: dict[str, object] = {name: present[name].strip() for name in names if name in present}
        if own_host := present.get(OWN_HOST):
            values.setdefault("ClaimUrl", f"https://{own_host.strip()}{CLAIM_ROUTE}")
        try:
            values[STORAGE] = FunctionStorage.from_environment(present)
        except ValidationError as error:
            problems += [(STORAGE, _reason(problem["msg"])) for problem in error.errors(include_input=False)]
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            known = [(_setting(problem["loc"]), _reason(problem["msg"])) for problem in found]
            problems = [problem for problem in known if problem[0] != STORAGE] + problems
        except SettingsError as error:
            problems = [*error.problems, *problems]
        if problems:
            raise SettingsError(problems)
        return settings

    @model_validator(mode="after")
    def _agree_with_each_other(self) -> Self:
        problems = self._contradictions() + self._misfits()
        if problems:
            raise SettingsError(problems)
        return self

    def _contradictions(self) -> list[tuple[str, str]]:
        problems: list[tuple[str, str]] = []
        if (self.github_app_id is None) != (self.github_app_private_key is None):
            missing = "GithubAppId" if self.github_app_id is None else "GithubAppPrivateKey"
            problems.append((missing, "is missing: a GitHub App needs GithubAppId and GithubAppPrivateKey"))
        elif self.github_app_id is None and self.github_token is None:
            problems.append(("GithubToken", "is missing (or set GithubAppId and GithubAppPrivateKey)"))
        if self.runner_scope == "enterprise":
            if self.github_enterprise is None:
                problems.append(("GithubEnterprise", "is missing: RunnerScope is enterprise"))
            if self.github_token is None:
                problems.append(("GithubToken", "is missing: a GitHub App cannot register enterprise runners"))
        if self.batch_account_key is not None and self.batch_account_name is None:
            problems.append(("BatchAccountName", "is missing: BatchAccountKey needs it"))
        if (self.task_logs_container_url is None) != (self.task_logs_identity is None):
            missing = "TaskLogsContainerUrl" if self.task_logs_container_url is None else "TaskLogsIdentity"
            problems.append((missing, "is missing: output is kept with TaskLogsContainerUrl and TaskLogsIdentity"))
        if self.batch_account_key is None and self.batch_account_url.startswith("http://"):
            problems.append(("BatchAccountKey", "is missing: Entra ID tokens are never sent over http://"))
        if self.runner_profiles is None and self.ubuntu_pool is None and self.windows_pool is None:
            problems.append(("UbuntuPool", "is missing (or set WindowsPool or RunnerProfiles)"))
        return problems

    def _misfits(self) -> list[tuple[str, str]]:
        """Return what the profiles lack, or may not have."""
        problems: list[tuple[str, str]] = []
        profiles = self._written_profiles()
        if self.container_registry_server is None and not all(_names_registry(one.image) for one in profiles):
            problems.append(("ContainerRegistryServer", "is missing: the profiles' images name no registry"))
        by_docker = [profile for profile in profiles if self._launch(profile) == "docker"]
        if any(misleads_docker(self._environment(profile)) for profile in by_docker):
            is_own = any(misleads_docker(profile.environment) for profile in by_docker)
            where = "RunnerProfiles" if is_own else "RunnerEnvironment"
            problems.append((where, "may not name PATH or DOCKER_… where the task itself calls Docker"))
        if any(self._registration(profile) == "claim" for profile in profiles):
            needed = {"ClaimKey": self.claim_key, "ClaimUrl": self.claim_url, "ClaimSources": self.claim_sources}
            problems += [(name, _CLAIMS_NEED[name]) for name, value in needed.items() if not value]
        return problems

    def _written_profiles(self) -> tuple[ProfileSetting, ...]:
        return self.runner_profiles or default_profiles(self.ubuntu_pool, self.windows_pool)

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """The runner profiles in order; other settings fill in what a profile leaves open."""
        return tuple(map(self._settled, self._written_profiles()))

    def _settled(self, written: ProfileSetting) -> Profile:
        image, with_ca = written.image, self.mount_ca_certificates
        return Profile(
            name=written.name,
            labels=written.labels,
            pool=written.pool,
            image=image if _names_registry(image) else f"{self.container_registry_server}/{image}",
            os=written.os,
            arch=written.arch,
            self_hosted=written.self_hosted,
            registration=self._registration(written),
            launch=self._launch(written),
            run_options=f"{ca_mount(written.os)} {written.run_options}".strip() if with_ca else written.run_options,
            environment=(ca_variables(written.os) if with_ca else {}) | self._environment(written),
            slots=written.slots,
            priority=written.priority,
            max_hours=written.max_hours or self.job_max_hours,
            idle_minutes=written.idle_minutes or self.runner_idle_minutes,
            runner_group=written.runner_group or self.runner_group,
            runner_version=written.runner_version or self.runner_version,
            repositories=tuple(glob.lower() for glob in written.repositories),
            max_runners=written.max_runners,
        )

    def _registration(self, written: ProfileSetting) -> RegistrationKind:
        if written.registration is not None:
            return written.registration
        # A Windows job can read what its runner registered with, so only the profile itself may choose a token.
        is_token = self.runner_registration == "token"
        return "jit" if written.os == "windows" and is_token else self.runner_registration

    def _launch(self, written: ProfileSetting) -> Launch:
        return written.launch or (self.windows_launch if written.os == "windows" else "batch")

    def _environment(self, written: ProfileSetting) -> dict[str, str]:
        return (self.runner_environment or {}) | written.environment

    def has_quota(self, profile: Profile) -> bool:
        """Whether the number of the profile's runners is limited, by whichever setting."""
        return bool(self.max_runners_per_repository or profile.max_runners)

    @cached_property
    def has_quotas(self) -> bool:
        """Whether the number of any profile's runners is limited."""
        return any(map(self.has_quota, self.profiles))

    @property
    def task_logs(self) -> TaskLogs | None:
        """Where the output of tasks is kept, if it is."""
        if self.task_logs_container_url is None or self.task_logs_identity is None:
            return None
        return TaskLogs(self.task_logs_container_url, self.task_logs_identity)

    @property
    def egress(self) -> Egress:
        """How calls to GitHub and Azure leave the network."""
        proxy = self.https_proxy.get_secret_value() if self.https_proxy is not None else None
        return Egress(proxy, self.no_proxy, self.ca_certificates)

    @property
    def github_credential(self) -> Literal["app", "token"]:
        """What GitHub is called with: the App where there is one, but no App may register an enterprise's runners."""
        return "token" if self.github_app_id is None or self.runner_scope == "enterprise" else "app"

    @cached_property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """The webhook secret, and the previous one while it is being replaced."""
        secrets = (self.github_webhook_secret, self.github_webhook_secret_previous)
        return tuple(secret.get_secret_value().encode() for secret in secrets if secret is not None)

    @cached_property
    def claim_keys(self) -> tuple[bytes, ...]:
        """The key that claims are signed with, and the previous one while it is being replaced."""
        keys = (self.claim_key, self.claim_key_previous) if self.claim_key is not None else ()
        return tuple(key.get_secret_value().encode() for key in keys if key is not None)

    @property
    def takes_claims(self) -> bool:
        """Whether containers may claim: while no profile does any more, those of earlier tasks still may."""
        return self.claim_key is not None and bool(self.claim_sources)

    @property
    def github_web_url(self) -> str:
        """Where people and runners find GitHub: `GithubUrl`, or what belongs to `GithubApiUrl`.

        Source: GitHub docs, REST API base URLs: `HOST/api/v3` on GHES, `api.TENANT.ghe.com` with data residency.
        """
        if self.github_url is not None:
            return self.github_url
        return self.github_api_url.removesuffix("/api/v3").replace("://api.", "://", 1)


def _names_registry(image: str) -> bool:
    """Whether an image reference starts with a registry's host, by Docker's own rule."""
    host, slash, _ = image.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def _setting(location: tuple[int | str, ...]) -> str:
    """Spell where a validation error lies: `RunnerProfiles[0].pool`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


def _reason(message: str) -> str:
    return "is missing" if message == "Field required" else message.removeprefix("Value error, ")
