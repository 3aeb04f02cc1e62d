"""What each answer about the set-up means."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from orchestrator.config.runner_version import PINNED
from orchestrator.errors import SettingsError
from orchestrator.explain.facts import PoolFacts, ServiceError
from orchestrator.health import conclusions
from orchestrator.health.facts import AppFacts, HookFacts, InstallationFacts, QueueFacts, Target, TokenFacts
from orchestrator.health.finding import Finding, State
from orchestrator.jobs.accounts import AccountRule, AppOwner
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.runners.installed import Installed
from orchestrator.runners.version_dates import VersionDates
from tests.builders import settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ORGANIZATION = {"organization_self_hosted_runners": "write", "actions": "read"}
APP = AppFacts("runners", AppOwner("account", "acme"), ORGANIZATION, frozenset({"workflow_job"}))
ACME = AccountRule.of_owner(AppOwner("account", "acme"), frozenset())
HERE = InstallationFacts(Installed(1, "acme", is_organization=True), ORGANIZATION, suspended=False)
HOOK = HookFacts(
    "/orgs/acme/hooks/1", "f.example", "/api/ProvideActionsRunner", has_key=True, is_https=True,
    events=frozenset({"workflow_job"}),
)  # fmt: skip
POOL = PoolFacts("batchLinux", slots_per_node=2, nodes=1, target=1, steady=True)


def worst(lines: Iterable[Finding]) -> tuple[State, str]:
    """Return the state and the words of the lines that are not ok; of the last one if all are."""
    found = list(lines)
    bad = [line for line in found if line.state != State.OK]
    return (bad[0].state, " | ".join(line.says for line in bad)) if bad else (State.OK, found[-1].says)


def test_settings() -> None:
    """Settings that can be read are right; advice about them is a warning; each that is wrong is a failure."""
    assert worst(conclusions.settings_lines(settings())) == (
        State.OK,
        "right; the profiles are ubuntu-latest, ubuntu-22.04, ubuntu-20.04, ubuntu-18.04, windows-latest",
    )
    state, says = worst(conclusions.settings_lines(settings(AllowedRepositories="acme/app")))
    assert (state, "AllowedRepositories alone" in says) == (State.WARN, True)
    lines = conclusions.misconfigured(SettingsError([("A", "is missing"), ("B", "is wrong")]))
    assert [(line.state, line.says) for line in lines] == [(State.FAIL, "A is missing"), (State.FAIL, "B is wrong")]


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, State.OK, "containers from 10.1.0.0/16, 192.0.2.7/32 claim at https://f.example/api/ClaimRunner"),
        ({"ClaimUrl": "https://f.example/api/claimrunner"}, State.OK, "claim at"),
        ({"ClaimUrl": "https://f.example/claims"}, State.FAIL, "does not end with /api/ClaimRunner"),
        ({"ClaimUrl": "http://127.0.0.1:7071/api/ClaimRunner"}, State.WARN, "on this machine alone"),
        ({"ClaimSources": "0.0.0.0/0"}, State.WARN, "lets everybody knock"),
    ],
)
def test_claim_door(changes: dict[str, str], state: State, words: str) -> None:
    """Where claims are taken, their address leads to the function, by TLS, and not everybody may knock."""
    claiming = {
        "RunnerRegistration": "claim",
        "ClaimKey": "k" * 32,
        "ClaimUrl": "https://f.example/api/ClaimRunner",
        "ClaimSources": "10.1.0.0/16, 192.0.2.7",
    }
    (line,) = [line for line in conclusions.settings_lines(settings(**claiming | changes)) if line.item == "claim door"]
    assert (line.state, words in line.says) == (state, True)
    assert [line.item for line in conclusions.settings_lines(settings())] == ["settings"]


@pytest.mark.parametrize(
    ("token", "scope", "expected"),
    [
        (TokenFacts(frozenset({"repo", "admin:org"})), "organization", (State.OK, "the token has the scopes it needs")),
        (TokenFacts(frozenset({"repo"})), "organization", (State.FAIL, "the token lacks admin:org")),
        (TokenFacts(frozenset()), "repository", (State.FAIL, "the token lacks repo")),
        (TokenFacts(frozenset({"repo", "manage_runners:enterprise"})), "enterprise",
         (State.OK, "the token has the scopes it needs")),
        (TokenFacts(frozenset({"repo"}), NOW + timedelta(days=13)), "repository",
         (State.WARN, "the token ends at 2026-12-08 12:00Z")),
        (TokenFacts(frozenset({"repo"}), NOW + timedelta(days=14)), "repository",
         (State.OK, "the token has the scopes it needs")),
        (TokenFacts(None), "organization",
         (State.NOT_ASKED, "GitHub does not list those of a fine-grained token; the lines below use it")),
    ],
)  # fmt: skip
def test_token(token: TokenFacts, scope: str, expected: tuple[State, str]) -> None:
    """A token that ends within two weeks is a warning, one that lacks a scope a failure."""
    found = settings(RunnerScope=scope, GithubEnterprise="corp")
    assert worst(conclusions.token_lines(found, token, NOW)) == expected


@pytest.mark.parametrize(
    ("app", "scope", "expected"),
    [
        (APP, "organization", (State.OK, "the App sends Workflow jobs")),
        (APP, "repository", (State.FAIL, "the App lacks administration: write")),
        (replace(APP, permissions={**ORGANIZATION, "actions": "admin"}), "organization",
         (State.OK, "the App sends Workflow jobs")),
        (replace(APP, permissions={"organization_self_hosted_runners": "read", "actions": "strange"}), "organization",
         (State.FAIL, "the App lacks organization_self_hosted_runners: write, actions: read")),
        (replace(APP, events=frozenset({"push"})), "organization",
         (State.FAIL, "the App does not send Workflow jobs")),
    ],
)  # fmt: skip
def test_app(app: AppFacts, scope: str, expected: tuple[State, str]) -> None:
    """An App without a permission that its runners need, or without the event, is a failure."""
    assert worst(conclusions.app_lines(settings(RunnerScope=scope), app)) == expected


@pytest.mark.parametrize(
    ("installations", "expected"),
    [
        ([HERE], (State.OK, "it has granted what the App needs")),
        ([], (State.FAIL, "the App is installed nowhere")),
        ([replace(HERE, suspended=True)], (State.WARN, "it is suspended, so its jobs get no runners")),
        ([replace(HERE, permissions={"actions": "read"})],
         (State.FAIL, "the account has not granted organization_self_hosted_runners: write")),
        ([replace(HERE, installed=Installed(2, "Acme", is_organization=False))],
         (State.FAIL, "the account has not granted administration: write")),
        ([replace(HERE, installed=Installed(2, "", is_organization=True))],
         (State.NOT_ASKED, "it is on an enterprise, which has no repositories")),
        ([replace(HERE, installed=Installed(2, "evil", is_organization=True))],
         (State.FAIL, ("nobody named this account, so its jobs are refused: it may have no runners: the GitHub App "
                      "belongs to acme (see AllowedOrganizations)"))),
    ],
)  # fmt: skip
def test_installations(installations: list[InstallationFacts], expected: tuple[State, str]) -> None:
    """An installation that nobody named, or that has not granted what is needed, is a failure."""
    assert worst(conclusions.installation_lines(settings(), installations, ACME)) == expected


def test_an_enterprises_app() -> None:
    """Whether an account belongs to the enterprise that owns the App is not known here, so it is not blamed."""
    rule = AccountRule.of_owner(AppOwner("enterprise", "corp"), frozenset())
    assert worst(conclusions.installation_lines(settings(), [HERE], rule))[0] == State.OK


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (replace(HOOK, route="/not-connected-yet"),
         "it leads to f.example, but not to /api/ProvideActionsRunner there"),
        (replace(HOOK, host="", route=""), "it leads to nowhere, but not to /api/ProvideActionsRunner there"),
        (replace(HOOK, has_key=False),
         "its address has no function key (?code=…), so each delivery is answered with 401"),
        (replace(HOOK, is_https=False),
         "its address is not https://, so the key and the payload can be read on the way"),
        (replace(HOOK, verifies_tls=False), "GitHub does not check the receiver's certificate"),
        (replace(HOOK, active=False), "it is switched off"),
        (replace(HOOK, events=frozenset({"push"})), "it does not send Workflow jobs"),
    ],
)  # fmt: skip
def test_a_wrong_webhook(hook: HookFacts, says: str) -> None:
    """Whatever keeps a webhook's deliveries from being served is a failure, and its address is not shown."""
    assert worst(conclusions.hook_lines("organization acme", [hook])) == (State.FAIL, says)


def test_webhooks() -> None:
    """A right webhook is ok, whoever says what it sends; where none leads here, one may be elsewhere."""
    right = [HOOK, replace(HOOK, events=frozenset({"*"})), replace(HOOK, path=APP_HOOK, events=None)]
    assert worst(conclusions.hook_lines("the App", right)) == (
        State.OK,
        "it leads to f.example and sends what is needed",
    )
    assert worst(conclusions.hook_lines("organization acme", []))[0] == State.WARN


def attempt(number: int, guid: str, *, succeeded: bool = False, refused: bool = False) -> HookDelivery:
    """Return an attempt."""
    return HookDelivery(number, guid, NOW, "workflow_job", "queued", succeeded, refused=refused)


@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [
        ([], (State.OK, "none in the last day")),
        ([attempt(2, "b", succeeded=True), attempt(1, "a", refused=True)],
         (State.OK, "2 in the last day, 1 of them refused (4xx)")),
        ([attempt(2, "a", succeeded=True), attempt(1, "a")], (State.OK, "1 in the last day")),
        ([attempt(2, "b", succeeded=True), attempt(1, "a")],
         (State.WARN, "1 of the latest 2 failed; passes have them sent again")),
        ([attempt(2, "b"), attempt(1, "a", succeeded=True)],
         (State.FAIL, "the latest one failed, and 1 of 2 did")),
        ([attempt(1, "a", refused=True)], (State.FAIL, "all of the latest 1 were refused (4xx)")),
    ],
)  # fmt: skip
def test_deliveries(deliveries: list[HookDelivery], expected: tuple[State, str]) -> None:
    """Deliveries that failed and were not sent again with success are told; the latest one counts most."""
    assert worst(conclusions.delivery_lines("organization acme", deliveries)) == expected


@pytest.mark.parametrize(
    ("site", "state"),
    [
        ("", State.NOT_ASKED),
        ("140.82.112.0/20, 2a0a:a440::/29", State.OK),
        ("140.82.0.0/16, 2a0a::/16", State.OK),
        ("140.82.112.0/20", State.FAIL),
        ("140.82.113.0/24, ::/0", State.FAIL),
    ],
)
def test_hook_ranges(site: str, state: State) -> None:
    """What GitHub publishes must lie within what App Service was given."""
    published = [ip_network("140.82.112.0/20"), ip_network("2a0a:a440::/29")]
    assert worst(conclusions.hook_range_lines(settings(SiteHookRanges=site), published))[0] == state


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (POOL, State.OK, "1 nodes of 2 slots, 1 wanted"),
        (None, State.FAIL, "Batch has no pool of this id"),
        (replace(POOL, containers=False), State.FAIL, "it was not made for containers, and the profile a has launch"),
        (replace(POOL, slots_per_node=1), State.FAIL, "a runner of b takes 2 slots, and a node has 1"),
        (replace(POOL, resize_errors=(ServiceError("AccountCoreQuotaReached", ""),)), State.FAIL, "AccountCoreQuota"),
        (replace(POOL, formula_error=ServiceError("Wrong", "no such variable")), State.FAIL, "no such variable"),
        (replace(POOL, node_error=ServiceError("DiskFull", "")), State.WARN, "DiskFull"),
    ],
)  # fmt: skip
def test_pool(facts: PoolFacts | None, state: State, words: str) -> None:
    """A pool that is missing, cannot grow, or does not fit its profiles is a failure."""
    profiles = settings(
        RunnerProfiles='[{"name": "a", "pool": "p", "image": "r.io/i"},'
        ' {"name": "b", "pool": "p", "image": "r.io/i", "slots": 2}]'
    ).profiles
    found = worst(conclusions.pool_lines("batchLinux", facts, profiles))
    assert found[0] == state
    assert words in found[1]


def test_a_container_pool_with_docker() -> None:
    """Where the task itself calls Docker, a pool that was made for containers refuses its tasks."""
    profiles = settings(
        RunnerProfiles='[{"name": "a", "pool": "p", "image": "r.io/i", "launch": "docker"}]'
    ).profiles  # fmt: skip
    assert "it was made for containers" in worst(conclusions.pool_lines("p", POOL, profiles))[1]
    assert worst(conclusions.pool_lines("p", replace(POOL, containers=False), profiles))[0] == State.OK


@pytest.mark.parametrize(
    ("days", "state"), [(None, State.OK), (14, State.OK), (13, State.WARN), (2, State.FAIL), (-1, State.FAIL)]
)
def test_runner_version(days: int | None, state: State) -> None:
    """A runner that GitHub takes for less than two weeks is a warning, for less than three days a failure."""
    end = None if days is None else NOW + timedelta(days=days)
    assert worst(conclusions.version_lines("2.338.0", VersionDates("2.338.0", None, end), NOW))[0] == state


def test_a_version_whose_dates_are_not_told() -> None:
    """Without GitHub's dates it is said whether this release knows a newer runner."""
    assert "older than this release's" not in conclusions.version_not_told(PINNED, "404").says
    assert "older than this release's" in conclusions.version_not_told("2.330.0", "404").says


def test_queue() -> None:
    """Requests that were given up wait for a person, and are a warning."""
    assert worst(conclusions.queue_lines(QueueFacts(3, 0))) == (State.OK, "none")
    assert worst(conclusions.queue_lines(QueueFacts(0, 2))) == (State.WARN, "about 2 messages wait for somebody")


def test_reach() -> None:
    """A host without which nothing works is a failure where it cannot be reached; any other is a warning."""
    target = Target("https://api.github.com", "function", "GitHub's API")
    assert worst(conclusions.reach_lines(target, None))[0] == State.OK
    assert worst(conclusions.reach_lines(target, "no connection"))[0] == State.FAIL
    assert worst(conclusions.reach_lines(replace(target, needed=False), "no connection"))[0] == State.WARN
