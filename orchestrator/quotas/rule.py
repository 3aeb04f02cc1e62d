"""How many runners a repository, or a profile, may have at once (pure).

A quota takes effect only where GitHub gives the runners in question to nobody else: where they register in the
repository itself, or in a runner group of the profile's own repositories. Elsewhere GitHub gives each runner to the
oldest job of whatever repository. A job that is held there would take the next runner of a repository that is within
its quota.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.scope import runner_scope
from orchestrator.runners.task import TaskState, job_key_of

# The group that every repository of a scope may use unless somebody limits it.
DEFAULT_GROUP = "default"
# How many holders of slots a reason names.
_NAMED = 5
_WHY_NOT = (
    "in an organization or enterprise, where other repositories may take the runners: set RunnerScope=repository, or "
    "give the profile `repositories` and a `runnerGroup` that admits no others"
)


@dataclass(frozen=True)
class Slot:
    """A runner that waits or runs, and the job it was started for.

    Attributes:
        task_id: its task.
        repository: the job's, `owner/name` in lower case.
        profile: the name of the profile that served the job.
    """

    task_id: str
    repository: str
    profile: str

    @property
    def job_key(self) -> str:
        """The id of the job's first task."""
        return job_key_of(self.task_id)


@dataclass(frozen=True)
class Quota:
    """A limit on runners that wait or run at the same time.

    Attributes:
        limit: how many there may be.
        repository: whose runners count, `owner/name` in lower case; None if a profile's do.
        profile: the profile whose runners count; None if a repository's do.
    """

    limit: int
    repository: str | None = None
    profile: str | None = None

    def counts(self, slot: Slot) -> bool:
        """Whether a slot is one of those that are limited."""
        return slot.repository == self.repository if self.profile is None else slot.profile == self.profile

    def reason(self, slots: Iterable[Slot]) -> str | None:
        """Return why no further runner may be started, and who has the slots; None if there is room for one."""
        holders = [slot for slot in slots if self.counts(slot)]
        if len(holders) < self.limit:
            return None
        if self.profile is None:
            whose, setting = self.repository, "MaxRunnersPerRepository"
            names = [slot.task_id for slot in holders]
        else:
            whose, setting = f"profile {self.profile}", "maxRunners"
            counted = Counter(slot.repository for slot in holders)
            names = [f"{repository} {count}" for repository, count in counted.most_common()]
        others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{whose} has {len(holders)} of {self.limit} runners ({setting}): {', '.join(names[:_NAMED])}{others}"


def slot_of(task: TaskState) -> Slot | None:
    """Return the slot that a task takes; None if it takes none, or does not say which job it was started for."""
    origin = task.notes.origin
    if task.state == "finished" or origin is None:
        return None
    return Slot(task.task_id, origin.event.repository.full_name.lower(), origin.profile)


def slots_of(tasks: Iterable[TaskState]) -> list[Slot]:
    """Return the slots that tasks take."""
    return [slot for task in tasks if (slot := slot_of(task)) is not None]


def quotas_of(event: WorkflowJobEvent, profile: Profile, settings: Settings) -> tuple[Quota, ...]:
    """Return the quotas that a job's runner counts against; none where they take no effect."""
    alone = runner_scope(event, settings).kind == "repository" or has_own_group(profile, settings.profiles)
    return _written_quotas(event, profile, settings) if alone else ()


def without_effect(event: WorkflowJobEvent, profile: Profile, settings: Settings) -> str | None:
    """Return which settings limit a job's runners in words only, and why; None if there are none."""
    if quotas_of(event, profile, settings) or not settings.has_quota(profile):
        return None
    return f"{_setting(profile, settings)} takes no effect {_WHY_NOT}"


def warnings(settings: Settings) -> list[str]:
    """Return what to warn of when the function starts: settings that limit nothing."""
    if settings.runner_scope == "repository":
        return []
    return [
        f"{_setting(profile, settings)} of profile {profile.name} takes no effect {_WHY_NOT}"
        for profile in settings.profiles
        if settings.has_quota(profile) and not has_own_group(profile, settings.profiles)
    ]


def limited_pools(settings: Settings) -> frozenset[str]:
    """Return the pools whose runners count against a quota."""
    return frozenset(profile.pool for profile in settings.profiles if settings.has_quota(profile))


def has_own_group(profile: Profile, profiles: Sequence[Profile]) -> bool:
    """Whether the profile's runners are in a runner group for its own repositories, by what the settings say.

    GitHub knows the group under any case of its name. Which repositories the group really admits, the operator decides
    at GitHub.
    """
    if not profile.repositories or profile.runner_group is None:
        return False
    group = profile.runner_group.lower()
    of_group = [other for other in profiles if other.runner_group is not None and other.runner_group.lower() == group]
    return group != DEFAULT_GROUP and all(set(other.repositories) == set(profile.repositories) for other in of_group)


def _setting(profile: Profile, settings: Settings) -> str:
    names = ["MaxRunnersPerRepository"] if settings.max_runners_per_repository else []
    return " and ".join([*names, "maxRunners"] if profile.max_runners else names)


def _written_quotas(event: WorkflowJobEvent, profile: Profile, settings: Settings) -> tuple[Quota, ...]:
    found = []
    if settings.max_runners_per_repository:
        repository = event.repository.full_name.lower()
        found.append(Quota(settings.max_runners_per_repository, repository=repository))
    if profile.max_runners is not None:
        found.append(Quota(profile.max_runners, profile=profile.name))
    return tuple(found)
