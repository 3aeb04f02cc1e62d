"""What an error of Azure means: the one place where the errors of Batch and of the storage are understood.

Source: Azure Batch service REST API 2025-06-01, Batch Status and Error Codes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from orchestrator.errors import OrchestratorError, TransientError, UpstreamError, UpstreamRefused

_FORBIDDEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
# A conflict is a state that passes: a job being deleted or terminated, a quota that is reached.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)


class ErrorCode(str):
    """The code of an error that the caller expected, as `expecting` returns it."""

    __slots__ = ()


def expecting[T](call: Callable[[], T], *codes: str) -> T | ErrorCode:
    """Return what a call returns, or the error's code if it is one of these; every other error is raised as it is."""
    try:
        return call()
    except HttpResponseError as error:
        code = error_code(error)
        if code not in codes:
            raise
        return ErrorCode(code)


def task_error(error: AzureError, what: str) -> UpstreamError:
    """Return what an error about runner tasks means: whether another try may help, or somebody must change something.

    Args:
        error: of the Batch SDK.
        what: what Batch was asked to do.
    """
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return _no_answer(error, what)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if not isinstance(error, HttpResponseError) or status is None:
        reason = "no Entra ID token" if isinstance(error, ClientAuthenticationError) else type(error).__name__
        return TransientError(f"Batch cannot be asked to {what}: {reason}")
    code = error_code(error)
    answer = f"{status} {code}".strip()
    # Each refusal of Batch's own has a code. Without one the answer is a proxy's, or was cut.
    passes = not code or status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if status in _FORBIDDEN and not passes:
        return UpstreamRefused(
            f"Batch refused to {what}: {answer}: is BatchAccountKey right, or has the identity a role on the account?"
        )
    if passes:
        return TransientError(f"Batch cannot {what} now: {answer}", retry_after=_retry_after(error))
    return UpstreamRefused(f"Batch refused to {what}: {answer}{_details(error)}")


def pool_error(error: AzureError, what: str) -> UpstreamError:
    """Return what an error about a pool means: always that another try may help, as the pool may have changed by then.

    Args:
        error: of the Batch SDK.
        what: what Batch was asked to do.
    """
    if not isinstance(error, HttpResponseError):
        return _no_answer(error, what)
    hint = ": the identity needs Azure Batch Data Contributor" if error.status_code in _FORBIDDEN else ""
    return TransientError(f"Batch does not {what}: {error.status_code} {error_code(error)}{hint}")


def queue_error(error: AzureError, queue: str) -> UpstreamError:
    """Return what an error of a storage queue means: always that another try may help.

    Args:
        error: of the storage SDK.
        queue: the queue's name.
    """
    status = error.status_code if isinstance(error, HttpResponseError) else None
    return TransientError(f"the queue {queue} does not do its part: {status or type(error).__name__}")


def blob_error(error: AzureError, what: str, role: str = "Storage Blob Data Contributor") -> UpstreamError:
    """Return what an error of a blob means: always that another try may help.

    Args:
        error: of the storage SDK.
        what: what was to be done with the blob, as `be read`.
        role: what that takes.
    """
    status = error.status_code if isinstance(error, HttpResponseError) else None
    hint = f": the identity needs {role}" if status == HTTPStatus.FORBIDDEN else ""
    return TransientError(f"the blob cannot {what}: {status or type(error).__name__}{hint}")


def look_error(error: AzureError, queue: str) -> UpstreamError:
    """Return what an error of a storage queue means to somebody who only looks: a refusal is told as one.

    Args:
        error: of the storage SDK.
        queue: the queue's name.
    """
    if isinstance(error, HttpResponseError) and error.status_code in _FORBIDDEN:
        return UpstreamRefused(f"the queue {queue} refuses: {error.status_code} {error_code(error)}".rstrip())
    return queue_error(error, queue)


@contextmanager
def translating(what: str, meaning: Callable[[AzureError, str], UpstreamError] = task_error) -> Iterator[None]:
    """Raise what an SDK's error in the block means instead of that error; none is swallowed.

    An SDK trips over an answer of another shape than documented, with whatever error. Such an answer is probably a
    proxy's, so another try may help.

    Args:
        what: what the service was asked to do, or which queue was asked.
        meaning: returns the error to raise: one of the functions above.

    Raises:
        UpstreamError: The service did not do what it was asked.
    """
    try:
        yield
    except AzureError as error:
        raise meaning(error, what) from None
    except OrchestratorError:
        raise
    except Exception as error:
        raise TransientError(f"the answer cannot be understood ({what}: {type(error).__name__})") from error


def error_code(error: HttpResponseError) -> str:
    """Return the code that the service gave to an error: Batch in the body, storage in a header; empty without one."""
    # What an identity raises has no `error`, and what a proxy sends may have any shape.
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, str) and code else _header(error, "x-ms-error-code")


def _no_answer(error: AzureError, what: str) -> TransientError:
    return TransientError(f"Batch does not answer ({what}: {type(error).__name__})")


def _retry_after(error: HttpResponseError) -> float | None:
    value = _header(error, "Retry-After")
    return float(value) if value.isdecimal() else None


def _header(error: HttpResponseError, name: str) -> str:
    headers = getattr(error.response, "headers", {})
    return str(headers.get(name, ""))


def _details(error: HttpResponseError) -> str:
    """Return the first line of Batch's own message; the other lines are request ids."""
    message = getattr(error.error, "message", None)
    lines = message.splitlines() if isinstance(message, str) else []
    return f" ({lines[0][:200]})" if lines else ""
