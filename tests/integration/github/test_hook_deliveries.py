"""What became of a webhook's deliveries, as GitHub tells it, and how they are sent again."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.hook_deliveries import HookDeliveries
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import APP_HOOK
from orchestrator.reconcile.progress import Progress
from orchestrator.reconcile.redelivery import Redelivery
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.task import TaskState
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.hooks import Hook, HookResponse
from sandbox.github.model import Scope
from tests.builders import queued_job

REPOSITORY = "acme/app"
LABELS = ("self-hosted", "linux")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Receiver:
    """Where the hooks point: it answers as told, and remembers the guid of what came."""

    def __init__(self) -> None:
        self.code = 200
        self.got: list[str] = []

    def __call__(self, _url: str, headers: Mapping[str, str], _body: bytes, _timeout: float) -> HookResponse:
        """Take one delivery."""
        if headers["X-GitHub-Event"] == "workflow_job":
            self.got.append(headers["X-GitHub-Delivery"])
        return HookResponse("OK" if self.code == 200 else "failed", self.code)


@pytest.fixture
def receiver() -> Receiver:
    """Return a receiver that takes everything."""
    return Receiver()


@pytest.fixture
def clock() -> list[float]:
    """Return the time, to be set by hand."""
    return [1_790_000_000.0]


@pytest.fixture
def github(receiver: Receiver, clock: list[float]) -> GitHub:
    """Return a GitHub that delivers at once, in the thread that causes the event."""
    github = GitHub(clock=lambda: clock[0], deliver=lambda _, attempt: attempt(), send=receiver)
    github.add_repository(REPOSITORY)
    return github


type Place = tuple[str, HookDeliveries]


@pytest.fixture(params=["app", "organization", "repository"])
def reach(
    request: pytest.FixtureRequest, github: GitHub, github_url: str, app_keys: tuple[str, str], clock: list[float]
) -> tuple[str, GitHubSession]:
    """Return the path of a hook of each kind, and a session with the fitting credentials."""
    client = GitHubClient(github_url, lambda: datetime.fromtimestamp(clock[0], UTC))
    if request.param == "app":
        app = github.add_app(app_keys[1])
        github.install(app, "acme")
        github.add_hook("http://x/", None, app=app)
        credential = AppCredential(client, str(app.id), app_keys[0])
        return APP_HOOK, GitHubSession(client, credential, background=True)
    session = GitHubSession(client, PersonalToken("ghp_sandbox"), background=True)
    return path_of(add_hook(github, request.param)), session


@pytest.fixture
def place(reach: tuple[str, GitHubSession]) -> Place:
    """Return the path of a hook of each kind, and its deliveries."""
    hook, session = reach
    return hook, HookDeliveries(session)


def add_hook(github: GitHub, kind: Any) -> Hook:
    """Configure a hook."""
    scope = Scope(kind, "acme" if kind == "organization" else REPOSITORY)
    return github.add_hook("http://x/", None, scope=scope)


def path_of(hook: Hook) -> str:
    """Return the REST path of a hook."""
    assert hook.scope is not None
    return f"/{'orgs' if hook.scope.kind == 'organization' else 'repos'}/{hook.scope.name}/hooks/{hook.id}"


class TestSince:
    """`HookDeliveries.since`."""

    def test_properties(self, github: GitHub, place: Place, receiver: Receiver, clock: list[float]) -> None:
        """Each attempt is listed, newest first, with its event, its time and how it ended."""
        hook, deliveries = place
        first = github.queue_job(REPOSITORY, LABELS)
        receiver.code = 502
        clock[0] += 60
        github.cancel_job(first.id)
        lost, taken, ping = deliveries.since(hook, LONG_AGO)
        assert (lost.event, lost.action, lost.succeeded) == ("workflow_job", "completed", False)
        assert (taken.event, taken.action, taken.succeeded) == ("workflow_job", "queued", True)
        assert (ping.event, ping.action, ping.again) == ("ping", None, False)
        assert [taken.guid, lost.guid] == receiver.got
        assert lost.delivered_at - taken.delivered_at == timedelta(minutes=1)
        assert lost.delivered_at == datetime.fromtimestamp(clock[0], UTC)

    def test_all_pages(self, github: GitHub, place: Place, receiver: Receiver) -> None:
        """Every delivery of every page is listed once, by GitHub's cursor."""
        hook, deliveries = place
        for _ in range(250):
            github.queue_job(REPOSITORY, LABELS)
        github.recorder.clear()
        found = [one.guid for one in deliveries.since(hook, LONG_AGO) if one.event == "workflow_job"]
        assert found == receiver.got[::-1]
        assert len(github.recorder.calls) == 3

    def test_no_further_than_the_moment(self, github: GitHub, place: Place, clock: list[float]) -> None:
        """Nothing older than the moment is listed, and no page behind it is asked for."""
        hook, deliveries = place
        for _ in range(150):
            github.queue_job(REPOSITORY, LABELS)
        clock[0] += 3600
        for _ in range(20):
            github.queue_job(REPOSITORY, LABELS)
        github.recorder.clear()
        moment = datetime.fromtimestamp(clock[0], UTC)
        assert len(list(deliveries.since(hook, moment))) == 20
        assert len(github.recorder.calls) == 1

    def test_no_further_than_the_bound(self, github: GitHub, reach: tuple[str, GitHubSession]) -> None:
        """However many there are, only so many pages are asked for."""
        hook, session = reach
        deliveries = HookDeliveries(session, most_pages=2)
        for _ in range(250):
            github.queue_job(REPOSITORY, LABELS)
        github.recorder.clear()
        assert len(list(deliveries.since(hook, LONG_AGO))) == 200
        assert len(github.recorder.calls) == 2

    @pytest.mark.parametrize(
        ("code", "succeeded", "refused"),
        [(200, True, False), (302, True, False), (400, False, True), (403, False, True), (500, False, False),
         (504, False, False), (0, False, False)],
    )  # fmt: skip
    def test_outcome(
        self, github: GitHub, place: Place, receiver: Receiver, code: int, succeeded: bool, refused: bool
    ) -> None:
        """What counts as taken is what GitHub counts as taken."""
        hook, deliveries = place
        receiver.code = code
        github.queue_job(REPOSITORY, LABELS)
        newest = next(iter(deliveries.since(hook, LONG_AGO)))
        assert (newest.succeeded, newest.refused) == (succeeded, refused)

    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_trouble_in_the_middle(self, github: GitHub, place: Place, status: int) -> None:
        """When GitHub does not tell the second page, there is an error: a success may stand on it."""
        hook, deliveries = place
        for _ in range(150):
            github.queue_job(REPOSITORY, LABELS)
        github.faults.add(Fault("status", "GET */deliveries", skip=1, status=status))
        with pytest.raises(TransientError, match=str(status)):
            list(deliveries.since(hook, LONG_AGO))

    @pytest.mark.parametrize("body", ["", "{}", "null", "[1]", '[{"id": 1}]', '{"message": "x"}', "<p>"])
    def test_another_shape(self, github: GitHub, place: Place, body: str) -> None:
        """An answer of another shape is transient trouble, and no empty list."""
        hook, deliveries = place
        github.faults.add(Fault("status", "GET */deliveries", status=200, body=body))
        with pytest.raises(TransientError, match="answer"):
            list(deliveries.since(hook, LONG_AGO))

    def test_time_without_zone(self, github: GitHub, place: Place) -> None:
        """A time that names no zone can be compared all the same."""
        hook, deliveries = place
        entry = {"id": 1, "guid": "g", "delivered_at": "2026-09-21T00:00:00", "redelivery": False, "status_code": 500,
                 "event": "workflow_job", "action": "queued"}  # fmt: skip
        github.faults.add(Fault("status", "GET */deliveries", status=200, body=json.dumps([entry])))
        assert len(list(deliveries.since(hook, LONG_AGO))) == 1

    @pytest.mark.parametrize("link", ['<http://x/deliveries?page=2>; rel="next"', '<x>; rel="prev"', "nonsense"])
    def test_no_cursor(self, github: GitHub, place: Place, link: str) -> None:
        """A link without a cursor ends the list instead of beginning it again."""
        hook, deliveries = place
        github.faults.add(Fault("status", "GET */deliveries", status=200, headers={"Link": link}, body="[]"))
        assert list(deliveries.since(hook, LONG_AGO)) == []


class TestRedeliver:
    """`HookDeliveries.redeliver`."""

    def test_sent_again(self, github: GitHub, place: Place, receiver: Receiver) -> None:
        """The receiver gets the same event once more under the same guid, and the list tells it from the first."""
        hook, deliveries = place
        receiver.code = 502
        github.queue_job(REPOSITORY, LABELS)
        receiver.code = 200
        failed = next(iter(deliveries.since(hook, LONG_AGO)))
        deliveries.redeliver(hook, failed)
        assert receiver.got == [failed.guid, failed.guid]
        again = next(iter(deliveries.since(hook, LONG_AGO)))
        assert (again.guid, again.again, again.succeeded) == (failed.guid, True, True)
        assert again.id != failed.id

    @pytest.mark.parametrize(
        ("status", "error"), [(404, GitHubRefused), (422, GitHubRefused), (307, TransientError), (502, TransientError)]
    )
    def test_not_done(self, github: GitHub, place: Place, status: int, error: type[Exception]) -> None:
        """What GitHub does not do is an error, a redirection included."""
        hook, deliveries = place
        failed = next(iter(deliveries.since(hook, LONG_AGO)))
        github.faults.add(Fault("status", "POST *", status=status, body='{"message": "no"}'))
        with pytest.raises(error, match=str(status)):
            deliveries.redeliver(hook, failed)


class TestCredentials:
    """Whoever asks."""

    @pytest.mark.parametrize("kind", ["organization", "repository"])
    def test_missing_permission(self, github: GitHub, github_url: str, kind: str) -> None:
        """A token that may not see hooks says what to look at, after one call."""
        github.add_token("ghp_few", permissions={"actions": "read"})
        client = GitHubClient(github_url)
        deliveries = HookDeliveries(GitHubSession(client, PersonalToken("ghp_few")))
        with pytest.raises(GitHubRefused, match=f"may the credentials do that for {kind} acme") as caught:
            list(deliveries.since(path_of(add_hook(github, kind)), LONG_AGO))
        assert caught.value.status == 403
        assert "ghp_few" not in str(caught.value)

    def test_read_only(self, github: GitHub, github_url: str) -> None:
        """A token that may see hooks but not use them is refused at the redelivery."""
        github.add_token("ghp_read", permissions={"organization_hooks": "read"})
        client = GitHubClient(github_url)
        deliveries = HookDeliveries(GitHubSession(client, PersonalToken("ghp_read")))
        hook = path_of(add_hook(github, "organization"))
        (ping,) = deliveries.since(hook, LONG_AGO)
        with pytest.raises(GitHubRefused, match="403"):
            deliveries.redeliver(hook, ping)

    def test_hook_that_is_gone(self, github: GitHub, github_url: str) -> None:
        """A hook that was deleted since its task was made is a refusal."""
        hook = add_hook(github, "organization")
        github.hooks.remove(hook.id)
        client = GitHubClient(github_url)
        deliveries = HookDeliveries(GitHubSession(client, PersonalToken("ghp_sandbox")))
        with pytest.raises(GitHubRefused, match="may the credentials see that of organization acme"):
            list(deliveries.since(path_of(hook), LONG_AGO))

    def test_installation(self, github: GitHub, github_url: str, app_keys: tuple[str, str], clock: list[float]) -> None:
        """An App with the permission reaches an organization's own hook by its installation."""
        app = github.add_app(app_keys[1])
        github.install(app, "acme", permissions={"organization_hooks": "write"})
        hook = path_of(add_hook(github, "organization"))
        client = GitHubClient(github_url, lambda: datetime.fromtimestamp(clock[0], UTC))
        credential = AppCredential(client, str(app.id), app_keys[0])
        deliveries = HookDeliveries(GitHubSession(client, credential))
        assert [one.event for one in deliveries.since(hook, LONG_AGO)] == ["ping"]

    @pytest.mark.parametrize(("hook", "error"), [(APP_HOOK, TransientError), ("/somewhere/else", GitHubRefused)])
    def test_no_place(self, github_url: str, hook: str, error: type[Exception]) -> None:
        """Without an App its hook is out of reach, and so is a path that is none of a hook: an error, no crash."""
        client = GitHubClient(github_url)
        deliveries = HookDeliveries(GitHubSession(client, PersonalToken("ghp_sandbox")))
        with pytest.raises(error):
            list(deliveries.since(hook, LONG_AGO))


class TestPasses:
    """`Redelivery` over the wire."""

    @pytest.fixture
    def make_pass(self, place: Place, clock: list[float]) -> Callable[[], None]:
        """Return what makes a pass, half an hour after the last."""
        hook, deliveries = place
        redelivery, progress = Redelivery(deliveries, app=hook == APP_HOOK), Progress()
        event = workflow_job_event(json.dumps(queued_job()).encode())
        told = WorkflowJobEvent.model_validate({**event.model_dump(), "webhook": None if hook == APP_HOOK else hook})
        now = datetime.fromtimestamp(clock[0], UTC)
        task = TaskState(
            "runner-1-1", "pool", "running", now, notes=TaskNotes(origin=Origin(event=told, profile="ubuntu"))
        )

        def make() -> None:
            clock[0] += 1800
            redelivery.run([task], datetime.fromtimestamp(clock[0], UTC), progress)

        return make

    def test_until_it_succeeds(self, github: GitHub, receiver: Receiver, make_pass: Callable[[], None]) -> None:
        """What was lost during an outage arrives once after it, and never again."""
        receiver.code = 503
        for _ in range(3):
            github.queue_job(REPOSITORY, LABELS)
        make_pass()
        receiver.code = 200
        lost = receiver.got[:3]
        for _ in range(10):
            make_pass()
        assert receiver.got == lost * 3
        github.recorder.clear()
        make_pass()
        assert [call.partition(" ")[0] for call in github.recorder.calls] == ["GET"]

    def test_never_for_ever(self, github: GitHub, receiver: Receiver, make_pass: Callable[[], None]) -> None:
        """What always fails is tried four times in all, also when its first attempt is no longer listed."""
        receiver.code = 503
        github.queue_job(REPOSITORY, LABELS)
        for _ in range(26):
            make_pass()
        assert len(receiver.got) == 4

    def test_no_secret_in_the_log(
        self, github: GitHub, make_pass: Callable[[], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Refused, the pass says so in one line that shows nothing of the credentials."""
        caplog.set_level(logging.DEBUG)
        github.faults.add(Fault("status", "GET */deliveries", status=401, times=None, body='{"message": "Bad"}'))
        make_pass()
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("orchestrator")]
        assert len(lines) == 1
        assert json.loads(lines[0])["result"] == "skipped"
        assert not any(secret in caplog.text for secret in ("ghp_", "ghs_", "eyJ", "Bearer"))
