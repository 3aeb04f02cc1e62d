"""GitHub's JSON, complete by the published schemas, built from the few fields that the stand-in keeps."""

import base64
import hashlib
import zlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sandbox.github.access import App, Installation
from sandbox.github.hooks import Delivery, Hook, HookResponse
from sandbox.github.model import Event, Job, Repository, Run, Runner, RunnerGroup

type Json = dict[str, Any]

_USER_URLS = {
    "url": "", "followers_url": "/followers", "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}", "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions", "organizations_url": "/orgs", "repos_url": "/repos",
    "events_url": "/events{/privacy}", "received_events_url": "/received_events",
}  # fmt: skip
_ORGANIZATION_URLS = {
    "url": "", "repos_url": "/repos", "events_url": "/events", "hooks_url": "/hooks", "issues_url": "/issues",
    "members_url": "/members{/member}", "public_members_url": "/public_members{/member}",
}  # fmt: skip
_REPOSITORY_URLS = {
    "url": "", "archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}", "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}", "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}", "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors", "deployments_url": "/deployments", "downloads_url": "/downloads",
    "events_url": "/events", "forks_url": "/forks", "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}", "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}",
    "languages_url": "/languages", "merges_url": "/merges", "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}", "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags",
    "teams_url": "/teams", "trees_url": "/git/trees{/sha}",
}  # fmt: skip
_COUNTS = dict.fromkeys(
    ("forks", "forks_count", "open_issues", "open_issues_count", "size", "stargazers_count", "watchers",
     "watchers_count"), 0,
)  # fmt: skip
_FEATURES = {
    "has_downloads": True, "has_issues": True, "has_projects": True, "has_wiki": True, "has_pages": False,
    "has_discussions": False, "archived": False, "disabled": False,
}  # fmt: skip
_BIRTH = "2020-01-01T00:00:00Z"
DEFAULT_BRANCH = "main"
# A file that is larger has no content in the answer (documented).
MOST_CONTENT = 1024 * 1024


def timestamp(at: float) -> str:
    """Epoch seconds as GitHub writes them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _maybe(at: float | None) -> str | None:
    return None if at is None else timestamp(at)


def _number(name: str) -> int:
    """A stable id for something known by name alone."""
    return zlib.crc32(name.lower().encode()) + 1


class Payloads:
    """Builds GitHub's objects with links below one address.

    Attributes:
        url: the address of the web pages, without a trailing slash; the API is below `/api/v3` of it.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def api(self) -> str:
        """The address of the REST API."""
        return f"{self.url}/api/v3"

    # Accounts and repositories -------------------------------------------------------------------------------------

    def user(self, login: str, kind: str = "User") -> Json:
        """A `simple-user`: a person, an organization or an App's bot."""
        base = f"{self.api}/users/{quote(login)}"
        return {
            "login": login, "id": _number(login), "node_id": f"U_{_number(login)}", "gravatar_id": "",
            "avatar_url": f"{self.url}/avatars/{quote(login)}", "html_url": f"{self.url}/{quote(login)}",
            "type": kind, "site_admin": False, **{name: base + rest for name, rest in _USER_URLS.items()},
        }  # fmt: skip

    def organization(self, login: str) -> Json:
        """An `organization-simple`, as webhooks carry it."""
        base = f"{self.api}/orgs/{login}"
        return {
            "login": login, "id": _number(login), "node_id": f"O_{_number(login)}", "description": None,
            "avatar_url": f"{self.url}/avatars/{login}",
            **{name: base + rest for name, rest in _ORGANIZATION_URLS.items()},
        }  # fmt: skip

    def enterprise(self, slug: str) -> Json:
        """An `enterprise`."""
        return {
            "id": _number(slug), "node_id": f"E_{_number(slug)}", "name": slug, "slug": slug, "description": None,
            "website_url": None, "html_url": f"{self.url}/enterprises/{slug}", "created_at": _BIRTH,
            "updated_at": _BIRTH, "avatar_url": f"{self.url}/avatars/{slug}",
        }  # fmt: skip

    def minimal_repository(self, repository: Repository) -> Json:
        """A `minimal-repository`."""
        base = f"{self.api}/repos/{repository.full_name}"
        return {
            "id": repository.id, "node_id": f"R_{repository.id}", "name": repository.name,
            "full_name": repository.full_name, "private": repository.private, "fork": False, "description": None,
            "html_url": f"{self.url}/{repository.full_name}",
            "owner": self.user(repository.owner, repository.owner_type),
            **{name: base + rest for name, rest in _REPOSITORY_URLS.items()},
        }  # fmt: skip

    def repository(self, repository: Repository) -> Json:
        """A `repository`."""
        page = f"{self.url}/{repository.full_name}"
        return self.minimal_repository(repository) | _COUNTS | _FEATURES | {
            "default_branch": DEFAULT_BRANCH, "language": None, "license": None, "homepage": None, "mirror_url": None,
            "visibility": "private" if repository.private else "public", "clone_url": f"{page}.git",
            "git_url": f"git://{page.partition('://')[2]}.git", "ssh_url": f"git@{page.partition('://')[2]}.git",
            "svn_url": page, "created_at": _BIRTH, "updated_at": _BIRTH, "pushed_at": _BIRTH, "allow_forking": True,
            "is_template": False, "web_commit_signoff_required": False, "topics": [],
        }  # fmt: skip

    def full_repository(self, repository: Repository) -> Json:
        """A `full-repository`, which only the question about one repository gets."""
        return self.repository(repository) | {"network_count": 0, "subscribers_count": 0}

    def content(self, repository: Repository, path: str, ref: str, content: bytes | None) -> Json:
        """An entry of a `content-directory`; a folder for no content."""
        kind, place = ("dir", "tree") if content is None else ("file", "blob")
        api, page = f"{self.api}/repos/{repository.full_name}", f"{self.url}/{repository.full_name}"
        sha = hashlib.sha1(content or path.encode(), usedforsecurity=False).hexdigest()
        where = {
            "url": f"{api}/contents/{quote(path)}?ref={ref}", "git_url": f"{api}/git/{place}s/{sha}",
            "html_url": f"{page}/{place}/{ref}/{quote(path)}",
        }  # fmt: skip
        links = {"self": where["url"], "git": where["git_url"], "html": where["html_url"]}
        raw = None if content is None else f"{self.url}/raw/{repository.full_name}/{ref}/{quote(path)}"
        return where | {
            "name": path.rpartition("/")[2], "path": path, "sha": sha, "size": len(content or b""), "type": kind,
            "download_url": raw, "_links": links,
        }  # fmt: skip

    def whole_content(self, repository: Repository, path: str, ref: str, content: bytes) -> Json:
        """A `content-file`."""
        given = len(content) <= MOST_CONTENT
        return self.content(repository, path, ref, content) | {
            "content": base64.encodebytes(content).decode() if given else "",
            "encoding": "base64" if given else "none",
        }

    # Runs, jobs, runners -------------------------------------------------------------------------------------------

    def job(self, job: Job, run: Run) -> Json:
        """A `job` of the REST API, which is also the `workflow_job` of a webhook."""
        api, page = f"{self.api}/repos/{job.repository.full_name}", f"{self.url}/{job.repository.full_name}"
        group = job.runner_group
        return {
            "id": job.id, "run_id": job.run_id, "run_attempt": job.run_attempt, "node_id": f"CR_{job.id}",
            "run_url": f"{api}/actions/runs/{job.run_id}", "url": f"{api}/actions/jobs/{job.id}",
            "html_url": f"{page}/actions/runs/{job.run_id}/job/{job.id}", "check_run_url": f"{api}/check-runs/{job.id}",
            "head_sha": _sha(run), "head_branch": "main", "workflow_name": run.workflow, "name": job.name,
            "labels": list(job.labels), "status": job.status, "conclusion": job.conclusion,
            "created_at": timestamp(job.created_at), "completed_at": _maybe(job.completed_at),
            "started_at": timestamp(job.started_at if job.started_at is not None else job.created_at),
            "steps": _steps(job), "runner_id": job.runner_id, "runner_name": job.runner_name,
            "runner_group_id": group and group.id, "runner_group_name": group and group.name,
        }  # fmt: skip

    def run(self, run: Run) -> Json:
        """A `workflow-run`."""
        api, page = f"{self.api}/repos/{run.repository.full_name}", f"{self.url}/{run.repository.full_name}"
        base, who = f"{api}/actions/runs/{run.id}", {"name": "mona", "email": "mona@example.com"}
        sha, repository = _sha(run), self.minimal_repository(run.repository)
        return {
            "id": run.id, "name": run.workflow, "node_id": f"WFR_{run.id}", "head_branch": "main", "head_sha": sha,
            "path": ".github/workflows/ci.yml", "display_title": run.workflow, "run_number": run.number,
            "run_attempt": run.attempt, "event": "push", "status": run.status, "conclusion": run.conclusion,
            "workflow_id": 1, "check_suite_id": run.id, "check_suite_node_id": f"CS_{run.id}", "url": base,
            "html_url": f"{page}/actions/runs/{run.id}", "pull_requests": [],
            "created_at": timestamp(run.created_at), "updated_at": timestamp(run.updated_at),
            "run_started_at": timestamp(run.created_at), "actor": self.user("mona"),
            "triggering_actor": self.user("mona"), "jobs_url": f"{base}/jobs", "logs_url": f"{base}/logs",
            "check_suite_url": f"{api}/check-suites/{run.id}", "artifacts_url": f"{base}/artifacts",
            "cancel_url": f"{base}/cancel", "rerun_url": f"{base}/rerun", "previous_attempt_url": None,
            "workflow_url": f"{api}/actions/workflows/1", "repository": repository, "head_repository": repository,
            "head_commit": {"id": sha, "tree_id": sha, "message": "A change", "author": who, "committer": who,
                            "timestamp": timestamp(run.created_at)},
        }  # fmt: skip

    @staticmethod
    def runner(runner: Runner) -> Json:
        """A `runner`."""
        return {
            "id": runner.id, "name": runner.name, "os": runner.registration.os, "busy": runner.busy,
            "status": "online" if runner.online else "offline", "ephemeral": runner.ephemeral,
            "runner_group_id": runner.group.id, "version": runner.registration.version,
            "labels": [
                {"id": _number(label.name), "name": label.name, "type": label.type} for label in runner.labels
            ],
        }  # fmt: skip

    def runner_group(self, group: RunnerGroup, owner: str) -> Json:
        """A runner group of `owner` (`orgs/acme` or `enterprises/corp`)."""
        return {
            "id": group.id, "name": group.name, "visibility": "all" if group.repositories is None else "selected",
            "default": group.id == 1, "inherited": False, "allows_public_repositories": group.public,
            "runners_url": f"{self.api}/{owner}/actions/runner-groups/{group.id}/runners",
            "restricted_to_workflows": group.restricted, "selected_workflows": [],
            "workflow_restrictions_read_only": False,
        }  # fmt: skip

    # Apps ----------------------------------------------------------------------------------------------------------

    def app(self, app: App, installations: int) -> Json:
        """The `integration` that an App is."""
        by_enterprise = app.owner_type == "Enterprise"
        owner = self.enterprise(app.owner) if by_enterprise else self.user(app.owner, app.owner_type)
        return {
            "id": app.id, "slug": app.slug, "node_id": f"A_{app.id}", "client_id": app.client_id,
            "owner": owner, "name": app.slug, "description": None, "external_url": self.url,
            "html_url": f"{self.url}/apps/{app.slug}", "created_at": _BIRTH, "updated_at": _BIRTH,
            "permissions": dict(app.permissions), "events": list(app.events), "installations_count": installations,
        }  # fmt: skip

    def installation(self, installation: Installation) -> Json:
        """An `installation`."""
        app, base = installation.app, f"{self.api}/app/installations/{installation.id}"
        kind, at = installation.account_type, installation.suspended_at
        account = (
            self.enterprise(installation.account) if kind == "Enterprise" else self.user(installation.account, kind)
        )
        return {
            "id": installation.id, "app_id": app.id, "app_slug": app.slug, "client_id": app.client_id,
            "account": account, "target_id": account["id"], "target_type": kind,
            "repository_selection": "all" if installation.repositories is None else "selected",
            "access_tokens_url": f"{base}/access_tokens", "repositories_url": f"{self.api}/installation/repositories",
            "html_url": f"{self.url}/settings/installations/{installation.id}",
            "permissions": dict(installation.permissions), "events": ["workflow_job"], "single_file_name": None,
            "created_at": _BIRTH, "updated_at": _BIRTH, "suspended_by": None if at is None else self.user("mona"),
            "suspended_at": None if at is None else timestamp(at),
        }  # fmt: skip

    # Webhooks ------------------------------------------------------------------------------------------------------

    def ping(self, hook: Hook) -> Json:
        """The payload of the `ping` that a new hook gets."""
        kind = "App" if hook.scope is None else hook.scope.kind.capitalize()
        at = timestamp(hook.created_at)
        body: Json = {
            "id": hook.id, "type": kind, "name": "web", "active": True, "events": sorted(hook.events),
            "config": {"content_type": hook.content_type, "insecure_ssl": "0", "url": hook.url.partition("?")[0]},
            "created_at": at, "updated_at": at,
        }  # fmt: skip
        if hook.app_id is not None:
            body["app_id"] = hook.app_id
        return {"zen": "Keep it logically awesome.", "hook_id": hook.id, "hook": body, "sender": self.user("mona")}

    def hook(self, hook: Hook) -> Json:
        """An `org-hook` or a repository's `hook`. Its URL is shown whole, with the key that may be in it."""
        assert hook.scope is not None  # noqa: S101 - an App's webhook is not listed
        base = (
            f"{self.api}/{'orgs' if hook.scope.kind == 'organization' else 'repos'}/{hook.scope.name}/hooks/{hook.id}"
        )
        at = timestamp(hook.created_at)
        return {
            "id": hook.id, "url": base, "ping_url": f"{base}/pings", "deliveries_url": f"{base}/deliveries",
            "type": hook.scope.kind.capitalize(), "name": "web", "active": True, "events": sorted(hook.events),
            "config": {"url": hook.url, "content_type": hook.content_type, "insecure_ssl": "0", "secret": "********"},
            "created_at": at, "updated_at": at,
        }  # fmt: skip

    def delivery(self, delivery: Delivery) -> Json:
        """A `hook-delivery-item`: one line of *Recent Deliveries*."""
        answer = delivery.answer or HookResponse("", 0)
        return {
            "id": delivery.id, "guid": delivery.guid, "delivered_at": timestamp(delivery.delivered_at or 0),
            "redelivery": delivery.redelivery, "duration": delivery.duration, "status": answer.status,
            "status_code": answer.code, "event": delivery.event, "action": delivery.action,
            "installation_id": delivery.installation_id, "repository_id": delivery.repository_id,
            "throttled_at": None,
        }  # fmt: skip

    def whole_delivery(self, delivery: Delivery) -> Json:
        """A `hook-delivery`: one delivery with what was sent and answered."""
        answer = delivery.answer or HookResponse("", 0)
        return self.delivery(delivery) | {
            "url": delivery.hook.url,
            "request": {"headers": dict(delivery.headers), "payload": dict(delivery.payload)},
            "response": {"headers": dict(answer.headers), "payload": answer.body},
        }

    def workflow_job(self, event: Event, run: Run, installation: Installation | None) -> Json:
        """The payload of a `workflow_job` delivery."""
        assert event.job is not None  # noqa: S101 - only such events are told to the outside
        repository = event.job.repository
        payload: Json = {
            "action": event.kind,
            "workflow_job": self.job(event.job, run),
            "repository": self.repository(repository),
            "sender": self.user("mona"),
        }
        if repository.owner_type == "Organization":
            payload["organization"] = self.organization(repository.owner)
        if repository.enterprise is not None:
            payload["enterprise"] = self.enterprise(repository.enterprise)
        if installation is not None:
            payload["installation"] = {"id": installation.id, "node_id": f"I_{installation.id}"}
        return payload


def _sha(run: Run) -> str:
    return hashlib.sha1(f"{run.repository.id}/{run.number}".encode(), usedforsecurity=False).hexdigest()


def _steps(job: Job) -> list[Json]:
    """The steps as far as they can be known: none before the start, the first one running, all done at the end."""
    if job.started_at is None:
        return []
    done = job.status == "completed"
    names = job.plan.steps if done else job.plan.steps[:1]
    return [
        {"name": name, "number": number, "status": "completed" if done else "in_progress",
         "conclusion": (job.conclusion if job.conclusion in ("success", "skipped", "cancelled") else "failure")
         if done else None,
         "started_at": _maybe(job.started_at), "completed_at": _maybe(job.completed_at)}
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
