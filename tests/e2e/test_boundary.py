"""Who may have runners: strangers that install the App, and repositories that the runner group does not admit."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.deployment import GITHUB_ADDRESS, REPOSITORY, Deployment
from sandbox.faults import Fault
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.github.access import App
from sandbox.github.model import Scope
from tests.e2e.helpers import all_done, answers, lines, pass_over
from tests.waiting import until

LABELS = ("self-hosted", "ubuntu-latest")
STRANGER = "evil-corp/app"
# Long enough ago for a job to count as forgotten by its delivery.
LAG = 301.0


def connect(deployment: Deployment, public_key: str, **owner: Any) -> App:
    """Make an App whose hook calls the function, and install it on its own account."""
    app = deployment.github.add_app(public_key, app_id=4711, **owner)
    deployment.github.install(app, "acme")
    deployment.github.add_hook(
        deployment.webhook_url, deployment.secret, app=app, headers={CLIENT_ADDRESS: GITHUB_ADDRESS}
    )
    return app


def app_settings(private_key: str, **changes: str) -> dict[str, str]:
    """Return the settings of that App."""
    return {"GithubToken": "", "GithubAppId": "4711", "GithubAppPrivateKey": private_key, **changes}


class TestAStranger:
    """Somebody else installs the App, because it is public."""

    @pytest.fixture(params=["", "acme"])
    def deployment(self, request: pytest.FixtureRequest, app_keys: tuple[str, str]) -> Iterator[Deployment]:
        """Return a deployment with an App of acme's that a stranger has installed; without and with the setting."""
        private, public = app_keys
        settings = app_settings(private, AllowedOrganizations=request.param)
        with Deployment(settings=settings, connect_hook=False) as deployment:
            deployment.github.install(connect(deployment, public), "evil-corp")
            yield deployment

    def test_no_runner(self, deployment: Deployment) -> None:
        """The stranger's job is refused with 403 that names the setting, and gets neither task nor runner nor token."""
        deployment.github.queue_job(STRANGER, LABELS)
        until(lambda: answers(deployment))
        ((code, body),) = answers(deployment)
        assert (code, body["result"]) == (403, "refused")
        assert "AllowedOrganizations" in body["reason"]
        assert deployment.batch.recorder.calls == []
        assert [call for call in deployment.github.recorder.calls if "evil-corp" in call or "POST /app" in call] == []
        deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: [job.status for job in deployment.github.jobs] == ["queued", "completed"])

    def test_no_look(self, deployment: Deployment) -> None:
        """A pass asks nothing about the stranger, starts nothing there, and says that there is one."""
        deployment.github.queue_job(STRANGER, LABELS)
        until(lambda: answers(deployment))
        deployment.github.recorder.clear()
        assert pass_over(deployment)[-1]["jobs"] == 0
        strange = deployment.github.access.installations
        stranger = next(number for number, found in strange.items() if found.account == "evil-corp")
        calls = deployment.github.recorder.calls
        assert f"GET /repos/{REPOSITORY}/actions/runs -> 200" in calls
        assert [call for call in calls if "evil-corp" in call or f"/installations/{stranger}/" in call] == []
        assert deployment.batch.task_bodies() == {}
        until(lambda: lines(deployment, "boundary"))
        (line,) = lines(deployment, "boundary")
        assert (line["result"], line["account"]) == ("refused", "evil-corp")
        assert "CRITICAL" in deployment.host.logs


def test_the_owner_is_not_known_yet(app_keys: tuple[str, str]) -> None:
    """While GitHub does not say who owns the App, a job is kept, and served when GitHub is back."""
    private, public = app_keys
    with Deployment(settings=app_settings(private), connect_hook=False) as deployment:
        deployment.github.faults.add(Fault("status", "GET /app", status=502))
        connect(deployment, public)
        deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: answers(deployment))
        assert [(code, body["result"]) for code, body in answers(deployment)] == [(202, "kept")]
        deployment.skip(60)
        until(lambda: all_done(deployment))


def test_an_app_of_an_enterprise(app_keys: tuple[str, str]) -> None:
    """An enterprise's App serves what a delivery names as the enterprise's, and nothing else."""
    private, public = app_keys
    with Deployment(settings=app_settings(private), connect_hook=False) as deployment:
        deployment.github.add_repository(REPOSITORY, enterprise="big")
        app = connect(deployment, public, owner="big", owner_type="Enterprise")
        deployment.github.add_repository("other/app", enterprise="small")
        for account in ("other", "evil-corp"):
            deployment.github.install(app, account)
        for repository in (STRANGER, "other/app", REPOSITORY):
            deployment.github.queue_job(repository, LABELS)
        until(lambda: len(answers(deployment)) == 3)
        assert sorted(code for code, _ in answers(deployment)) == [201, 403, 403]
        until(lambda: deployment.github.jobs[-1].status == "completed")


class TestAGroup:
    """The runners' group admits chosen repositories only."""

    @pytest.fixture
    def deployment(self) -> Iterator[Deployment]:
        """Return a deployment whose runners are in a group for `acme/app`; a pass looks at another repository too."""
        settings = {"RunnerGroup": "Batch", "ReconcileRepositories": f"{REPOSITORY},acme/out"}
        with Deployment(settings=settings, lag=LAG) as deployment:
            deployment.github.add_repository("acme/out")
            deployment.github.add_runner_group(Scope("organization", "acme"), "Batch", repositories=[REPOSITORY])
            yield deployment

    def test_no_runner(self, deployment: Deployment) -> None:
        """A repository that the group does not admit gets no runner, by its delivery or by a pass; the log says why."""
        deployment.github.queue_job("acme/out", LABELS)
        until(lambda: answers(deployment))
        ((code, body),) = answers(deployment)
        assert (code, body["result"]) == (403, "refused")
        assert body["reason"].endswith("does not exist, or does not admit acme/out")
        found = pass_over(deployment)
        assert [line["reason"] for line in found if line["result"] == "refused"] == [body["reason"]]
        assert found[-1]["actions"] == {}
        assert deployment.batch.task_bodies() == {}
        deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: [job.status for job in deployment.github.jobs] == ["queued", "completed"])


def test_a_group_that_admits_more() -> None:
    """A group that admits public repositories against the settings is a warning, with the first pass that sees it."""
    with Deployment(lag=LAG) as deployment:
        deployment.github.add_runner_group(Scope("organization", "acme"), "Default", public=True)
        deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: all_done(deployment))
        pass_over(deployment)
        until(
            lambda: "the default runner group of organization acme admits public repositories" in deployment.host.logs
        )


def test_a_group_that_may_not_be_asked() -> None:
    """Where the credentials may not ask, the runner starts and the log says what was not checked."""
    with Deployment() as deployment:
        groups, body = "GET /orgs/acme/actions/runner-groups", '{"message": "Resource not accessible by integration"}'
        deployment.github.faults.add(Fault("status", groups, times=None, status=403, body=body))
        deployment.github.queue_job(REPOSITORY, LABELS)
        until(lambda: all_done(deployment))
        assert (
            "whether the runner groups of organization acme admit a repository cannot be asked" in deployment.host.logs
        )
