"""What our clients send, and what the stand-ins answer, held against the official API schemas."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.github.app import GitHubApp
from orchestrator.github.client import GitHubClient
from orchestrator.github.contents import Contents
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.hook_deliveries import HookDeliveries
from orchestrator.github.meta import published_hook_ranges
from orchestrator.github.repositories import Repositories
from orchestrator.github.runner_groups import RunnerGroups
from orchestrator.github.runners import Runners
from orchestrator.github.session import GitHubSession
from orchestrator.github.workflow_jobs import WorkflowJobs
from orchestrator.jobs.accounts import AppOwner
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.hook_delivery import APP_HOOK
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.batch import Batch
from sandbox.deployment import REPOSITORY, Deployment
from sandbox.github import GitHub
from sandbox.github.access import APP_PERMISSIONS
from sandbox.github.model import JobPlan
from sandbox.github.model import Scope as StandInScope
from tests.batch_tasks import task
from tests.contracts import CHECKER, assert_kept, in_extract
from tests.e2e.helpers import all_done
from tests.waiting import until

CONTENTS = "/repos/{owner}/{repo}/contents/{path}"

pytestmark = pytest.mark.skipif(not CHECKER.exists(), reason="no contract checker stands beside the repository")


def test_github(github: GitHub, github_url: str, app_keys: tuple[str, str], tmp_path: Path) -> None:
    """Every call of the GitHub client, for every kind of scope and credential, keeps to GitHub's schema."""
    github.add_repository(REPOSITORY, enterprise="big")
    github.add_runner_group(StandInScope("organization", "acme"), "Batch")
    private, public = app_keys
    app = github.add_app(public)
    github.install(app, "acme")
    client = GitHubClient(github_url)
    scopes = [Scope("organization", "acme"), Scope("repository", REPOSITORY)]
    reach = [(Runners(GitHubSession(client, PersonalToken("ghp_sandbox"))), [*scopes, Scope("enterprise", "big")])]
    reach.append((Runners(GitHubSession(client, AppCredential(client, str(app.id), private))), scopes))
    for number, (runners, own) in enumerate(reach):
        for scope in own:
            access = ScopeAccess(scope, None)
            runners.registration_token(access)
            group = "Batch" if scope.kind == "organization" else None
            config = runners.jit_config(access, f"runner-{number}-{scope.kind}", ["self-hosted", "linux"], group)
            assert config.runner_id in [runner.id for runner in runners.listed(access)]
            runners.remove(access, config.runner_id)
            runners.remove(access, config.runner_id)
    published = published_hook_ranges(client, None, None)
    published_hook_ranges(client, "Bearer ghp_sandbox", published.etag)
    exchanges = github.recorder.exchanges
    enterprise = [{**e, "api": "ghec"} for e in exchanges if e["path"].startswith("/enterprises")]
    assert_kept([e for e in exchanges if not e["path"].startswith("/enterprises")] + enterprise, tmp_path)


def test_github_control_loop(github: GitHub, github_url: str, app_keys: tuple[str, str], tmp_path: Path) -> None:
    """Every call by which the control loop looks at GitHub, and has deliveries sent again, keeps to GitHub's schema."""
    github.add_repository(REPOSITORY)
    github.add_runner_group(StandInScope("organization", "acme"), "Batch", repositories=[REPOSITORY])
    private, public = app_keys
    app = github.add_app(public)
    github.install(app, "acme", permissions={**APP_PERMISSIONS, "organization_hooks": "write"})
    github.install(app, "big", account_type="Enterprise")
    github.suspend(github.install(app, "mona", account_type="User"))
    # Nobody is there: all deliveries fail.
    hooks = [github.add_hook("http://127.0.0.1:9", None, app=app)]
    hooks += [
        github.add_hook("http://127.0.0.1:9", None, scope=StandInScope("organization", "acme")),
        github.add_hook("http://127.0.0.1:9", None, scope=StandInScope("repository", REPOSITORY)),
    ]
    for _ in range(101):
        github.queue_job(REPOSITORY, ("self-hosted", "linux"))
    github.queue_run(REPOSITORY, [JobPlan(("linux",), environment="production"), JobPlan(("linux",))])
    assert github.hooks.wait()
    client = GitHubClient(github_url)
    credential = AppCredential(client, str(app.id), private)
    session, own = GitHubSession(client, credential), GitHubSession(client, PersonalToken("ghp_sandbox"))
    (installed,) = GitHubApp(session).installations()
    access = ScopeAccess(Scope("organization", "acme"), installed.id)
    assert [each.full_name for each in Repositories(session).all(access)] == [REPOSITORY]
    assert GitHubApp(session).owner() == AppOwner("account", "acme")
    for name in (None, "app"):
        listed = RunnerGroups(session).listed(ScopeAccess(Scope("organization", "acme"), None), name)
        assert [group.name for group in listed] == ["Default", "Batch"]
    organization = ScopeAccess(Scope("organization", "acme"), None)
    assert RunnerGroups(session).repositories(organization, listed[1]) == [REPOSITORY]
    for _ in range(2):
        events = [event for page in WorkflowJobs(session).queued(REPOSITORY, None) for event in page]
        list(WorkflowJobs(session).queued(REPOSITORY, None, look_back=timedelta(days=1)))
    assert len(events) == 102
    assert WorkflowJobs(session).is_queued(events[0])
    assert len(github.recorder.calls) > 2 * 101
    of_app, of_token = HookDeliveries(session), HookDeliveries(own)
    for hook, deliveries in (
        (APP_HOOK, of_app),
        (f"/orgs/acme/hooks/{hooks[1].id}", of_app),
        (f"/repos/{REPOSITORY}/hooks/{hooks[2].id}", of_token),
    ):
        found = list(deliveries.since(hook, datetime(2020, 1, 1, tzinfo=UTC)))
        assert len(found) > 101
        assert len(list(deliveries.since(hook, datetime(2020, 1, 1, tzinfo=UTC), failed=True))) > 101
        deliveries.redeliver(hook, found[0])
    calls = {f"{exchange['method']} {exchange['status']}" for exchange in github.recorder.exchanges}
    assert calls == {"GET 200", "GET 304", "POST 201", "POST 202"}
    assert_kept([one for exchange in github.recorder.exchanges for one in _entry_by_entry(exchange)], tmp_path)


@pytest.mark.skipif(not in_extract(CONTENTS), reason="the checker's extract of GitHub's schema is without files")
def test_github_contents(session: GitHubSession, github: GitHub, tmp_path: Path) -> None:
    """Every call that reads a repository and its files keeps to GitHub's schema."""
    github.add_file(REPOSITORY, ".github/workflows/ci.yml", "on: push")
    github.add_file(REPOSITORY, ".github/workflows/deep/x.yml", "on: push")
    contents = Contents(session)
    assert not contents.repository(REPOSITORY).is_public
    assert list(contents.folder(REPOSITORY, ".github/workflows")) == [".github/workflows/ci.yml"]
    assert contents.file(REPOSITORY, ".github/workflows/ci.yml") == b"on: push"
    assert contents.file(REPOSITORY, ".github/workflows/ci.yml", "v1") is None
    # A path is one parameter of the schema, with whatever slashes.
    exchanges = [
        {**exchange, "url": re.sub(r"(/contents)/[^?]+", r"\1/path", exchange["url"])}
        for exchange in github.recorder.exchanges
    ]
    assert [exchange["status"] for exchange in exchanges] == [200, 200, 200, 404]
    assert_kept(exchanges, tmp_path)


def _entry_by_entry(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the list of installations apart: its schema asks of an account to be a user and an enterprise at once."""
    if exchange["path"] != "/app/installations":
        # The schema takes a search for a moment: GitHub's text on the parameter refers to the syntax of searches.
        url = re.sub(r"created=%3E%3D([0-9-]{10})", r"created=\1T00:00:00Z", exchange["url"])
        return [{**exchange, "url": url}]
    place = exchange["url"].partition("?")[0]
    return [
        {**exchange, "url": f"{place}/{entry['id']}", "response_body": json.dumps(entry)}
        for entry in json.loads(exchange["response_body"])
    ]


def test_batch(batch: Batch, tasks: RunnerTasks, tmp_path: Path) -> None:
    """Every call of the Batch client keeps to Batch's schema, and so does every answer of the stand-in."""
    for system, pool in (("linux", "linux"), ("windows", "windows")):
        for _ in range(2):
            tasks.add(task(pool=pool, os=system, run_options="--memory 2g"))
        assert tasks.state(pool, "runner-1-1")
        assert not tasks.state(pool, "runner-2-1")
    assert list(tasks.listed(["linux", "windows", "still"], datetime.now(UTC), FinishedTasks()))
    tasks.add(task(task_id="runner-3-1", queued_at=None))
    assert tasks.slots_per_node("linux") == 1
    client = tasks._client
    linux, windows = (job_id(pool, "acme", "normal") for pool in ("linux", "windows"))
    list(client.list_tasks(linux, max_results=1, filter="state eq 'active'", select=["id", "state"]))
    list(client.list_tasks(linux))
    client.get_job(linux)
    list(client.list_jobs())
    client.get_pool("linux")
    client.terminate_task(linux, "runner-1-1")
    client.delete_task(linux, "runner-1-1")
    client.begin_delete_job(windows).wait(10)
    assert_kept(batch.recorder.exchanges, tmp_path)


def test_deployment(tmp_path: Path) -> None:
    """What passes between the deployed function, GitHub and Batch while jobs run keeps to all the schemas."""
    with Deployment() as deployment:
        for label in ("ubuntu-latest", "windows-latest"):
            deployment.github.queue_job(REPOSITORY, ("self-hosted", label))
        until(lambda: all_done(deployment))
        until(lambda: all(delivery.answer for delivery in deployment.github.deliveries))
        exchanges = [*deployment.github.recorder.exchanges, *deployment.batch.recorder.exchanges]
        assert_kept([*exchanges, *_deliveries(deployment)], tmp_path, "--secret", deployment.secret)


def _deliveries(deployment: Deployment) -> Iterator[dict[str, Any]]:
    for delivery in deployment.github.deliveries:
        assert delivery.answer is not None
        if delivery.event == "workflow_job":
            yield {
                "api": "webhook", "method": "POST", "url": deployment.webhook_url, "headers": dict(delivery.headers),
                "body": delivery.body.decode(), "status": delivery.answer.code,
            }  # fmt: skip
