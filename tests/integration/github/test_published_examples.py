"""Deliveries as GitHub publishes them: its schema of `workflow_job`, and its examples of every event."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.application import Application
from orchestrator.delivery.webhook import workflow_job_event
from sandbox.github import GitHub
from sandbox.github.model import WEBHOOK_KINDS, Event, Scope
from sandbox.runner import Listener
from sandbox.server import Server
from tests.builders import delivery, environment
from tests.npm import package_file
from tests.schemas import validate_workflow_job

EXAMPLES = ("@octokit/webhooks-examples", "7.6.1", "api.github.com/index.json")


@pytest.fixture(scope="module")
def application() -> Application:
    """Return an application that would reach nobody: every address of its upstreams is refused at once."""
    return Application(
        environment(
            AllowedSources="0.0.0.0/0",
            AllowPublicRepositories="true",
            BatchAccountUrl="http://127.0.0.1:9",
            GithubApiUrl="http://127.0.0.1:9",
            AzureWebJobsStorage="DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a",
        )
    )


def examples() -> list[tuple[str, Any]]:
    """Return (event, payload) of every published example."""
    return [(event["name"], example) for event in package_file(*EXAMPLES) for example in event["examples"]]


def test_no_example_event_is_an_error_of_ours(application: Application) -> None:
    """Every example of every event gets an answer that says why nothing is done; none is an error of the server's."""
    answers = [
        (name, asyncio.run(application.receive(*delivery(payload, event=name))))
        for name, payload in examples()
        if (name, payload.get("action")) != ("workflow_job", "queued")
    ]
    assert len(answers) > 200
    assert {answer.status for _, answer in answers} == {200}
    assert {answer.body["result"] for name, answer in answers if name == "ping"} == {"pong"}
    assert {answer.body["result"] for name, answer in answers if name != "ping"} == {"ignored"}


def test_queued_examples_are_understood() -> None:
    """Every published example of a queued job becomes an event."""
    queued = [payload for name, payload in examples() if name == "workflow_job" and payload["action"] == "queued"]
    assert queued
    for payload in queued:
        event = workflow_job_event(json.dumps(payload).encode())
        assert event.workflow_job.labels == tuple(payload["workflow_job"]["labels"])
        assert event.repository.full_name == payload["repository"]["full_name"]


def test_an_event_that_is_stripped_bare(application: Application) -> None:
    """Whichever top-level property a queued job's delivery lacks, the answer is no error of the server's."""
    payload = next(p for name, p in examples() if name == "workflow_job" and p["action"] == "queued")
    for missing in payload:
        body = {name: value for name, value in payload.items() if name != missing}
        assert asyncio.run(application.receive(*delivery(body))).status in {200, 400, 503}


def test_the_stand_in_sends_what_github_publishes(tmp_path: Path) -> None:
    """The stand-in's webhooks keep to the schema that GitHub publishes, so that tests stand on real shapes."""
    github = GitHub()
    seen: list[Event] = []
    github.subscribe(seen.append)
    github.add_repository("acme/app", enterprise="big")
    held = github.queue_job("acme/app", ["self-hosted"], environment="production")
    github.approve(held.id)
    github.cancel_job(held.id)
    running = github.queue_job("acme/app", ["self-hosted"])
    token, _ = github.access.runner_token(Scope("organization", "acme"), github.clock())
    with Server(github.application) as server:
        runner = Listener(str(tmp_path), {"ACTIONS_RUNNER_INPUT_TOKEN": token})
        assert runner.configure(["--url", f"{server.url}/acme", "--ephemeral"]) == 0
        assert runner.run() == 0
    payloads = [
        github.payloads.workflow_job(event, github.state.run(event.job.run_id), None)
        for event in seen
        if event.job is not None and event.kind in WEBHOOK_KINDS
    ]
    assert {(p["workflow_job"]["id"], p["action"]) for p in payloads} == {
        *((held.id, action) for action in ("waiting", "queued", "completed")),
        *((running.id, action) for action in ("queued", "in_progress", "completed")),
    }
    for payload in payloads:
        validate_workflow_job(payload)
    assert workflow_job_event(json.dumps(payloads[1]).encode()).workflow_job.id == held.id
