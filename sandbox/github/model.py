"""The things GitHub Actions is made of: repositories, scopes, runs, jobs, runners and what happens to them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

type JobStatus = Literal["waiting", "queued", "in_progress", "completed"]
type EventKind = Literal[
    "waiting",
    "queued",
    "assigned",
    "requeued",
    "in_progress",
    "completed",
    "runner_registered",
    "runner_online",
    "runner_offline",
    "runner_removed",
]

# The kinds of event that GitHub tells the outside about (`workflow_job` actions).
WEBHOOK_KINDS = frozenset({"waiting", "queued", "in_progress", "completed"})

CONCLUSIONS = frozenset({"success", "failure", "skipped", "cancelled", "action_required", "neutral", "timed_out"})

# What GitHub says when a limit other than the hour's requests is reached.
SECONDARY_LIMIT = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


class Refusal(Exception):
    """The model refuses; the edge answers with this status and message.

    Attributes:
        status: the HTTP status that GitHub answers.
        message: the `message` of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Repository:
    """A repository; its owner is an organization unless said otherwise."""

    id: int
    full_name: str
    private: bool = True
    owner_type: Literal["Organization", "User"] = "Organization"
    enterprise: str | None = None

    @property
    def owner(self) -> str:
        """The login of the organization or user."""
        return self.full_name.split("/")[0]

    @property
    def name(self) -> str:
        """The name without its owner."""
        return self.full_name.split("/")[1]


@dataclass(frozen=True)
class Scope:
    """Where runners and hooks belong: one repository, one organization or one enterprise. Names ignore case."""

    kind: Literal["repository", "organization", "enterprise"]
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.lower())

    @classmethod
    def of_url(cls, url: str) -> "Scope":
        """Read the scope from the address a runner is given (`…/owner/repo`, `…/org`, `…/enterprises/name`).

        Raises:
            Refusal: 404, the address names none of them.
        """
        parts = [part for part in urlsplit(url).path.split("/") if part]
        match parts:
            case ["enterprises", name]:
                return cls("enterprise", name)
            case [owner, name]:
                return cls("repository", f"{owner}/{name}")
            case [organization]:
                return cls("organization", organization)
        raise Refusal(404, "Not Found")

    def covers(self, repository: Repository) -> bool:
        """Whether what is registered here serves the repository."""
        match self.kind:
            case "repository":
                return self.name == repository.full_name.lower()
            case "organization":
                return self.name == repository.owner.lower()
        return repository.enterprise is None or self.name == repository.enterprise.lower()


@dataclass(frozen=True)
class RunnerGroup:
    """Which repositories may use the runners of a group.

    Attributes:
        repositories: full names (lower case); None for all.
        restricted: whether it says that it is for some workflows only.
    """

    id: int
    name: str
    public: bool = True
    repositories: frozenset[str] | None = None
    restricted: bool = False

    def admits(self, repository: Repository) -> bool:
        """Whether the group's runners may run jobs of the repository."""
        if not repository.private and not self.public:
            return False
        return self.repositories is None or repository.full_name.lower() in self.repositories


@dataclass(frozen=True)
class JobPlan:
    """One job of a workflow file.

    Attributes:
        duration_s: how long a runner works on it, in seconds.
        environment: the protected environment it waits for, if any.
    """

    labels: tuple[str, ...]
    name: str = "build"
    duration_s: float = 0.1
    steps: tuple[str, ...] = ("Set up job", "Run the build", "Complete job")
    environment: str | None = None


@dataclass
class Job:
    """One attempt of one job."""

    id: int
    run_id: int
    run_attempt: int
    repository: Repository
    plan: JobPlan
    status: JobStatus
    created_at: float
    conclusion: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    assigned_at: float | None = None
    assigned_to: int | None = None
    runner_id: int | None = None
    runner_name: str | None = None
    runner_group: RunnerGroup | None = None

    @property
    def name(self) -> str:
        """The name of the job in its workflow."""
        return self.plan.name

    @property
    def labels(self) -> tuple[str, ...]:
        """What `runs-on` asks for."""
        return self.plan.labels

    @property
    def unassigned(self) -> bool:
        """Whether it is queued and no runner has been told to take it."""
        return self.status == "queued" and self.assigned_to is None


@dataclass
class Run:
    """One workflow run with the jobs of all its attempts."""

    id: int
    number: int
    repository: Repository
    workflow: str
    created_at: float
    attempt: int = 1
    jobs: list[Job] = field(default_factory=list)

    @property
    def latest(self) -> list[Job]:
        """The jobs of the latest attempt."""
        return [job for job in self.jobs if job.run_attempt == self.attempt]

    @property
    def status(self) -> JobStatus:
        """The status that follows from the jobs of the latest attempt."""
        found = {job.status for job in self.latest}
        if found == {"completed"}:
            return "completed"
        if "in_progress" in found or "completed" in found:
            return "in_progress"
        return "queued" if "queued" in found else "waiting"

    @property
    def conclusion(self) -> str | None:
        """The worst conclusion of the jobs, None while one of them has not ended."""
        if self.status != "completed":
            return None
        found = {job.conclusion for job in self.latest} - {"skipped", "neutral"}
        for worst in ("failure", "timed_out", "action_required", "cancelled"):
            if worst in found:
                return worst
        return "success" if found else "skipped"

    @property
    def updated_at(self) -> float:
        """When something last happened to one of its jobs."""
        times = [self.created_at]
        for job in self.jobs:
            times += [at for at in (job.created_at, job.started_at, job.completed_at) if at is not None]
        return max(times)


@dataclass(frozen=True)
class Label:
    """A label of a runner: `read-only` ones come from the runner itself, `custom` ones from its owner."""

    name: str
    type: Literal["read-only", "custom"] = "custom"


@dataclass(frozen=True)
class Registration:
    """What a runner says about itself when it registers.

    Attributes:
        group: name or id of its group; None for the default one.
        replace: take the place of a runner of the same name instead of being refused.
        jit: made by `generate-jitconfig`; such a runner is always ephemeral.
    """

    name: str
    labels: tuple[Label, ...]
    group: str | int | None = None
    os: str = "unknown"
    ephemeral: bool = False
    replace: bool = False
    version: str | None = None
    jit: bool = False


@dataclass
class Runner:
    """A registered self-hosted runner."""

    id: int
    scope: Scope
    registration: Registration
    group: RunnerGroup
    created_at: float
    secret: str = field(repr=False)
    online: bool = False
    listening: bool = False
    busy: bool = False
    job_id: int | None = None
    last_seen: float | None = None

    @property
    def name(self) -> str:
        """The name, unique in its scope."""
        return self.registration.name

    @property
    def labels(self) -> tuple[Label, ...]:
        """Its labels."""
        return self.registration.labels

    @property
    def ephemeral(self) -> bool:
        """Whether it leaves after one job."""
        return self.registration.ephemeral or self.registration.jit

    def matches(self, labels: Iterable[str]) -> bool:
        """Whether it has every one of these labels, case aside."""
        own = {label.name.lower() for label in self.labels}
        return all(label.lower() in own for label in labels)

    def serves(self, job: Job) -> bool:
        """Whether GitHub may give it the job: scope, group and labels fit."""
        return self.scope.covers(job.repository) and self.group.admits(job.repository) and self.matches(job.labels)


@dataclass(frozen=True)
class Event:
    """Something that happened, with copies of what it happened to as it was then."""

    at: float
    kind: EventKind
    job: Job | None = None
    runner: Runner | None = None
