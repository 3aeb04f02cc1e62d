"""What tests ask of a deployment."""

import json
from typing import Any

from sandbox.deployment import Deployment
from tests.waiting import until


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


def lines(deployment: Deployment, kind: str = "reconciliation") -> list[dict[str, Any]]:
    """Return what the passes have logged about their results."""
    found = []
    for line in deployment.host.logs.splitlines():
        start = line.find('{"pass"')
        if start >= 0:
            found.append(json.loads(line[start:]))
    return [line for line in found if line["pass"] == kind and "result" in line]


def pass_over(deployment: Deployment) -> list[dict[str, Any]]:
    """Make a pass, as the timer does; return what it logged."""
    before = len(lines(deployment))
    deployment.host.run("Reconcile")
    until(lambda: [line for line in lines(deployment)[before:] if line["result"] in ("done", "skipped")])
    return lines(deployment)[before:]
