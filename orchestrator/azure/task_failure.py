"""What Batch says of a task that failed, as one line for a reason in the log.

Source: Azure Batch service REST API 2025-06-01, `TaskFailureInformation`.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.runners.task import IMAGE_NOT_PULLED

# The code of a task's failure when somebody ended the task.
ENDED = "TaskEnded"
# The code where Batch could not pull the image: it is not there, or the node may not read it.
_NO_IMAGE = "ContainerInvalidImage"
# How many characters of Batch's words the log shows.
_SHOWN = 300


def failure_text(failure: Mapping[str, Any]) -> str:
    """Return code, message and details of a failure; an image that cannot be pulled is named as such."""
    details = [f"{detail['name']}: {detail['value']}" for detail in failure.get("details") or () if detail.get("value")]
    message = " ".join((failure.get("message") or "").split())
    code = failure.get("code")
    said = f"{code or 'no code'}: {'; '.join(filter(None, [message, *details]))}".removesuffix(": ")
    shown = " ".join(said.split())[:_SHOWN]
    return f"{IMAGE_NOT_PULLED}: {shown}" if code == _NO_IMAGE else shown
