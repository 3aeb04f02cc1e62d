"""A GitHub App's own authorization, and a clock that is not GitHub's."""

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.app import GitHubApp
from orchestrator.github.app_token import JWT_USED
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from tests.fakes import ManualClock

ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)
UNBELIEVED = "{\"message\": \"'Issued at' claim ('iat') must be an Integer representing the time in the past\"}"


@pytest.fixture
def clock() -> ManualClock:
    """Return our clock."""
    return ManualClock()


@pytest.fixture
def credential(github: GitHub, github_url: str, app_keys: tuple[str, str], clock: ManualClock) -> AppCredential:
    """Return the credential of an App that is installed on `acme`; GitHub's clock is ours."""
    github.clock = clock.now.timestamp
    github.add_repository("acme/app")
    app = github.add_app(app_keys[1])
    github.install(app, "acme")
    return AppCredential(GitHubClient(github_url, clock), str(app.id), app_keys[0])


@pytest.fixture
def app(github_url: str, clock: ManualClock, credential: AppCredential) -> GitHubApp:
    """Return what the App asks about itself."""
    return GitHubApp(GitHubSession(GitHubClient(github_url, clock), credential))


WAYS: dict[str, Callable[[AppCredential, GitHubApp], object]] = {
    "an installation's token": lambda credential, _: credential.authorization(ORGANIZATION),
    "a list of the App's own": lambda _, app: app.installations(),
}
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize("age", [0, JWT_USED - 1])
@pytest.mark.parametrize("ahead_s", [-240, -60, 0, 60, 240])
def test_a_clock_that_is_a_little_wrong(
    github: GitHub, clock: ManualClock, credential: AppCredential, app: GitHubApp, way: str, age: int, ahead_s: int
) -> None:
    """A clock that is off by four minutes in either direction works without a refusal, with an old token too."""
    clock.advance(timedelta(seconds=ahead_s))
    credential.authorization(None)
    clock.advance(timedelta(seconds=age))
    now = clock.now.timestamp() - ahead_s
    github.clock = lambda: now
    WAYS[way](credential, app)
    assert 401 not in github.recorder.statuses


@each_way
@pytest.mark.parametrize(
    "ahead", [timedelta(minutes=-6), timedelta(minutes=6), timedelta(days=-400), timedelta(days=9)]
)
def test_a_clock_that_is_wrong(
    github: GitHub,
    clock: ManualClock,
    credential: AppCredential,
    app: GitHubApp,
    way: str,
    ahead: timedelta,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """GitHub's refusal tells how far the clock is off; after one refusal every token is dated by GitHub's clock."""
    caplog.set_level(logging.WARNING)
    clock.advance(ahead)
    WAYS[way](credential, app)
    assert github.recorder.statuses.count(401) == 1
    clock.advance(timedelta(seconds=2 * JWT_USED))
    github.clock = (clock.now - ahead).timestamp
    app.installations()
    assert github.recorder.statuses.count(401) == 1
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["clock_ahead_s"] == ahead.total_seconds()


def test_a_clock_that_is_set_right_again(
    github: GitHub, clock: ManualClock, credential: AppCredential, app: GitHubApp
) -> None:
    """A correction that is no longer right is corrected in its turn."""
    clock.advance(timedelta(hours=1))
    app.installations()
    clock.advance(timedelta(hours=-1) + timedelta(seconds=JWT_USED))
    github.clock = clock.now.timestamp
    app.installations()
    assert credential.authorization(None)
    assert github.recorder.statuses.count(401) == 2


@each_way
@pytest.mark.parametrize("date", ["Thu, 26 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2026 12:00:00 -0000"])
def test_a_date_that_does_not_help(
    github: GitHub, credential: AppCredential, app: GitHubApp, way: str, date: str
) -> None:
    """If the corrected token is refused as well, that is an error that names the clock, and no loop."""
    fault = Fault("status", times=None, status=401, body=UNBELIEVED, headers={"Date": date})
    github.faults.add(fault)
    with pytest.raises(TransientError, match="is this machine's clock right"):
        WAYS[way](credential, app)
    assert github.faults.hits == 2


@each_way
@pytest.mark.parametrize(
    ("body", "headers", "hint"),
    [
        (UNBELIEVED, {"Date": "yesterday"}, "is this machine's clock right"),
        (UNBELIEVED, {"Date": "Wed, 25 Nov 2026 12:00:30 GMT"}, "is this machine's clock right"),
        (
            '{"message": "A JSON web token could not be decoded"}',
            {"Date": "Thu, 26 Nov 2026 12:00:00 GMT"},
            "belong together",
        ),
    ],
)
def test_nothing_to_correct(
    github: GitHub, credential: AppCredential, app: GitHubApp, way: str, body: str, headers: dict[str, str], hint: str
) -> None:
    """Without a date that differs, or if the clock is not blamed, a refusal is final and names what to check."""
    github.faults.add(Fault("status", times=None, status=401, body=body, headers=headers))
    with pytest.raises(TransientError, match=hint):
        WAYS[way](credential, app)
    assert github.faults.hits == 1


def test_corrected_by_another_thread(credential: AppCredential, clock: ManualClock) -> None:
    """A token that was refused while another thread corrected the clock is replaced without a second correction."""
    old = credential.authorization(None)
    refused = GitHubRefused(UNBELIEVED, 401, clock.now + timedelta(hours=1))
    assert credential.rejected(None, old, refused)
    new = credential.authorization(None)
    assert credential.rejected(None, old, refused)
    assert credential.authorization(None) == new


def test_the_time_of_a_token(credential: AppCredential, clock: ManualClock) -> None:
    """A token is used for a minute, and is valid for five minutes on both sides of the time it was made."""

    def claims(authorization: str) -> dict[str, Any]:
        found: dict[str, Any] = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
        return found

    made = clock.now
    first = credential.authorization(None)
    clock.advance(timedelta(seconds=JWT_USED - 1))
    assert credential.authorization(None) == first
    clock.advance(timedelta(seconds=1))
    assert credential.authorization(None) != first
    assert [claims(first)[name] - made.timestamp() for name in ("iat", "exp")] == [-300, 300]
