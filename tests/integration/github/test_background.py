"""How the control loop reads GitHub's lists: whole or not at all, and within the budget."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from orchestrator.errors import CallsSpent, GitHubRefused, ListTooLong, TransientError
from orchestrator.github.app import GitHubApp
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.repositories import Repositories
from orchestrator.github.runners import TOO_LONG_FOR, Runners
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.limits import Budget
from sandbox.github.model import Label, Registration
from sandbox.github.model import Scope as StandInScope
from tests.fakes import ManualClock

REPOSITORY = "acme/app"
ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)
LABELS = ("self-hosted", "linux")
LISTING = "/orgs/acme/actions/runners"


@pytest.fixture
def client(github: GitHub, github_url: str) -> GitHubClient:
    """Return a client; there is a repository `acme/app`."""
    github.add_repository(REPOSITORY)
    return GitHubClient(github_url)


@pytest.fixture
def runners(client: GitHubClient) -> Runners:
    """Return the runners as the control loop reaches them."""
    return Runners(GitHubSession(client, PersonalToken("ghp_sandbox"), background=True))


def register(github: GitHub, count: int, prefix: str = "r") -> None:
    """Let there be some runners of the organization."""
    with github.changing() as now:
        for number in range(count):
            registration = Registration(f"{prefix}-{number}", (Label("Self-Hosted"), Label("Linux")), 1, jit=True)
            github.state.register(StandInScope("organization", "acme"), registration, now)


class TestListing:
    """`GitHubSession.listing`, as the runners are read by it."""

    @pytest.mark.parametrize(("count", "calls"), [(0, 1), (1, 1), (99, 1), (100, 2), (101, 2), (250, 3)])
    def test_all_pages(self, github: GitHub, runners: Runners, count: int, calls: int) -> None:
        """Every entry of every page is read once."""
        register(github, count)
        assert [runner.name for runner in runners.listed(ORGANIZATION)] == [f"r-{number}" for number in range(count)]
        assert len(github.recorder.calls) == calls

    def test_properties(self, github: GitHub, runners: Runners) -> None:
        """A runner is read with its state and its labels in lower case."""
        register(github, 1)
        (runner,) = runners.listed(ORGANIZATION)
        assert (runner.online, runner.busy, runner.labels) == (False, False, frozenset({"self-hosted", "linux"}))

    def test_short_page(self, github: GitHub, runners: Runners) -> None:
        """A page that is short though GitHub links another is not taken for the end."""
        entry = {"id": 7, "name": "x", "status": "online", "busy": False, "labels": []}
        first = json.dumps({"total_count": 2, "runners": [entry]})
        link = f'<{github.url}{LISTING}?per_page=100&page=2>; rel="next", <{github.url}{LISTING}?page=2>; rel="last"'
        github.faults.add(
            Fault("status", status=200, headers={"Link": link}, body=first),
            Fault("status", status=200, body=json.dumps({"total_count": 2, "runners": [{**entry, "id": 8}]})),
        )
        assert [runner.id for runner in runners.listed(ORGANIZATION)] == [7, 8]

    def test_seen_twice(self, github: GitHub, runners: Runners) -> None:
        """A runner that moved to the next page while they were read counts once."""
        entries = [{"id": n, "name": f"x-{n}", "status": "online", "busy": False, "labels": []} for n in range(101)]
        github.faults.add(
            Fault("status", status=200, body=json.dumps({"runners": entries[:100]})),
            Fault("status", status=200, body=json.dumps({"runners": entries[99:]})),
        )
        assert [runner.id for runner in runners.listed(ORGANIZATION)] == list(range(101))

    @pytest.mark.parametrize("status", [500, 502, 503, 429, 404])
    def test_trouble_in_the_middle(self, github: GitHub, runners: Runners, status: int) -> None:
        """When GitHub does not tell the second page, there is an error and no shorter list."""
        register(github, 150)
        github.faults.add(Fault("status", skip=1, status=status))
        with pytest.raises((TransientError, GitHubRefused), match=str(status)):
            runners.listed(ORGANIZATION)

    def test_connection_lost_in_the_middle(self, github: GitHub, runners: Runners) -> None:
        """Nor is there one when the connection breaks, again and again."""
        register(github, 150)
        github.faults.add(Fault("drop", skip=1, times=None))
        with pytest.raises(TransientError, match="not reachable"):
            runners.listed(ORGANIZATION)

    def test_without_end(self, github: GitHub, client: GitHubClient) -> None:
        """A server that gives a full page for whatever page is not asked without end."""
        runners = Runners(GitHubSession(client, PersonalToken("ghp_sandbox"), most_pages=3))
        entries = [{"id": n, "name": "x", "status": "online", "busy": False, "labels": []} for n in range(100)]
        github.faults.add(Fault("status", times=None, status=200, body=json.dumps({"runners": entries})))
        with pytest.raises(TransientError, match="no end"):
            runners.listed(ORGANIZATION)
        assert github.faults.hits == 3

    @pytest.mark.parametrize(
        "body",
        ["", "null", "[]", "{}", '{"runners": {}}', '{"runners": ""}', '{"runners": null}', '{"runners": [{}]}', "<p>"],
    )
    def test_another_shape(self, github: GitHub, runners: Runners, body: str) -> None:
        """An answer of another shape is transient trouble, also where a list was known before, and no empty list."""
        register(github, 3)
        assert len(runners.listed(ORGANIZATION)) == 3
        github.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(TransientError, match="answer"):
            runners.listed(ORGANIZATION)
        assert len(runners.listed(ORGANIZATION)) == 3

    def test_unasked_304(self, github: GitHub, runners: Runners) -> None:
        """A "not modified" to a question without an ETag is no empty list either."""
        github.faults.add(Fault("status", status=304))
        with pytest.raises(TransientError, match="holds no runners"):
            runners.listed(ORGANIZATION)


class TestNamed:
    """`Runners.named`."""

    def test_by_name(self, github: GitHub, runners: Runners) -> None:
        """Each is asked for by its whole name; one that is not there is left out."""
        register(github, 12)
        assert [runner.name for runner in runners.named(ORGANIZATION, ["r-1", "gone", "r-11"])] == ["r-1", "r-11"]
        assert len(github.recorder.calls) == 3

    def test_a_list_that_is_too_long(self, github: GitHub, github_url: str) -> None:
        """A list that was too long is not read again for an hour; single runners can be asked for."""
        clock = ManualClock()
        session = GitHubSession(GitHubClient(github_url, clock), PersonalToken("ghp_sandbox"), most_pages=2)
        runners = Runners(session)
        register(github, 250)
        for pause, calls in ((timedelta(), 2), (timedelta(), 0), (TOO_LONG_FOR, 2)):
            clock.advance(pause)
            github.recorder.clear()
            with pytest.raises(ListTooLong):
                runners.listed(ORGANIZATION)
            assert len(github.recorder.calls) == calls
        assert len(runners.named(ORGANIZATION, ["r-1"])) == 1


class TestNotModified:
    """Lists that have not changed."""

    def test_cost_nothing(self, github: GitHub, runners: Runners) -> None:
        """An unchanged listing of several pages is known without spending any of the hour's requests."""
        register(github, 150)
        first = runners.listed(ORGANIZATION)
        before = github.recorder.exchanges[-1]["response_headers"]["x-ratelimit-remaining"]
        assert runners.listed(ORGANIZATION) == first
        assert github.recorder.statuses == [200, 200, 304, 304]
        assert github.recorder.exchanges[-1]["response_headers"]["x-ratelimit-remaining"] == before

    def test_changed(self, github: GitHub, runners: Runners) -> None:
        """What has changed is read anew."""
        register(github, 3)
        runners.listed(ORGANIZATION)
        register(github, 1, "new")
        assert len(runners.listed(ORGANIZATION)) == 4
        assert github.recorder.statuses == [200, 200]

    def test_without_etag(self, github: GitHub, runners: Runners) -> None:
        """A list that came without an ETag is asked for as if for the first time."""
        github.faults.add(Fault("status", status=200, body='{"runners": []}'))
        assert runners.listed(ORGANIZATION) == []
        register(github, 1)
        assert len(runners.listed(ORGANIZATION)) == 1

    def test_least_used_is_forgotten(self, github: GitHub, client: GitHubClient) -> None:
        """Only so many pages are remembered: those that were used last, changed or not."""
        session = GitHubSession(client, PersonalToken("ghp_sandbox"), remembered_pages=2)
        runners = Runners(session)
        one, two, three = (ScopeAccess(Scope("organization", name), None) for name in ("acme", "b", "c"))
        for access in (one, two, one, three, one, two):
            runners.listed(access)
        assert github.recorder.statuses == [200, 200, 304, 200, 304, 200]
        assert len(session._pages) == 2

    def test_each_installation_its_own(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """The same path for another installation is another list, whatever ETag comes with it."""
        app = github.add_app(app_keys[1])
        for account in ("acme", "other"):
            github.add_repository(f"{account}/app")
        of = [
            ScopeAccess(Scope("organization", account), github.install(app, account).id)
            for account in ("acme", "other")
        ]
        client = GitHubClient(github_url)
        repositories = Repositories(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
        first = [repositories.all(access) for access in of]
        github.recorder.clear()
        assert [repositories.all(access) for access in of] == first
        assert first[0] != first[1]
        assert github.recorder.calls == ["GET /installation/repositories -> 304"] * 2


class TestBudget:
    """The last requests of the hour, and what comes after them."""

    def test_reserve(self, github: GitHub, client: GitHubClient, runners: Runners) -> None:
        """When a quarter is left, a background call is refused unsent, and a new runner still gets its token."""
        github.budget = Budget(limit=20)
        of_jobs = Runners(GitHubSession(client, PersonalToken("ghp_sandbox")))
        for number in range(15):
            runners.listed(ScopeAccess(Scope("organization", f"org-{number}"), None))
        github.recorder.clear()
        with pytest.raises(TransientError, match="last 5 requests") as caught:
            runners.listed(ORGANIZATION)
        assert caught.value.retry_after is not None
        assert 3500 < caught.value.retry_after <= 3600
        with pytest.raises(TransientError, match="last 5 requests"):
            runners.remove(ORGANIZATION, 7)
        assert github.recorder.calls == []
        assert of_jobs.registration_token(ORGANIZATION).value
        assert of_jobs.jit_config(ORGANIZATION, "r-1", list(LABELS), None).runner_id

    def test_share_of_a_pass(self, github: GitHub, client: GitHubClient, runners: Runners) -> None:
        """A pass spends its share of what the hour has left, and no more; new runners do not keep to it."""
        github.budget = Budget(limit=100, window=1200)
        of_jobs = Runners(GitHubSession(client, PersonalToken("ghp_sandbox")))
        scopes = (ScopeAccess(Scope("organization", f"org-{number}"), None) for number in count())
        spent: list[int] = []
        for _ in range(4):
            client.begin_pass(300)
            github.recorder.clear()
            with pytest.raises(CallsSpent, match="its share of the hour"):
                all(runners.listed(scope) == [] for scope in scopes)
            spent.append(len(github.recorder.calls))
        assert spent == [19, 14, 10, 8]  # a quarter of 74, which the first answer told, and so on: the window stands
        assert of_jobs.registration_token(ORGANIZATION).value

    def test_waiting_for_a_limit(self, github: GitHub, github_url: str) -> None:
        """A session that may wait makes the call when GitHub takes it; one that may not wait so long says so."""
        clock = ManualClock()
        waited: list[float | None] = []

        def wait(seconds: float | None) -> bool:
            waited.append(seconds)
            clock.advance(timedelta(seconds=seconds or 0))
            return len(waited) < 3

        client = GitHubClient(github_url, clock)
        runners = Runners(GitHubSession(client, PersonalToken("ghp_sandbox"), background=True, wait=wait))
        github.faults.add(Fault("status", status=429, headers={"Retry-After": "30"}))
        with pytest.raises(TransientError):
            runners.listed(ORGANIZATION)
        assert runners.listed(ORGANIZATION) == []
        assert waited == [30]

    def test_silence(self, github: GitHub, runners: Runners) -> None:
        """After a secondary limit's answer nothing is asked until its time is over."""
        github.faults.add(Fault("status", status=429, headers={"Retry-After": "30"}))
        with pytest.raises(TransientError):
            runners.listed(ORGANIZATION)
        github.recorder.clear()
        with pytest.raises(TransientError, match="left alone") as caught:
            runners.registration_token(ORGANIZATION)
        assert caught.value.retry_after is not None
        assert 20 < caught.value.retry_after <= 30
        assert github.recorder.calls == []

    def test_enterprise_server(self, github: GitHub, runners: Runners) -> None:
        """A server that tells of no limits is not held back by any."""
        github.faults.add(Fault("status", times=None, status=200, body='{"runners": []}'))
        assert [runners.listed(ORGANIZATION) for _ in range(50)] == [[]] * 50

    def test_app_itself(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """What the App asks as itself is counted together, though its tokens live for minutes."""
        now = [1_790_000_000.0]
        github.clock = lambda: now[0]
        app = github.add_app(app_keys[1])
        client = GitHubClient(github_url, lambda: datetime.fromtimestamp(now[0], UTC))
        credential = AppCredential(client, str(app.id), app_keys[0])
        installed = GitHubApp(GitHubSession(client, credential, background=True))
        first = credential.authorization(None)
        github.faults.add(Fault("status", status=403, headers={"Retry-After": "60"}))
        with pytest.raises(TransientError, match="rate limit"):
            installed.installations()
        now[0] += 30
        with pytest.raises(TransientError, match="left alone"):
            installed.installations()
        now[0] += 30
        assert installed.installations() == []
        now[0] += 300
        assert installed.installations() == []
        assert credential.authorization(None) != first
        now[0] -= 7200
        assert installed.installations() == []

    @pytest.mark.parametrize("status", [301, 302, 303])
    def test_redirected(self, github: GitHub, runners: Runners, status: int) -> None:
        """A change that GitHub redirects was not made, and does not count as made."""
        github.faults.add(Fault("status", status=status, headers={"Location": f"{github.url}/x"}, body="{}"))
        with pytest.raises(TransientError, match=str(status)):
            runners.remove(ORGANIZATION, 7)
        assert len(github.recorder.calls) == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_renamed(self, github: GitHub, runners: Runners, status: int) -> None:
        """A question about a scope that was renamed is asked where it is now."""
        register(github, 1)
        github.faults.add(Fault("status", status=status, headers={"Location": f"{github.url}{LISTING}"}))
        assert len(runners.listed(ScopeAccess(Scope("organization", "old"), None))) == 1

    @pytest.mark.parametrize("status", [307, 308])
    def test_change_in_a_renamed_scope(self, github: GitHub, github_url: str, status: int) -> None:
        """A change is made once more, as it was, where GitHub says that the scope is now."""
        path = "/orgs/acme/actions/runners/generate-jitconfig"
        github.faults.add(Fault("status", status=status, headers={"Location": f"{github.url}{path}"}))
        runners = Runners(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_sandbox")))
        config = runners.jit_config(ScopeAccess(Scope("organization", "old"), None), "r-1", ["self-hosted"], None)
        assert [runner.id for runner in github.runners] == [config.runner_id]

    @pytest.mark.parametrize("location", ["http://127.0.0.2:1/x", "https://127.0.0.1/x", "http://[", ""])
    def test_redirected_elsewhere(self, github: GitHub, runners: Runners, location: str) -> None:
        """The credential is shown to no other host, and what such a host says is not believed."""
        github.faults.add(Fault("status", status=301, headers={"Location": location}, times=None))
        with pytest.raises(TransientError, match="GitHub"):
            runners.listed(ORGANIZATION)

    def test_redirected_without_end(self, github: GitHub, runners: Runners) -> None:
        """A loop of redirects ends."""
        github.faults.add(Fault("status", status=301, headers={"Location": f"{github.url}{LISTING}"}, times=None))
        with pytest.raises(TransientError, match="again and again"):
            runners.listed(ORGANIZATION)
        assert github.faults.hits == 4


class TestRevoked:
    """A token that no longer counts."""

    def test_in_the_middle(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """An installation token that is revoked between two pages is replaced, and the list is whole."""
        app = github.add_app(app_keys[1])
        github.install(app, "acme")
        client = GitHubClient(github_url)
        runners = Runners(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
        register(github, 150)
        github.faults.add(Fault("status", f"GET {LISTING}", skip=1, status=401, body='{"message": "Bad"}'))
        assert len(runners.listed(ORGANIZATION)) == 150
        assert [call for call in github.recorder.calls if "access_tokens" in call].__len__() == 2

    def test_list_of_an_older_token(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """What was learnt with one token of an installation is not asked again because the token is another."""
        app = github.add_app(app_keys[1])
        github.install(app, "acme")
        client = GitHubClient(github_url)
        runners = Runners(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
        first = runners.listed(ORGANIZATION)
        github.access.revoke_installation_tokens()
        assert runners.listed(ORGANIZATION) == first
        assert [call for call in github.recorder.calls if LISTING in call] == [
            f"GET {LISTING} -> {status}" for status in (200, 401, 304)
        ]

    def test_personal_token(self, github: GitHub, github_url: str) -> None:
        """One of somebody's that has expired is an error that shows nothing of it."""
        github.add_token("ghp_old", expires_at=1)
        runners = Runners(GitHubSession(GitHubClient(github_url), PersonalToken("ghp_old")))
        with pytest.raises(TransientError, match="expired") as caught:
            runners.listed(ORGANIZATION)
        assert "ghp_old" not in str(caught.value)
