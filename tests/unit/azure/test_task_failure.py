"""Batch's words for a task that failed."""

import pytest
from azure.batch.models import BatchTaskFailureInfo, NameValuePair

from orchestrator.azure.task_failure import failure_text


def failure(
    code: str | None, message: str | None = None, details: dict[str, str | None] | None = None
) -> BatchTaskFailureInfo:
    """Return what Batch says of a failure."""
    pairs = [NameValuePair(name=name, value=value) for name, value in (details or {}).items()]
    return BatchTaskFailureInfo(category="usererror", code=code, message=message, details=pairs or None)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (failure("DiskFull", "There is no\n  space left."), "DiskFull: There is no space left."),
        (failure("DiskFull"), "DiskFull"),
        (failure(None, "It broke."), "no code: It broke."),
        (failure("X", None, {"Path": "/mnt", "Empty": None}), "X: Path: /mnt"),
        (
            failure("ContainerInvalidImage", "It is invalid.", {"Image": "acme/runner:x", "Error": "denied"}),
            "the image cannot be pulled: ContainerInvalidImage: It is invalid.; Image: acme/runner:x; Error: denied",
        ),
    ],
)
def test_text(said: BatchTaskFailureInfo, text: str) -> None:
    """Code, message and details stand in one line, and an image that cannot be pulled is named as such."""
    assert failure_text(said) == text


def test_long_words() -> None:
    """Docker's whole output does not fill the log."""
    text = failure_text(failure("DiskFull", "x" * 10_000))
    assert text.startswith("DiskFull: xxx")
    assert len(text) == 300
