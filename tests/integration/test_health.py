"""The set-up is proven by using it: each part in a good and in a bad state, between the stand-ins."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.application import Application
from orchestrator.config.runner_version import PINNED
from orchestrator.errors import TransientError
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Scope
from sandbox.storage_queue import QueueService
from tests.batch_tasks import NoExecutor
from tests.builders import delivery, queued_job
from tests.waiting import until

URL = "http://127.0.0.1:9/api/ProvideActionsRunner?code=s3cret"
RANGES = "192.0.2.0/24,2001:db8::/32"
GONE = '{"code": "AuthorizationFailure"}'
JSON = {"Content-Type": "application/json"}

type Make = Callable[..., Application]
type Checks = dict[str, tuple[str, str]]


@pytest.fixture
def batch() -> Batch:
    """Return an account with pools of which two are good."""
    pools = [Pool("linux", slots_per_node=2), Pool("windows", "windows"), Pool("plain", container=False)]
    return Batch(pools, executor=NoExecutor())


@pytest.fixture
def own_settings() -> dict[str, str]:
    """Return the settings of these applications."""
    return {
        "UbuntuPool": "linux",
        "WindowsPool": "windows",
        "AllowedOrganizations": "acme",
        "SiteHookRanges": RANGES,
    }


def report(application: Application, *, full: bool = True, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the report for a program."""
    answer = asyncio.run(application.health({"accept": "application/json", **headers}, full=full))
    return answer.status, json.loads(answer.text)


def checks(application: Application) -> Checks:
    """Return the worst state of each item, and what it says."""
    found: Checks = {}
    for line in report(application)[1]["checks"]:
        found.setdefault(line["item"], (line["state"], line["says"]))
    return found


def as_app(github: GitHub, keys: tuple[str, str], **changes: Any) -> dict[str, str]:
    """Have an App, with its webhook; return the settings for it."""
    app = github.add_app(keys[1])
    app = github.access.apps[app.id] = replace(app, **changes)
    github.add_hook(URL, "s", app=app)
    github.install(app, "acme")
    return {"GithubToken": "", "GithubAppId": str(app.id), "GithubAppPrivateKey": keys[0], "AllowedOrganizations": ""}


def test_all_is_well(make: Make, github: GitHub) -> None:
    """With everything set up nothing fails, each part has its line, and no line shows a key."""
    github.access.add_token("classic", scopes=["repo", "admin:org", "admin:org_hook"])
    github.add_hook(URL, "s", scope=Scope("organization", "acme"))
    until(lambda: github.deliveries and github.deliveries[0].answer)
    application = make(GithubToken="classic")
    status, found = report(application)
    bad = {line["item"] for line in found["checks"] if line["state"] != "ok"}
    assert bad == {"deliveries of organization acme"}  # nobody listens at the webhook's address
    assert status == 503
    items = [line["item"] for line in found["checks"]]
    assert items[:4] == ["settings", "credential", "permissions", "Batch"]
    assert {
        "runners of organization acme", "webhook of organization acme", "hook ranges", "pool linux", "pool windows",
        f"runner {PINNED}", "queue", "given-up requests",
    } <= set(items)  # fmt: skip
    assert found["answered"]
    assert "s3cret" not in json.dumps(found)
    assert "classic" not in json.dumps(found)


def test_short_form_and_sharing(make: Make, github: GitHub) -> None:
    """The short form has what is not ok, as a person reads it; those who ask within a minute share one look."""
    application = make(UbuntuPool="nowhere")
    answer = asyncio.run(application.health({}, full=False))
    assert (answer.status, answer.media_type) == (503, "text/plain")
    assert "pool nowhere" in answer.text
    assert "pool windows" not in answer.text
    calls = len(github.recorder.calls)
    assert report(application)[0] == 503
    assert len(github.recorder.calls) == calls


def test_misconfigured(make: Make) -> None:
    """Wrong settings are failures of the set-up like all others, by name and never by value."""
    application = make(BatchAccountKey="s3cret!")
    status, found = report(application)
    assert (status, found["state"]) == (503, "fail")
    assert [line["item"] for line in found["checks"]] == ["settings"]
    assert "s3cret" not in json.dumps(found)


def test_from_elsewhere(make: Make) -> None:
    """With `OperatorSources` others are refused."""
    application = make(OperatorSources="10.1.0.0/16")
    answer = asyncio.run(application.health({"x-forwarded-for": "10.2.0.1:1"}, full=True))
    assert (answer.status, answer.body["result"]) == (403, "refused")


def test_an_app(make: Make, github: GitHub, app_keys: tuple[str, str]) -> None:
    """A GitHub App, its installation, its webhook and where its runners register are looked at."""
    found = checks(make(**as_app(github, app_keys)))
    assert {found[item][0] for item in ("credential", "permissions", "events", "installation acme")} == {"ok"}
    assert found["webhook of the App"] == ("ok", "it leads to 127.0.0.1 and sends what is needed")
    assert found["runners of organization acme"][0] == "ok"


def test_a_bad_app(make: Make, github: GitHub, app_keys: tuple[str, str]) -> None:
    """An App without its permissions and event, and a stranger's installation, fail with their names."""
    settings = as_app(github, app_keys, permissions={"actions": "read"}, events=("push",))
    github.install(github.access.apps[int(settings["GithubAppId"])], "evil-corp")
    found = checks(make(**settings))
    assert found["permissions"] == ("fail", "the App lacks organization_self_hosted_runners: write")
    assert found["events"][0] == "fail"
    assert found["installation evil-corp"][0] == "fail"
    assert "runners of organization evil-corp" not in found


@pytest.mark.parametrize(
    ("changes", "item", "state", "words"),
    [
        ({"GithubToken": "unknown"}, "credential", "fail", "has GithubToken expired?"),
        ({"AllowedOrganizations": ""}, "scope", "not asked", "where runners register"),
        ({"SiteHookRanges": "192.0.2.0/24"}, "hook ranges", "fail", "2001:db8::/32"),
        ({"UbuntuPool": "nowhere"}, "pool nowhere", "fail", "no pool of this id"),
        ({"UbuntuPool": "plain"}, "pool plain", "fail", "was not made for containers"),
        ({"BatchAccountKey": "d3Jvbmc="}, "Batch", "fail", "is BatchAccountKey right"),
        ({"BatchAccountKey": "d3Jvbmc="}, "pool linux", "fail", "is BatchAccountKey right"),
    ],
)
def test_bad_settings(make: Make, changes: dict[str, str], item: str, state: str, words: str) -> None:
    """A setting that can be read and is wrong all the same is found by using it."""
    found = checks(make(**changes))
    assert found[item][0] == state
    assert words in found[item][1]


def test_a_token_without_rights(make: Make, github: GitHub) -> None:
    """What a token may not read is said: runners are needed, webhooks may be left to a person."""
    github.access.add_token("weak", permissions={})
    found = checks(make(GithubToken="weak"))
    assert found["runners of organization acme"][0] == "fail"
    assert found["webhook of organization acme"][0] == "not asked"
    assert found[f"runner {PINNED}"][0] == "not asked"


def test_a_webhook_that_leads_elsewhere(make: Make, github: GitHub) -> None:
    """Other people's webhooks are left alone; that none leads here is said."""
    github.add_hook("https://ci.example/hook?token=s3cret", "s", scope=Scope("organization", "acme"))
    assert checks(make())["webhook of organization acme"] == ("warn", "none leads to /api/ProvideActionsRunner")


def test_a_runner_that_ends(make: Make, github: GitHub) -> None:
    """GitHub's own date for the runner's version decides."""
    github.version_dates[PINNED] = {"runtime_deprecates_at": "2026-01-01T00:00:00Z"}
    assert checks(make())[f"runner {PINNED}"] == ("fail", f"GitHub takes no runner {PINNED} since 2026-01-01")


def test_an_enterprise(make: Make, github: GitHub) -> None:
    """An enterprise's runners are asked for there; it has no webhook of its own."""
    found = checks(make(RunnerScope="enterprise", GithubEnterprise="corp"))
    assert found["runners of enterprise corp"][0] == "ok"
    assert not [item for item in found if item.startswith("webhook")]
    assert any(call.startswith("GET /enterprises/corp/actions/runners/dep") for call in github.recorder.calls)


def test_own_sources(make: Make) -> None:
    """Where GitHub's ranges admit nobody, they are not compared."""
    assert "hook ranges" not in checks(make(AllowedSources="10.0.0.0/8"))


def test_a_recent_job_tells_the_scope(make: Make) -> None:
    """Without a setting that names an organization a recent job's task does."""
    application = make(AllowedOrganizations="", AllowedSources="140.82.112.0/20")
    asyncio.run(application.receive(*delivery(queued_job())))
    assert checks(application)["runners of organization acme"][0] == "ok"


def test_resize_errors(make: Make, batch: Batch) -> None:
    """A pool that Azure gives no nodes fails with Azure's reason."""
    batch._state.pools["linux"].resize_error = ("AccountCoreQuotaReached", "The core quota is reached")
    assert checks(make())["pool linux"][1] == (
        "Azure did not give all nodes: AccountCoreQuotaReached: The core quota is reached"
    )


def test_queues(make: Make, queue: QueueService) -> None:
    """What was given up waits for a person; a queue that refuses fails, and one that is silent is not known."""
    application = make()
    application._queue().dead_letter(b"{}", "no reason")
    assert checks(application)["given-up requests"][0] == "warn"
    for status, body, expected in ((403, "AuthorizationPermissionMismatch", "fail"), (503, "", "not asked")):
        queue.faults.clear()
        queue.faults.add(Fault("status", times=None, status=status, headers={"x-ms-error-code": body}))
        assert checks(make())["queue"][0] == expected


def test_nobody_answers(make: Make, github: GitHub, batch: Batch, queue: QueueService) -> None:
    """Where nobody answers, nothing is said to fail, and the report says that it lacks answers."""
    for service in (github, batch, queue):
        service.faults.add(Fault("drop", times=None))
    _, found = report(make())
    states = {line["item"]: line["state"] for line in found["checks"]}
    assert {states[item] for item in ("credential", "Batch", "pool linux", "hook ranges", "queue")} == {"not asked"}
    assert not found["answered"]


def test_no_thread_is_free(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the look does not come to an end in time, that is told to whoever asks."""
    application = make()

    def silent() -> None:
        raise TransientError("not done in time")

    monkeypatch.setattr(application, "_upstream", silent)
    assert report(application) == (503, {"result": "failed", "reason": "not done in time"})
