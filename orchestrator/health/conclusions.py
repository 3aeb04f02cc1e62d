"""What the answers mean: facts in, lines out (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from orchestrator.config.advice import advice
from orchestrator.config.allowed_sources import Network, holds_everybody
from orchestrator.config.forms import CLAIM_ROUTE
from orchestrator.config.github_rights import AppScope, missing_permissions, missing_scopes
from orchestrator.config.profiles import Profile
from orchestrator.config.runner_version import is_behind
from orchestrator.config.settings import Settings
from orchestrator.errors import SettingsError
from orchestrator.explain.facts import PoolFacts
from orchestrator.health.facts import AppFacts, HookFacts, InstallationFacts, QueueFacts, Target, TokenFacts
from orchestrator.health.finding import Finding, fail, not_asked, ok, warn
from orchestrator.jobs.accounts import AccountRule
from orchestrator.jobs.event import EVENT
from orchestrator.quotas.rule import warnings as quota_warnings
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.version_dates import VersionDates

# A token that ends sooner is to be replaced.
TOKEN_SOON = timedelta(days=14)
# The route that a webhook leads to.
ROUTE = "/api/ProvideActionsRunner"


def settings_lines(settings: Settings) -> Iterator[Finding]:
    """Yield what is to be said of settings that can be read."""
    yield ok("settings", f"right; the profiles are {', '.join(profile.name for profile in settings.profiles)}")
    for sentence in [*advice(settings), *quota_warnings(settings)]:
        yield warn("settings", sentence, "")
    if settings.takes_claims:
        yield _claim_door(settings)


def _claim_door(settings: Settings) -> Finding:
    """Return what is to be said of where containers claim their registration."""
    item, url = "claim door", settings.claim_url or ""
    if not url.lower().endswith(CLAIM_ROUTE.lower()):
        return fail(item, f"ClaimUrl does not end with {CLAIM_ROUTE}, so nobody answers", "correct ClaimUrl")
    if not url.startswith("https://"):
        return warn(item, "ClaimUrl is not https://, so it serves containers on this machine alone", "correct ClaimUrl")
    if holds_everybody(settings.claim_sources):
        cure = "name in ClaimSources the networks that your containers call from"
        return warn(item, "ClaimSources lets everybody knock: the claim alone protects it", cure)
    sources = ", ".join(map(str, settings.claim_sources))
    return ok(item, f"containers from {sources} claim at {url}")


def misconfigured(error: SettingsError) -> list[Finding]:
    """Return a line for each setting that is missing or wrong. Nothing can be asked then."""
    return [
        fail("settings", f"{name} {problem}", "set it right: every delivery is answered with 500")
        for name, problem in error.problems
    ]


def token_lines(settings: Settings, token: TokenFacts, now: datetime) -> Iterator[Finding]:
    """Yield what is to be said of `GithubToken`."""
    if token.expires_at is not None and token.expires_at - now < TOKEN_SOON:
        yield warn("credential", f"the token ends at {token.expires_at:%Y-%m-%d %H:%MZ}", "make a new one: GithubToken")
    elif token.expires_at is not None:
        yield ok("credential", f"GitHub believes the token, until {token.expires_at:%Y-%m-%d}")
    else:
        yield ok("credential", "GitHub believes the token, and names no end")
    if token.scopes is None:
        yield not_asked("permissions", "GitHub does not list those of a fine-grained token; the lines below use it")
    elif missing := missing_scopes(settings.runner_scope, token.scopes):
        yield fail("permissions", f"the token lacks {', '.join(missing)}", "give it these scopes")
    else:
        yield ok("permissions", "the token has the scopes it needs")


def app_lines(settings: Settings, app: AppFacts) -> Iterator[Finding]:
    """Yield what is to be said of the App itself."""
    yield ok("credential", f"GitHub believes the key of the App {app.slug}, which belongs to {app.owner.name}")
    if missing := missing_permissions(_app_scope(settings), app.permissions):
        yield fail("permissions", f"the App lacks {', '.join(missing)}", "add them in the App's settings")
    else:
        yield ok("permissions", "the App asks for what it needs")
    if EVENT in app.events:
        yield ok("events", "the App sends Workflow jobs")
    else:
        yield fail("events", "the App does not send Workflow jobs", "subscribe it to this event in its settings")


def installation_lines(
    settings: Settings, installations: Sequence[InstallationFacts], rule: AccountRule
) -> Iterator[Finding]:
    """Yield what is to be said of the App's installations.

    Args:
        settings: the app settings.
        installations: all of them.
        rule: which accounts' jobs may have runners.
    """
    if not installations:
        yield fail("installations", "the App is installed nowhere", "install it on the accounts whose jobs it serves")
    for one in installations:
        account = one.installed.account
        item = f"installation {account or one.installed.id}"
        missing = missing_permissions(
            _app_scope(settings, of_organization=one.installed.is_organization), one.permissions
        )
        if not account:
            yield not_asked(item, "it is on an enterprise, which has no repositories")
        elif not rule.admits(account) and rule.enterprise is None:
            cure = "uninstall the App there and make it private, or name the account in AllowedOrganizations"
            yield fail(item, f"nobody named this account, so its jobs are refused: it {rule.otherwise}", cure)
        elif one.suspended:
            yield warn(item, "it is suspended, so its jobs get no runners", "unsuspend it, or uninstall it")
        elif missing:
            cure = "an owner of the account accepts the App's new permissions"
            yield fail(item, f"the account has not granted {', '.join(missing)}", cure)
        else:
            yield ok(item, "it has granted what the App needs")


def hook_lines(where: str, hooks: Sequence[HookFacts]) -> Iterator[Finding]:
    """Yield what is to be said of the webhooks of one scope.

    Args:
        where: names the scope.
        hooks: those that lead here, as far as their addresses tell; of an App its own.
    """
    if not hooks:
        yield warn(f"webhook of {where}", f"none leads to {ROUTE}", "add it there, or where the jobs are")
    for hook in hooks:
        troubles = list(_hook_troubles(hook))
        item = f"webhook of {where}"
        for says, cure in troubles:
            yield fail(item, says, cure)
        if not troubles:
            yield ok(item, f"it leads to {hook.host} and sends what is needed")


def _hook_troubles(hook: HookFacts) -> Iterator[tuple[str, str]]:
    connect = "`python -m orchestrator app connect` sets it" if hook.path == APP_HOOK else "change the payload URL"
    if hook.route.rstrip("/").lower() != ROUTE.lower():
        yield f"it leads to {hook.host or 'nowhere'}, but not to {ROUTE} there", connect
    elif not hook.has_key:
        yield "its address has no function key (?code=…), so each delivery is answered with 401", connect
    if not hook.is_https and hook.host not in ("", "127.0.0.1", "localhost"):
        yield "its address is not https://, so the key and the payload can be read on the way", connect
    if not hook.verifies_tls:
        yield "GitHub does not check the receiver's certificate", "enable SSL verification"
    if not hook.active:
        yield "it is switched off", "make it active"
    if hook.events is not None and not hook.events & {EVENT, "*"}:
        yield "it does not send Workflow jobs", "check this event, and no other"


def delivery_lines(where: str, deliveries: Sequence[HookDelivery]) -> Iterator[Finding]:
    """Yield what is to be said of a webhook's latest deliveries.

    Args:
        where: names the webhook's scope.
        deliveries: the attempts, newest first.
    """
    item = f"deliveries of {where}"
    attempts: dict[str, list[HookDelivery]] = {}
    for delivery in deliveries:
        attempts.setdefault(delivery.guid, []).append(delivery)
    lost = [tries for tries in attempts.values() if not any(one.succeeded for one in tries)]
    refused = [tries for tries in lost if tries[0].refused]
    failed = [tries for tries in lost if not tries[0].refused]
    look = "read the answers in GitHub's Recent Deliveries"
    if not attempts:
        yield ok(item, "none in the last day")
    elif len(refused) == len(attempts):
        yield fail(item, f"all of the latest {len(attempts)} were refused (4xx)", f"{look}: key, secret or address")
    elif failed and failed[0][0].guid == deliveries[0].guid:
        yield fail(item, f"the latest one failed, and {len(failed)} of {len(attempts)} did", look)
    elif failed:
        yield warn(item, f"{len(failed)} of the latest {len(attempts)} failed; passes have them sent again", look)
    else:
        some = f", {len(refused)} of them refused (4xx)" if refused else ""
        yield ok(item, f"{len(attempts)} in the last day{some}")


def hook_range_lines(settings: Settings, published: Iterable[Network]) -> Iterator[Finding]:
    """Yield whether App Service admits all that GitHub sends from.

    Args:
        settings: the app settings; `SiteHookRanges` is what App Service was given.
        published: GitHub's own list.
    """
    item, admitted = "hook ranges", settings.site_hook_ranges
    if not admitted:
        says = "what App Service admits is not known: SiteHookRanges is empty"
        yield not_asked(item, says, "the template sets it; compare its access restrictions with GitHub's /meta")
        return
    refused = [network for network in published if not any(_holds(own, network) for own in admitted)]
    if refused:
        says = f"App Service refuses what GitHub sends from {', '.join(map(str, refused))}"
        yield fail(item, says, "deploy with githubHookIpRanges as GitHub's /meta lists them under hooks")
    else:
        yield ok(item, "App Service admits all of GitHub's ranges")


def pool_lines(pool: str, facts: PoolFacts | None, profiles: Iterable[Profile]) -> Iterator[Finding]:
    """Yield what is to be said of a pool.

    Args:
        pool: its id.
        facts: what Batch says; None if there is no such pool.
        profiles: those whose runners it has.
    """
    item = f"pool {pool}"
    if facts is None:
        yield fail(item, "Batch has no pool of this id", "create it, or correct the profile's pool")
        return
    troubles: list[Finding] = []
    for profile in profiles:
        if facts.containers != (profile.launch == "batch"):
            has = "was made for containers" if facts.containers else "was not made for containers"
            cure = "make the pool anew with a containerConfiguration, or change the profile's launch"
            says = f"it {has}, and the profile {profile.name} has launch {profile.launch}"
            troubles.append(fail(item, says, cure))
        if profile.slots > facts.slots_per_node:
            says = f"a runner of {profile.name} takes {profile.slots} slots, and a node has {facts.slots_per_node}"
            troubles.append(fail(item, says, "fewer slots, or a pool with more taskSlotsPerNode"))
    cure = "ask for quota, or take another size"
    troubles += [fail(item, f"Azure did not give all nodes: {error}", cure) for error in facts.resize_errors]
    if facts.formula_error is not None:
        says = f"its autoscale formula cannot be evaluated: {facts.formula_error}"
        troubles.append(fail(item, says, "correct the formula"))
    if facts.node_error is not None:
        says = f"a node takes no tasks: {facts.node_error}"
        troubles.append(warn(item, says, "look at the node's start task, then remove the node"))
    yield from troubles
    if not troubles:
        yield ok(item, f"{facts.nodes} nodes of {facts.slots_per_node} slots, {facts.target} wanted")


def version_lines(version: str, dates: VersionDates, now: datetime) -> Iterator[Finding]:
    """Yield until when GitHub takes a runner."""
    item, cure = f"runner {version}", "build newer images, import them, and record their RunnerVersion"
    urgency = dates.urgency(now)
    if urgency == "none":
        yield ok(item, dates.sentence(now))
    else:
        yield (fail if urgency == "now" else warn)(item, dates.sentence(now), cure)


def version_not_told(version: str, reason: str) -> Finding:
    """Return what is to be said of a runner whose dates GitHub does not tell."""
    behind = "; it is older than this release's, and GitHub stops a runner 30 days after its successor"
    says = f"GitHub does not tell until when it takes this version ({reason}){behind if is_behind(version) else ''}"
    return not_asked(f"runner {version}", says, "")


def queue_lines(queue: QueueFacts) -> Iterator[Finding]:
    """Yield what is to be said of the queues."""
    yield ok("queue", f"it takes requests; about {queue.waiting} messages wait for their next try")
    if queue.given_up:
        cure = "when the cause is mended, ReviveRequests puts them back"
        yield warn("given-up requests", f"about {queue.given_up} messages wait for somebody", cure)
    else:
        yield ok("given-up requests", "none")


def reach_lines(target: Target, trouble: str | None) -> Iterator[Finding]:
    """Yield whether a host can be reached from here.

    Args:
        target: what was tried.
        trouble: why it cannot be reached, if so.
    """
    item = f"reach {target.url.removeprefix('https://')}"
    cure = f"open the way out for {target.who}: {target.why}"
    if trouble is None:
        yield ok(item, "it answers")
    elif target.needed:
        yield fail(item, trouble, cure)
    else:
        yield warn(item, trouble, cure)


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def _app_scope(settings: Settings, *, of_organization: bool = True) -> AppScope:
    return "organization" if settings.runner_scope == "organization" and of_organization else "repository"
