"""A queued job's payload of GitHub's usual size: complete by the published schema."""

from collections.abc import Sequence
from typing import Any

from sandbox.github import GitHub
from sandbox.github.model import Event


def full_payload(*, action: str = "queued", labels: Sequence[str] = ("self-hosted", "ubuntu-latest")) -> dict[str, Any]:
    """Return the payload of one action on a job with these labels."""
    github = GitHub()
    seen: list[Event] = []
    github.subscribe(seen.append)
    github.add_repository("acme/app")
    job = github.queue_job("acme/app", labels)
    payload: dict[str, Any] = github.payloads.workflow_job(seen[0], github.state.run(job.run_id), None)
    return payload | {"action": action}
