"""GitHub's operations on Apps, installations, lists of repositories, webhook deliveries and on GitHub itself."""

from dataclasses import replace
from typing import Any

from sandbox.github.access import Installation
from sandbox.github.hooks import Delivery, Hook
from sandbox.github.model import Refusal, Repository, Scope
from sandbox.github.payloads import timestamp
from sandbox.github.rest import Audience, Call, Reply, Route, page_of


def routes() -> list[Route]:
    """The operations."""
    found = [
        Route("GET", "/meta", meta, audience="anyone"),
        Route("GET", "/app", get_app, audience="app"),
        Route("GET", "/app/hook/config", get_hook, audience="app"),
        Route("PATCH", "/app/hook/config", change_hook, audience="app"),
        Route("GET", "/app/installations", list_installations, audience="app"),
        Route("POST", "/app/installations/{installation_id}/access_tokens", create_token, audience="app"),
        Route("GET", "/orgs/{org}/installation", organization_installation, audience="app"),
        Route("GET", "/repos/{owner}/{repo}/installation", repository_installation, audience="app"),
        Route("GET", "/installation/repositories", list_repositories),
        Route("GET", "/orgs/{org}/repos", list_repositories_of, ("metadata", "read")),
    ]
    for scope, needed in (("/orgs/{org}", "organization_hooks"), ("/repos/{owner}/{repo}", "repository_hooks")):
        found.append(Route("GET", f"{scope}/hooks", list_hooks, (needed, "read"), "token"))
    for base, permission in (
        ("/app/hook", None),
        ("/orgs/{org}/hooks/{hook_id}", "organization_hooks"),
        ("/repos/{owner}/{repo}/hooks/{hook_id}", "repository_hooks"),
    ):
        read, write = (None, None) if permission is None else ((permission, "read"), (permission, "write"))
        audience: Audience = "token" if permission else "app"
        found += [
            Route("GET", f"{base}/deliveries", list_deliveries, read, audience),
            Route("GET", f"{base}/deliveries/{{delivery_id}}", get_delivery, read, audience),
            Route("POST", f"{base}/deliveries/{{delivery_id}}/attempts", redeliver, write, audience),
        ]
    return found


def meta(call: Call) -> Reply:
    """Say where webhooks come from."""
    return Reply({"verifiable_password_authentication": False, "hooks": list(call.core.hook_ranges)})


def get_app(call: Call) -> Reply:
    """Return the App that asks."""
    return Reply(call.core.payloads.app(call.core.access.apps[_app_id(call)], len(_installations(call))))


def get_hook(call: Call) -> Reply:
    """Say where the deliveries of the App that asks go."""
    return Reply(_hook_config(_own_hook(call)))


def change_hook(call: Call) -> Reply:
    """Change where the deliveries of the App that asks go, and how they are signed."""
    hook, body = _own_hook(call), call.body
    kind = body.get("content_type", hook.content_type)
    if kind not in ("json", "form") or not str(body.get("url", hook.url)).startswith(("http://", "https://")):
        raise Refusal(422, "Validation Failed")
    changed = replace(hook, url=body.get("url", hook.url), content_type=kind, secret=body.get("secret", hook.secret))
    call.core.hooks.change(changed)
    return Reply(_hook_config(changed))


def list_installations(call: Call) -> Reply:
    """List the installations of the App that asks."""
    page, headers = page_of(call, _installations(call))
    return Reply([call.core.payloads.installation(found) for found in page], headers=headers)


def organization_installation(call: Call) -> Reply:
    """Find the installation on an organization."""
    for found in _installations(call):
        if found.account_type == "Organization" and found.account.lower() == call.scope.name:
            return Reply(call.core.payloads.installation(found))
    raise Refusal(404, "Not Found")


def repository_installation(call: Call) -> Reply:
    """Find the installation that was given a repository."""
    repository = _existing(call, call.scope.name)
    for found in _installations(call):
        if repository is not None and found.covers(repository):
            return Reply(call.core.payloads.installation(found))
    raise Refusal(404, "Not Found")


def create_token(call: Call) -> Reply:
    """Issue an installation token."""
    token, principal = call.core.access.installation_token(_installation(call), call.now)
    reply: dict[str, Any] = {
        "token": token,
        "expires_at": timestamp(principal.expires_at or call.now),
        "permissions": dict(principal.permissions),
        "repository_selection": "all" if principal.repositories is None else "selected",
    }
    return Reply(reply, 201)


def list_repositories(call: Call) -> Reply:
    """List the repositories that an installation token can see."""
    principal = call.principal
    if principal is None or principal.installation_id is None:
        raise Refusal(403, "Resource not accessible by personal access token")
    installation = call.core.access.installations[principal.installation_id]
    found = [each for each in call.core.state.repositories.values() if installation.covers(each)]
    page, headers = page_of(call, found)
    bodies = [call.core.payloads.repository(repository) for repository in page]
    return Reply({"total_count": len(found), "repositories": bodies}, headers=headers)


def list_repositories_of(call: Call) -> Reply:
    """List the repositories of an organization, by name or by the last push; a run counts as one."""
    pushed_at: dict[str, float] = {}
    for run in call.core.state.runs.values():  # in the order in which they were created
        pushed_at[run.repository.full_name] = run.created_at
    owned = [each for each in call.core.state.repositories.values() if call.scope.covers(each)]
    if not owned or owned[0].owner_type != "Organization":
        raise Refusal(404, "Not Found")
    found = [
        each
        for each in owned
        if call.principal is not None and call.principal.sees(Scope("repository", each.full_name))
    ]
    if call.query.get("sort") == "pushed":
        found.sort(key=lambda each: pushed_at.get(each.full_name, 0.0), reverse=True)
    page, headers = page_of(call, found)
    bodies = [call.core.payloads.repository(each) for each in page]
    for each, body in zip(page, bodies, strict=True):
        if each.full_name in pushed_at:
            body["pushed_at"] = timestamp(pushed_at[each.full_name])
    return Reply(bodies, headers=headers)


def list_hooks(call: Call) -> Reply:
    """List the webhooks of an organization or repository."""
    hooks = [call.core.payloads.hook(hook) for hook in call.core.hooks.all if hook.scope == call.scope]
    page, headers = page_of(call, hooks)
    return Reply(list(page), headers=headers)


def list_deliveries(call: Call) -> Reply:
    """List the deliveries of a hook, newest first, from a cursor on."""
    wanted = call.query.get("status")
    if wanted not in (None, "success", "failure"):
        raise Refusal(422, "Validation Failed")
    found = [d for d in _deliveries(call) if wanted in (None, _outcome(d))]
    cursor = call.query.get("cursor", "")
    if cursor:
        if not cursor.removeprefix("v1_").isdigit():
            raise Refusal(400, "Invalid cursor")
        found = [d for d in found if d.id <= int(cursor.removeprefix("v1_"))]
    size = min(100, max(1, int(call.query["per_page"]) if call.query.get("per_page", "").isdigit() else 30))
    headers = {}
    if len(found) > size:
        rest = "".join(f"&{name}={value}" for name, value in call.query.items() if name not in ("cursor", "per_page"))
        headers["Link"] = f'<{call.url}?per_page={size}&cursor=v1_{found[size].id}{rest}>; rel="next"'
    return Reply([call.core.payloads.delivery(d) for d in found[:size]], headers=headers)


def get_delivery(call: Call) -> Reply:
    """Return one delivery with what was sent and answered."""
    return Reply(call.core.payloads.whole_delivery(_delivery(call)))


def redeliver(call: Call) -> Reply:
    """Deliver an event once more."""
    call.core.hooks.redeliver(_delivery(call))
    return Reply({}, 202)


def _outcome(delivery: Delivery) -> str:
    return "success" if delivery.answer is not None and delivery.answer.code < 400 else "failure"  # noqa: PLR2004


def _deliveries(call: Call) -> list[Delivery]:
    return call.core.hooks.deliveries(hook.id for hook in _hooks(call))


def _hooks(call: Call) -> list[Hook]:
    hooks = call.core.hooks.all
    if "hook_id" not in call.path:
        return [hook for hook in hooks if hook.app_id == _app_id(call)]
    found = [hook for hook in hooks if hook.id == call.number("hook_id") and hook.scope == call.scope]
    if not found:
        raise Refusal(404, "Not Found")
    return found


def _own_hook(call: Call) -> Hook:
    found = _hooks(call)
    if not found:
        raise Refusal(404, "Not Found")
    return found[0]


def _hook_config(hook: Hook) -> dict[str, Any]:
    secret = {} if hook.secret is None else {"secret": "********"}
    return {"url": hook.url, "content_type": hook.content_type, "insecure_ssl": "0", **secret}


def _delivery(call: Call) -> Delivery:
    found = call.core.hooks.delivery(call.number("delivery_id"))
    if found is None or found.hook.id not in {hook.id for hook in _hooks(call)}:
        raise Refusal(404, "Not Found")
    return found


def _app_id(call: Call) -> int:
    if call.principal is None or call.principal.app_id is None:
        raise Refusal(401, "A JSON web token is required")
    return call.principal.app_id


def _installations(call: Call) -> list[Installation]:
    return [found for found in call.core.access.installations.values() if found.app.id == _app_id(call)]


def _installation(call: Call) -> Installation:
    wanted = call.number("installation_id")
    for found in _installations(call):
        if found.id == wanted:
            return found
    raise Refusal(404, "Not Found")


def _existing(call: Call, full_name: str) -> Repository | None:
    return call.core.state.repositories.get(full_name.lower())
