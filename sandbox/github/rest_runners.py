"""GitHub's operations on self-hosted runners, the same for repositories, organizations and enterprises."""

from typing import Any

from sandbox.github.model import Label, Refusal, Registration, Runner, Scope
from sandbox.github.payloads import timestamp
from sandbox.github.rest import Call, Reply, Route, page_of


def routes() -> list[Route]:
    """The operations of all three kinds of scope."""
    found = []
    for prefix, permission in (
        ("/repos/{owner}/{repo}", "administration"),
        ("/orgs/{org}", "organization_self_hosted_runners"),
        ("/enterprises/{enterprise}", "enterprise_runners"),
    ):
        runners, read, write = f"{prefix}/actions/runners", (permission, "read"), (permission, "write")
        found += [
            Route("POST", f"{runners}/registration-token", registration_token, write),
            Route("POST", f"{runners}/generate-jitconfig", generate_jitconfig, write),
            Route("GET", runners, list_runners, read),
            Route("GET", f"{runners}/deprecations/{{version}}", version_dates, read),
            Route("DELETE", f"{runners}/{{runner_id}}", delete_runner, write),
        ]
        if not prefix.startswith("/repos"):
            groups = f"{prefix}/actions/runner-groups"
            found.append(Route("GET", groups, list_groups, read))
            found.append(Route("GET", f"{groups}/{{group_id}}/repositories", list_repositories_of_a_group, read))
    return found


def registration_token(call: Call) -> Reply:
    """Issue a token that runners register with."""
    token, expires_at = call.core.access.runner_token(call.scope, call.now)
    return Reply({"token": token, "expires_at": timestamp(expires_at)}, 201)


def generate_jitconfig(call: Call) -> Reply:
    """Register a just-in-time runner; its labels are taken as they are."""
    body = call.body
    name, group, labels = body.get("name"), body.get("runner_group_id"), body.get("labels")
    fine = (
        isinstance(name, str)
        and isinstance(group, int)
        and isinstance(labels, list)
        and all(isinstance(label, str) and label for label in labels)
    )
    if not fine:
        raise Refusal(422, "Invalid request. name, runner_group_id and labels are required.")
    registration = Registration(str(name), tuple(Label(label) for label in labels or ()), group, jit=True)
    runner = call.core.state.register(call.scope, registration, call.now)
    config = call.core.state.jit_config(runner)
    return Reply({"runner": call.core.payloads.runner(runner), "encoded_jit_config": config}, 201)


def list_runners(call: Call) -> Reply:
    """List the runners of a scope, all or those of one name."""
    name = call.query.get("name")
    found = [r for r in _runners(call, call.scope) if name in (None, r.name)]
    page, headers = page_of(call, found)
    bodies = [call.core.payloads.runner(runner) for runner in page]
    return Reply({"total_count": len(found), "runners": bodies}, headers=headers)


def version_dates(call: Call) -> Reply:
    """Say until when a version of the runner is taken; the latest has no dates, and of others there may be one."""
    version = call.path["version"]
    return Reply({"runner_version": version, **call.core.version_dates.get(version, {})})


def delete_runner(call: Call) -> Reply:
    """Remove one runner, unless it is busy."""
    call.core.state.remove(_runner(call).id, call.now)
    return Reply(status=204)


def list_groups(call: Call) -> Reply:
    """List the runner groups of an organization or enterprise."""
    groups = call.core.state.groups_of(call.scope)
    repository = call.query.get("visible_to_repository")
    if repository:
        full_name = f"{call.scope.name}/{repository}".lower()
        groups = [g for g in groups if g.repositories is None or full_name in g.repositories]
    page, headers = page_of(call, groups)
    owner = f"{'orgs' if call.scope.kind == 'organization' else 'enterprises'}/{call.scope.name}"
    bodies: list[Any] = [call.core.payloads.runner_group(group, owner) for group in page]
    return Reply({"total_count": len(groups), "runner_groups": bodies}, headers=headers)


def list_repositories_of_a_group(call: Call) -> Reply:
    """List the repositories that were chosen for a group."""
    number = call.number("group_id")
    group = next((one for one in call.core.state.groups_of(call.scope) if one.id == number), None)
    if group is None:
        raise Refusal(404, "Not Found")
    chosen = group.repositories or frozenset()
    found = [one for one in call.core.state.repositories.values() if one.full_name.lower() in chosen]
    page, headers = page_of(call, found)
    bodies = [call.core.payloads.minimal_repository(repository) for repository in page]
    return Reply({"total_count": len(found), "repositories": bodies}, headers=headers)


def _runners(call: Call, scope: Scope) -> list[Runner]:
    return [runner for runner in call.core.state.runners.values() if runner.scope == scope]


def _runner(call: Call) -> Runner:
    wanted = call.number("runner_id")
    found = next((r for r in _runners(call, call.scope) if r.id == wanted), None)
    if found is None:
        raise Refusal(404, "Not Found")
    return found
