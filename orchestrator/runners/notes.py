"""The notes of a runner's task: every `GHR_*` variable, written and read in this one place (pure).

A task's environment is what the runner's container starts with, and it is also where the orchestrator keeps what it has
to know later: there is no database. The runner image reads the same names, see `runner-images/entrypoint/contract.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.clock import moment_of
from orchestrator.config.profiles import RegistrationKind
from orchestrator.jobs.event import WorkflowJobEvent

# The variable of a container's claim, which the function compares with the one it is asked with.
CLAIM = "GHR_CLAIM"
_SECRETS: Mapping[RegistrationKind, str] = {"token": "GHR_TOKEN", "jit": "GHR_JITCONFIG", "claim": CLAIM}
_EXPIRES_AT = "%Y-%m-%dT%H:%M:%SZ"


class Origin(BaseModel):
    """Where a task came from. Nothing of it is secret.

    Attributes:
        event: the job it was started for, as GitHub told of it.
        profile: the profile's name.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, regex_engine="python-re", defer_build=True
    )

    event: WorkflowJobEvent
    profile: str


@dataclass(frozen=True)
class TaskNotes:
    """What a task's environment says about its runner, without the secret.

    Attributes:
        url: where the runner registers.
        name: the runner's name.
        labels: those that it registers with.
        group: the runner group's name; None for GitHub's default group.
        idle_minutes: how long it waits for a job; None for the image's default.
        registration: how it gets its registration.
        expires_at: until when it can register, to the second; None if the task does not say.
        origin: the job it was started for; None if the task does not say.
        claim_url: where it claims its registration, if it does.
    """

    url: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    group: str | None = None
    idle_minutes: float | None = None
    registration: RegistrationKind = "token"
    expires_at: datetime | None = None
    origin: Origin | None = None
    claim_url: str | None = None

    def environment(self, secret: str) -> dict[str, str]:
        """Return the task's environment.

        Args:
            secret: the registration token, the JIT configuration or the claim.
        """
        variables = {
            "GHR_URL": self.url,
            "GHR_NAME": self.name,
            "GHR_LABELS": ",".join(self.labels),
            "GHR_GROUP": self.group,
            "GHR_EPHEMERAL": "true",
            "GHR_IDLE_MINUTES": None if self.idle_minutes is None else repr(self.idle_minutes).removesuffix(".0"),
            "GHR_EXPIRES_AT": None if self.expires_at is None else f"{self.expires_at.astimezone(UTC):{_EXPIRES_AT}}",
            "GHR_DELIVERY": None if self.origin is None else self.origin.event.delivery,
            "GHR_ORIGIN": None if self.origin is None else _written(self.origin),
            "GHR_CLAIM_URL": self.claim_url,
            _SECRETS[self.registration]: secret,
        }
        return {name: value for name, value in variables.items() if value is not None}

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "TaskNotes":
        """Read a task's environment; what is missing or malformed counts as not said."""
        return cls(
            url=environment.get("GHR_URL", ""),
            name=environment.get("GHR_NAME", ""),
            labels=tuple(label for label in environment.get("GHR_LABELS", "").split(",") if label),
            group=environment.get("GHR_GROUP"),
            idle_minutes=_number(environment.get("GHR_IDLE_MINUTES", "")),
            registration=next((kind for kind, name in _SECRETS.items() if name in environment), "token"),
            expires_at=_moment(environment.get("GHR_EXPIRES_AT", "")),
            origin=_origin(environment.get("GHR_ORIGIN", "")),
            claim_url=environment.get("GHR_CLAIM_URL"),
        )


# The notes of a task whose environment was not read, or says nothing.
SAYS_NOTHING = TaskNotes()


def _written(origin: Origin) -> str:
    # Without the job's name: whoever writes the workflow chooses it, and it may hold anything.
    return origin.model_dump_json(exclude_none=True, exclude={"event": {"workflow_job": {"name"}}})


def _origin(text: str) -> Origin | None:
    try:
        return Origin.model_validate_json(text)
    except ValidationError:
        return None


def _moment(text: str) -> datetime | None:
    try:
        return moment_of(text)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
