"""Which runner serves which labels, for which repositories (pure).

A profile serves a job when it offers ALL of the job's labels, compared without case: a runner gets a job under the same
rule (GitHub docs, "Using self-hosted runners in a workflow"). GitHub does not ask for `self-hosted` among them, so a
job without it is taken too, unless its labels may mean one of GitHub's own machines. Of a profile that names
repositories the job's must be one. The first profile that takes a job wins.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from orchestrator.config.container import Environment
from orchestrator.config.runner_version import RunnerVersion

SELF_HOSTED = "self-hosted"
# GitHub docs, "GitHub-hosted runners reference": the labels of GitHub's own machines begin like this.
HOSTED_PREFIXES = ("ubuntu-", "windows-", "macos-")
# No limit on the number of runners is higher.
MOST_RUNNERS = 100_000

# Labels are chosen by whoever writes a workflow and end up in environment variables and command lines, so only
# characters pass that mean nothing to any shell, separator or path.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,99}")

# What is served without `RunnerProfiles`: system, base of the image's tag, labels.
# ubuntu-latest stands first, so that a job that asks for no more than self-hosted gets Linux. A Windows container needs
# a host of its own release, and the template's is 2022: the other releases are for pools and profiles of one's own.
_DEFAULTS: tuple[tuple[Literal["linux", "windows"], str, tuple[str, ...]], ...] = (
    ("linux", "ubuntu-24.04", ("ubuntu-latest", "ubuntu-24.04")),
    ("linux", "ubuntu-22.04", ("ubuntu-22.04",)),
    ("linux", "ubuntu-20.04", ("ubuntu-20.04",)),
    ("linux", "ubuntu-18.04", ("ubuntu-18.04",)),
    ("windows", "windows-core-ltsc2022", ("windows-latest", "windows-2022")),
)

# (A length in the pattern itself, like {0,99}, would make compiling it the longest part of a cold start.)
type ProfileLabel = Annotated[str, Field(pattern=r"^[A-Za-z0-9*?][A-Za-z0-9._:=+/@*?-]*$", max_length=100)]
type PoolId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)]
type System = Literal["linux", "windows"]
type Architecture = Literal["x64", "arm64"]
type Launch = Literal["batch", "docker"]
type Priority = Literal["low", "normal", "high"]
type RepositoryGlob = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*?-]+/[A-Za-z0-9._*?-]+$", max_length=201)]
type SelfHosted = Literal["required", "optional"]
# How a runner gets its registration: it registers itself with a token, it is registered beforehand (JIT), or its
# container asks for that when it starts (claim).
type RegistrationKind = Literal["token", "jit", "claim"]
type MaxHours = Annotated[float, Field(gt=0, le=120)]
type IdleMinutes = Annotated[float, Field(gt=0, le=1440)]
# A group is named by an organization's owner, in any language; the runner takes it as one argument.
type GroupName = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f-][^\x00-\x1f\x7f]*$", max_length=100)]


class ProfileSetting(BaseModel):
    """A profile as it is written in `RunnerProfiles`; `Settings.profiles` has it with everything filled in.

    Attributes:
        name: what the profile is called in answers and logs.
        labels: what it offers beside `self-hosted`, its system and its architecture; `*` and `?` are wildcards.
        pool: id of the Azure Batch pool.
        image: container image; without a registry it is taken from `ContainerRegistryServer`.
        os: `linux` or `windows`: how Batch must start the container, and a label of every runner.
        arch: a label of every runner.
        self_hosted: whether a job must say `self-hosted`, where its other labels do not tell that it is ours.
        registration: how its runners get their registration; None for `RunnerRegistration`, but for `jit` on Windows
            where that is `token`.
        launch: who starts the container: `batch`, on a pool made for containers, or the task itself with `docker`; None
            for `WindowsLaunch` on Windows and `batch` on Linux.
        run_options: options for creating the container, beside `--rm`.
        environment: variables of the container, laid over `RunnerEnvironment`; nothing secret.
        slots: task slots that one runner takes on its node.
        priority: `high` runners start before the others that wait for the pool, `low` ones after them.
        max_hours: wall-clock limit of one runner; None for `JobMaxHours`.
        idle_minutes: how long a runner waits for a job; None for `RunnerIdleMinutes`.
        runner_group: None for `RunnerGroup`.
        runner_version: of the runner in the image; None for `RunnerVersion`.
        repositories: globs on `owner/name`: whose jobs it serves; none for every repository's.
        max_runners: how many of its runners may wait and run at once; None for any number. See `quotas.rule`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    labels: Annotated[tuple[ProfileLabel, ...], Field(max_length=50)] = ()
    pool: PoolId
    image: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=255)]
    os: System = "linux"
    arch: Architecture = "x64"
    self_hosted: SelfHosted = "required"
    registration: RegistrationKind | None = None
    launch: Launch | None = None
    run_options: Annotated[str, Field(max_length=1000)] = ""
    environment: Environment = {}
    slots: Annotated[int, Field(ge=1, le=256)] = 1
    priority: Priority = "normal"
    max_hours: MaxHours | None = None
    idle_minutes: IdleMinutes | None = None
    runner_group: GroupName | None = None
    runner_version: RunnerVersion | None = None
    repositories: Annotated[tuple[RepositoryGlob, ...], Field(max_length=100)] = ()
    max_runners: Annotated[int, Field(ge=1, le=MOST_RUNNERS)] | None = None

    @field_validator("run_options")
    @classmethod
    def _leaves_the_entrypoint_first(cls, options: str) -> str:
        """Refuse what would put another process before the image's entrypoint: a job could read its environment."""
        for option in options.split():
            if option.partition("=")[0] in ("--init", "--entrypoint"):
                raise ValueError("may hold neither --init nor --entrypoint: jobs could read the runner's registration")
        return options

    @model_validator(mode="after")
    def _has_something_to_match(self) -> Self:
        if any(label.strip("*?") == "" for label in self.labels):
            raise ValueError("a label of wildcards alone would serve every job")
        return self


@dataclass(frozen=True)
class Profile:
    """One kind of runner: the labels it offers, and the pool, image and limits it runs with.

    Attributes:
        name: what the profile is called in answers and logs.
        labels: what it offers beside `self-hosted`, its system and its architecture; `*` and `?` are wildcards.
        pool: id of the Azure Batch pool.
        image: container image, with its registry.
        os: how Batch must start the container, and a label of every runner.
        arch: a label of every runner.
        self_hosted: whether a job must say `self-hosted`, where its other labels do not tell that it is ours.
        registration: how its runners get their registration.
        launch: who starts the container: `batch`, on a pool made for containers, or the task itself with `docker`.
        run_options: options for creating the container, beside `--rm`.
        slots: task slots that one runner takes on its node.
        priority: `high` runners start before the others that wait for the pool, `low` ones after them.
        max_hours: wall-clock limit of one runner.
        idle_minutes: how long a runner waits for a job.
        runner_group: the runner group's name; None for GitHub's default group.
        runner_version: version of the runner in the image.
        repositories: globs on `owner/name`, in lower case: whose jobs it serves; none for every repository's.
        max_runners: how many of its runners may wait and run at once; None for any number.
        environment: variables of the container; nothing secret.
    """

    name: str
    labels: tuple[str, ...]
    pool: str
    image: str
    os: System
    arch: Architecture
    self_hosted: SelfHosted
    registration: RegistrationKind
    launch: Launch
    run_options: str
    slots: int
    max_hours: float
    idle_minutes: float
    runner_group: str | None
    runner_version: str
    priority: Priority = "normal"
    repositories: tuple[str, ...] = ()
    max_runners: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def offered(self) -> tuple[str, ...]:
        """Every label or glob, the three that each runner of its kind has first."""
        return (SELF_HOSTED, self.os, self.arch, *self.labels)

    def serves(self, labels: Iterable[str]) -> bool:
        """Whether a runner of this profile offers all of a job's labels."""
        left = {label.lower() for label in labels} - self._literals
        return all(any(fnmatch.fnmatchcase(label, glob) for glob in self._globs) for label in left)

    def missing(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return those of a job's labels that a runner of this profile does not offer."""
        return tuple(label for label in labels if not self.serves([label]))

    @cached_property
    def _literals(self) -> frozenset[str]:
        """What it offers without a wildcard, in lower case; kept, because every delivery asks every profile."""
        return frozenset(offer.lower() for offer in self.offered if not set("*?") & set(offer))

    @cached_property
    def _globs(self) -> tuple[str, ...]:
        return tuple(offer.lower() for offer in self.offered if set("*?") & set(offer))

    def is_for(self, repository: str) -> bool:
        """Whether it serves jobs of this repository (`owner/name`), whatever the case."""
        if not self.repositories:
            return True
        name = repository.lower()
        return any(fnmatch.fnmatchcase(name, glob) for glob in self.repositories)

    def takes(self, labels: Sequence[str]) -> bool:
        """Whether a job with these labels is for this profile: it serves them, and they do not mean another runner.

        A job without labels names a runner group alone, and nobody can tell whose runners that means.
        """
        if not labels or not self.serves(labels):
            return False
        return self.self_hosted == "optional" or asks_for_self_hosted(labels) or self._spells_out_one_of(labels)

    def _spells_out_one_of(self, labels: Iterable[str]) -> bool:
        """Whether one of the labels stands in the profile as it is, and no machine of GitHub's has such a label."""
        return any(label.lower() in self._own_words for label in labels)

    @cached_property
    def _own_words(self) -> frozenset[str]:
        """Its labels, in lower case, without those that a machine of GitHub's may have."""
        lowered = (label.lower() for label in self.labels)
        return frozenset(label for label in lowered if not label.startswith(HOSTED_PREFIXES))

    def runner_labels(self, job_labels: Sequence[str]) -> tuple[str, ...]:
        """Return the labels a runner for this job registers with.

        All that the profile spells out, so that any runner of a profile serves any of its jobs (GitHub hands a job to
        any idle runner that matches, not to the one started for it), and those of the job that only a glob covers.
        """
        literal = [offer for offer in self.offered if not set("*?") & set(offer)]
        known = {label.lower() for label in literal}
        own = {label.lower(): label for label in job_labels if label.lower() not in known}
        return (*literal, *own.values())


def unacceptable_label(labels: Iterable[str]) -> str | None:
    """Return the first label with characters that no runner of ours is started with, or None."""
    return next((label for label in labels if not _LABEL.fullmatch(label)), None)


def asks_for_self_hosted(labels: Iterable[str]) -> bool:
    """Whether a job wants a self-hosted runner at all."""
    return any(label.lower() == SELF_HOSTED for label in labels)


def profile_for(profiles: Iterable[Profile], labels: Sequence[str], repository: str) -> Profile | None:
    """Return the first profile that takes a job with these labels of this repository (`owner/name`), or None."""
    return next((profile for profile in profiles if profile.is_for(repository) and profile.takes(labels)), None)


def groups_of_others(profiles: Sequence[Profile], repository: str) -> frozenset[str]:
    """Return the runner groups, in lower case, that only profiles of other repositories use.

    Args:
        profiles: all of them.
        repository: `owner/name`.
    """
    found = [(profile.runner_group.lower(), profile.is_for(repository)) for profile in profiles if profile.runner_group]
    return frozenset(group for group, _ in found) - {group for group, is_own in found if is_own}


def default_profiles(ubuntu_pool: str | None, windows_pool: str | None) -> tuple[ProfileSetting, ...]:
    """Return the profiles in force without `RunnerProfiles`: those whose pool is configured."""
    pools = {"linux": ubuntu_pool, "windows": windows_pool}
    return tuple(
        ProfileSetting(
            name=labels[0],
            labels=labels,
            pool=pool,
            image=f"githubactions-runner:{base}-actionsrunner",
            os=system,
        )
        for system, base, labels in _DEFAULTS
        if (pool := pools[system])
    )
