"""What tests ask of a deployment."""

import json
from typing import Any

from sandbox.deployment import Deployment


def all_done(deployment: Deployment) -> bool:
    """Whether every job has run."""
    return all((job.status, job.conclusion) == ("completed", "success") for job in deployment.github.jobs)


def answers(deployment: Deployment, action: str = "queued") -> list[tuple[int, dict[str, Any]]]:
    """Return what the deliveries of one action were answered with, newest first."""
    return [
        (delivery.answer.code, json.loads(delivery.answer.body or "{}"))
        for delivery in deployment.github.deliveries
        if delivery.action == action and delivery.answer is not None
    ]
