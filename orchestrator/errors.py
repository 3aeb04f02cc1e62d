"""The exceptions that the floors have in common.

    OrchestratorError
      · SettingsError             an app setting is missing or wrong (500)
      · DeliveryRefused           this delivery is not taken; carries the HTTP status to answer with
          · RequestTooLarge       413
          · SourceNotAllowed      403
          · DeliveryMalformed     400
          · ContentTypeUnknown    415
          · SignatureInvalid      401
      · ClaimRefused              a container's claim gets no registration; carries status and code of the answer
      · RequestMalformed          a message in the queue is not a runner request
      · UpstreamError             GitHub, Batch or the queue did not do what was asked
          · TransientError        it may later: try again (after `retry_after` seconds, if it said so)
              · CredentialRejected    GitHub answered with 401
              · CallsSpent        a limit of GitHub's is used up: the call was not made
              · ListTooLong       GitHub's list has more pages than are read
          · UpstreamRefused       it will not until somebody changes something (500)
              · GitHubRefused     GitHub answered with a 4xx; carries it
              · RunnerNameTaken   GitHub knows a runner of this name already

A message is written for the operator who reads it in GitHub's *Recent Deliveries* or in the log: it says what is wrong
and where to look, and never holds a secret or a setting's value.
"""

from collections.abc import Sequence
from datetime import datetime


class OrchestratorError(Exception):
    """The root of all of them."""


class SettingsError(OrchestratorError):
    """One or more app settings are missing or wrong.

    Attributes:
        problems: (setting, what is wrong with it), never the value.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{setting}: {problem}" for setting, problem in self.problems))

    @classmethod
    def of(cls, setting: str, problem: str) -> "SettingsError":
        """Return the error about one setting."""
        return cls([(setting, problem)])


class DeliveryRefused(OrchestratorError):
    """This delivery is not taken.

    Attributes:
        status: the HTTP status of the answer.
    """

    status = 400


class RequestTooLarge(DeliveryRefused):
    """The body is over `MaxRequestBytes`."""

    status = 413


class SourceNotAllowed(DeliveryRefused):
    """The caller's address is in none of `AllowedSources`, `OperatorSources` or `ClaimSources`."""

    status = 403


class DeliveryMalformed(DeliveryRefused):
    """Headers or body are not those of a GitHub webhook delivery."""

    status = 400


class ContentTypeUnknown(DeliveryRefused):
    """The body is neither JSON nor a form."""

    status = 415


class SignatureInvalid(DeliveryRefused):
    """The body was not signed with the webhook secret."""

    status = 401


class ClaimRefused(OrchestratorError):
    """A container's claim gets no registration, or none now.

    Attributes:
        status: the HTTP status of the answer.
        code: why, as one word.
        retry_after: seconds after which the container may ask again, if that may help.
    """

    def __init__(self, message: str, *, status: int, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class RequestMalformed(OrchestratorError):
    """A message in the queue is not a runner request."""


class UpstreamError(OrchestratorError):
    """GitHub, Batch or the queue did not do what was asked."""


class TransientError(UpstreamError):
    """What failed may work later.

    Attributes:
        retry_after: seconds to wait, where the service named them.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallsSpent(TransientError):
    """A limit of GitHub's is used up: the call was not made."""


class ListTooLong(TransientError):
    """A list of GitHub's has more pages than are read."""


class CredentialRejected(TransientError):
    """GitHub does not believe the credential (401). That is not final: in an outage it rejects good ones as well."""


class UpstreamRefused(UpstreamError):
    """What failed will fail again until somebody changes something."""


class GitHubRefused(UpstreamRefused):
    """GitHub answered with a 4xx that another try will not change.

    Attributes:
        status: the HTTP status.
        date: GitHub's time, where the answer said it.
    """

    def __init__(self, message: str, status: int, date: datetime | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.date = date


class RunnerNameTaken(UpstreamRefused):
    """GitHub knows a runner of this name already."""
