"""Where runners register, as far as it is known without a delivery (pure)."""

from collections.abc import Iterable

from orchestrator.config.settings import Settings
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.installed import Installed
from orchestrator.runners.scope import Scope, ScopeAccess, runner_scope


def known_scopes(
    settings: Settings, events: Iterable[WorkflowJobEvent], installed: Iterable[Installed]
) -> list[ScopeAccess]:
    """Return the scopes that recent jobs, the App's installations and the settings name, each once and in this order.

    Args:
        settings: the app settings.
        events: recent jobs.
        installed: where the App is installed.
    """
    if settings.runner_scope == "enterprise" and settings.github_enterprise is not None:
        return [ScopeAccess(Scope("enterprise", settings.github_enterprise), None)]
    found = [ScopeAccess(runner_scope(event, settings), event.installation_id) for event in events]
    if settings.runner_scope == "organization":
        found += [ScopeAccess(Scope("organization", one.account), one.id) for one in installed if one.is_organization]
        found += [ScopeAccess(Scope("organization", login), None) for login in settings.allowed_organizations]
    else:
        found += [ScopeAccess(Scope("repository", name), None) for name in settings.reconcile_repositories]
    known: dict[tuple[str, str], ScopeAccess] = {}
    for access in found:
        known.setdefault((access.scope.kind, access.scope.name.lower()), access)
    return list(known.values())
