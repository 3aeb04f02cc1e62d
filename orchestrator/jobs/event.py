"""What GitHub says of a workflow job (pure).

Source: GitHub docs, "Webhook events and payloads", `workflow_job`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.clock import moment_of

EVENT = "workflow_job"
# Its actions that ask for a runner, or tell that one may be ended.
ACTIONS = ("queued", "completed")
# Characters of a label that are read; a profile's labels have no more than a hundred.
LABEL_LENGTH = 256

# Logins and repository names end up in URLs, so nothing else may pass; "." and ".." would climb.
_NAME = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]{1,100}"
type Login = Annotated[str, Field(pattern=rf"^{_NAME}\Z")]
type HookPath = Annotated[str, Field(pattern=rf"^/(?:orgs/{_NAME}|repos/{_NAME}/{_NAME})/hooks/[0-9]+\Z")]
# An enterprise's name in URLs.
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,100}")
type PositiveId = Annotated[int, Field(ge=1, lt=2**63)]


def _moment(value: object) -> datetime | None:
    """Read a time; None if it cannot be read, since no job shall stay without a runner for that."""
    if isinstance(value, datetime):
        return value
    try:
        return moment_of(str(value))
    except ValueError:
        return None


def _text(value: object, most: int) -> str | None:
    """Return a text that can be written anywhere, cut after so many characters; None if the value is no text."""
    return value[:most].encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _for_the_eye(most: int) -> BeforeValidator:
    """Take every value: a property that decides nothing must not refuse its job."""
    return BeforeValidator(lambda value: _text(value, most))


def _labels(value: object) -> object:
    """Read labels whatever they hold: what no profile may serve leaves its job alone and hides no other."""
    if value is None:
        return ()
    return [_text(label, LABEL_LENGTH) or "" for label in value] if isinstance(value, (list, tuple)) else value


type Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Payload(BaseModel):
    """A part of a webhook's body. GitHub adds properties without notice; those not named here are not looked at."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        regex_engine="python-re",
        defer_build=True,  # a refused delivery needs none of them
    )


class WorkflowJob(Payload):
    """The job that waits for a runner, or that is over."""

    id: PositiveId
    run_id: PositiveId
    run_attempt: PositiveId = 1
    name: Annotated[str | None, _for_the_eye(1000)] = None
    labels: Annotated[tuple[str, ...], BeforeValidator(_labels)]
    conclusion: Annotated[str | None, _for_the_eye(100)] = None
    runner_id: int | None = None
    runner_name: Annotated[str | None, _for_the_eye(256)] = None
    created_at: Moment = None

    @property
    def had_runner(self) -> bool:
        """Whether a runner has picked the job up: the runner's properties stay null (or empty) until then."""
        return bool(self.runner_id or self.runner_name)


class Owner(Payload):
    """A user, an organization or an installation's account."""

    login: Login


class Repository(Payload):
    """The repository whose workflow the job belongs to."""

    name: Login
    full_name: Annotated[str, Field(pattern=rf"^{_NAME}/{_NAME}\Z")]
    owner: Owner
    private: bool = False  # a payload that does not say so is taken for public
    visibility: Annotated[str | None, _for_the_eye(100)] = None

    @property
    def is_public(self) -> bool:
        """Whether anybody on GitHub can open a pull request against it."""
        return not self.private or self.visibility == "public"


class Installation(Payload):
    """The installation of the GitHub App that the hook belongs to."""

    id: PositiveId


class Enterprise(Payload):
    """The enterprise that the repository's organization belongs to."""

    slug: str


def _named_enterprise(value: object) -> object:
    """Read an enterprise; None if its name cannot be read, since no job shall be malformed for that."""
    if isinstance(value, Enterprise):
        return value
    slug = value.get("slug") if isinstance(value, Mapping) else None
    return {"slug": slug} if isinstance(slug, str) and _SLUG.fullmatch(slug) else None


class WorkflowJobEvent(Payload):
    """What the orchestrator reads of a `workflow_job` delivery.

    Attributes:
        enterprise: named by deliveries only; jobs that GitHub's API lists never name one.
        webhook: The REST path of the hook that told, where the headers name it (`delivery.webhook.webhook_of`).
        delivery: GitHub's id of the delivery that told; it goes with the job into the queue and the task.
    """

    action: str
    workflow_job: WorkflowJob
    repository: Repository
    organization: Owner | None = None
    enterprise: Annotated[Enterprise | None, BeforeValidator(_named_enterprise)] = None
    installation: Installation | None = None
    webhook: HookPath | None = None
    delivery: Annotated[str | None, _for_the_eye(100)] = None

    @property
    def installation_id(self) -> int | None:
        """The id of the GitHub App's installation; None where the hook is not an App's."""
        return self.installation.id if self.installation is not None else None
