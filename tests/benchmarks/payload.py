"""A delivery of GitHub's real size: the largest `workflow_job` example that GitHub publishes has 11.4 kB.

What makes it that large is the `deployment` of a job that names an environment. GitHub writes bodies without blanks.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.github import GitHub
from sandbox.github.model import Event
from tests.builders import SECRET, delivery

# As long as the names of repositories are; it stands in some seventy URLs.
REPOSITORY = "acme/customer-portal"
# What GitHub and the front end of App Service send beside the headers of every test.
_MORE_HEADERS: Mapping[str, str] = {
    "accept": "*/*",
    "x-github-hook-installation-target-id": "79929171",
    "x-github-hook-installation-target-type": "organization",
    "x-hub-signature": "sha1=0123456789abcdef0123456789abcdef01234567",
    "host": "runners.azurewebsites.net",
    "max-forwards": "9",
    "client-ip": "140.82.115.10:51234",
    "x-client-ip": "140.82.115.10",
    "x-client-port": "51234",
    "x-arr-log-id": "7a5c0a8e-0f0a-4a8e-9f3b-0d9d5a0c1f11",
    "x-arr-ssl": "2048|256|CN=Microsoft Azure RSA TLS Issuing CA 04|CN=*.azurewebsites.net",
    "x-forwarded-proto": "https",
    "x-appservice-proto": "https",
    "x-forwarded-tlsversion": "1.3",
    "x-original-url": "/api/ProvideActionsRunner?code=0123456789",
    "x-waws-unencoded-url": "/api/ProvideActionsRunner?code=0123456789",
    "x-site-deployment-id": "runners",
    "was-default-hostname": "runners.azurewebsites.net",
    "disguised-host": "runners.azurewebsites.net",
}
# What the App `github-actions` may and listens to.
_PERMISSIONS = [
    "actions", "administration", "checks", "contents", "deployments", "discussions", "issues", "merge_queues",
    "metadata", "packages", "pages", "pull_requests", "repository_hooks", "repository_projects", "security_events",
    "statuses", "vulnerability_alerts",
]  # fmt: skip
_EVENTS = [
    "branch_protection_rule", "check_run", "check_suite", "create", "delete", "deployment", "deployment_status",
    "discussion", "discussion_comment", "fork", "gollum", "issues", "issue_comment", "label", "merge_group",
    "milestone", "page_build", "project", "project_card", "project_column", "public", "pull_request",
    "pull_request_review", "pull_request_review_comment", "push", "registry_package", "release", "repository",
    "repository_dispatch", "status", "watch", "workflow_dispatch", "workflow_run",
]  # fmt: skip


def full_payload(
    *, action: str = "queued", labels: Sequence[str] = ("self-hosted", "ubuntu-latest"), **job_changes: Any
) -> dict[str, Any]:
    """Return the payload of one action on a job with these labels, complete by the published schema."""
    github = GitHub()
    seen: list[Event] = []
    github.subscribe(seen.append)
    github.add_repository(REPOSITORY)
    job = github.queue_job(REPOSITORY, labels)
    payload: dict[str, Any] = github.payloads.workflow_job(seen[0], github.state.run(job.run_id), None)
    payload["workflow_job"] |= job_changes
    payload["repository"]["custom_properties"] = {}
    payload["deployment"] = _deployment(github, payload["workflow_job"])
    return payload | {"action": action, "installation": {"id": 23154469, "node_id": "I_23154469"}}


def as_sent(payload: object, **signed: Any) -> tuple[dict[str, str], bytes]:
    """Return a delivery as `tests.builders.delivery` does, with all the headers and as few bytes as GitHub's."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    headers, _ = delivery(body, **{"secret": SECRET, **signed})
    return {**_MORE_HEADERS, **headers}, body


def _deployment(github: GitHub, job: Mapping[str, Any]) -> dict[str, Any]:
    api = f"{github.payloads.api}/repos/{REPOSITORY}"
    at, url = job["created_at"], f"{api}/deployments/875096709"
    return {
        "url": url, "id": 875096709, "node_id": "DE_875096709", "task": "deploy", "original_environment": "Test",
        "environment": "Test", "description": None, "created_at": at, "updated_at": at,
        "statuses_url": f"{url}/statuses", "repository_url": api, "creator": github.payloads.user("mona"),
        "sha": job["head_sha"], "ref": "main", "payload": {}, "transient_environment": False,
        "production_environment": False,
        "performed_via_github_app": {
            "id": 15368, "slug": "github-actions", "node_id": "A_15368", "name": "GitHub Actions",
            "owner": github.payloads.user("github", "Organization"), "external_url": "https://help.github.com/en/actions",
            "description": "Runs workflows", "html_url": f"{github.payloads.url}/apps/github-actions",
            "created_at": at, "updated_at": at, "permissions": dict.fromkeys(_PERMISSIONS, "write"), "events": _EVENTS,
        },
    }  # fmt: skip
