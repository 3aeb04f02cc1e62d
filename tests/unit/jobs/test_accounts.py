"""Which accounts' jobs may have runners."""

import json
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.accounts import AccountRule, AppOwner, accounts_of
from orchestrator.jobs.event import Enterprise, WorkflowJobEvent
from tests.builders import queued_job, settings


def event(account: str = "acme", **changes: Any) -> WorkflowJobEvent:
    """Return a queued job of an account."""
    repository = queued_job()["repository"] | {"full_name": f"{account}/app", "owner": {"login": account}}
    return workflow_job_event(
        json.dumps(queued_job(**{"repository": repository, "organization": {"login": account}} | changes)).encode()
    )


def of_owner(kind: Any, name: str, *members: str) -> AccountRule:
    """Return the rule of an App that belongs to somebody."""
    return AccountRule.of_owner(AppOwner(kind, name), frozenset(members))


def test_no_rule() -> None:
    """Without the setting there is no rule that the settings make."""
    rule = AccountRule.of_settings(settings())
    assert rule.refusal(event("anybody")) is None
    assert rule.admits("anybody")


def test_of_settings() -> None:
    """With the setting, the accounts that it names are admitted, in any case."""
    rule = AccountRule.of_settings(settings(AllowedOrganizations="acme,Mona"))
    assert [rule.admits(account) for account in ("ACME", "mona", "evil-corp")] == [True, True, False]
    assert rule.refusal(event("MONA", organization=None)) is None
    assert rule.refusal(event("evil-corp")) == "the account evil-corp is not among AllowedOrganizations"


def test_of_an_account() -> None:
    """An App that belongs to an account serves that account alone; the reason names the setting."""
    rule = of_owner("account", "Acme")
    assert rule.refusal(event("acme")) is None
    refusal = rule.refusal(event("evil-corp"))
    assert refusal is not None
    assert "evil-corp" in refusal
    assert "belongs to Acme" in refusal
    assert "AllowedOrganizations" in refusal


@pytest.mark.parametrize(
    ("account", "slug", "admitted"),
    [
        ("acme", "big", True),
        ("acme", "BIG", True),
        ("acme", "other", False),
        ("acme", None, False),
        ("member", None, True),
        ("member", "other", False),
    ],
)
def test_of_an_enterprise(account: str, slug: str | None, admitted: bool) -> None:
    """An enterprise's App serves jobs that name the enterprise, and accounts of which that is known already."""
    rule = of_owner("enterprise", "Big", "member")
    refusal = rule.refusal(event(account, enterprise=None if slug is None else {"slug": slug}))
    assert (refusal is None) == admitted
    assert admitted or "AllowedOrganizations" in str(refusal)


@pytest.mark.parametrize(
    "changes",
    [
        {"organization": {"login": "evil-corp"}},
        {"repository": queued_job()["repository"] | {"owner": {"login": "evil-corp"}}},
        {"repository": queued_job()["repository"] | {"full_name": "evil-corp/app"}},
    ],
)
def test_every_account_that_a_job_names(changes: dict[str, Any]) -> None:
    """A job is refused if any of its accounts is not admitted: a runner may be started for each of them."""
    assert len(accounts_of(event(**changes))) == 3
    assert "evil-corp" in str(AccountRule.of_settings(settings(AllowedOrganizations="acme")).refusal(event(**changes)))


@pytest.mark.parametrize(
    ("enterprise", "slug"),
    [
        ({"slug": "big", "name": "Big"}, "big"),
        ({"slug": "a/../b"}, None),
        ({"slug": 7}, None),
        ({}, None),
        ("big", None),
        (None, None),
    ],
)
def test_the_enterprise_of_a_job(enterprise: Any, slug: str | None) -> None:
    """An enterprise is read by its slug; one that cannot be read counts as none, and makes no delivery malformed."""
    found = event(enterprise=enterprise)
    assert (found.enterprise and found.enterprise.slug) == slug
    assert WorkflowJobEvent.model_validate_json(found.model_dump_json()) == found


def test_an_enterprise_as_it_is() -> None:
    """An event can also be made of parts that were read already."""
    whole = event()
    parts = {name: getattr(whole, name) for name in ("action", "workflow_job", "repository")}
    assert WorkflowJobEvent(**parts, enterprise=Enterprise(slug="big")).enterprise == Enterprise(slug="big")
