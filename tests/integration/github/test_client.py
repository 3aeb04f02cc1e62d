"""The GitHub client against a GitHub that answers over a socket."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.clock import utc_now
from orchestrator.egress import Egress
from orchestrator.errors import GitHubRefused, RunnerNameTaken, SettingsError, TransientError, UpstreamRefused
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import INSTALLATION_REMEMBERED_FOR, AppCredential, PersonalToken
from orchestrator.github.meta import published_hook_ranges
from orchestrator.github.registrars import JitRegistrar, TokenRegistrar
from orchestrator.github.runners import GROUP_REMEMBERED_FOR, Runners
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import Scope, ScopeAccess
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.limits import Budget
from sandbox.github.model import Scope as StandInScope
from tests.fakes import ManualClock

ORGANIZATION = ScopeAccess(Scope("organization", "acme"), None)
REPOSITORY = ScopeAccess(Scope("repository", "acme/app"), None)
ENTERPRISE = ScopeAccess(Scope("enterprise", "big"), None)
REFUSED = '{"message": "no"}'
LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
TOKEN_CALL = "POST /orgs/acme/actions/runners/registration-token"


@pytest.fixture(autouse=True)
def repository(github: GitHub) -> None:
    """Let there be a repository."""
    github.add_repository("acme/app", enterprise="big")


def with_token(url: str, token: str = "ghp_sandbox") -> Runners:
    """Return the runners as a personal access token reaches them."""
    return Runners(GitHubSession(GitHubClient(url), PersonalToken(token)))


class TestRegistrationToken:
    """`Runners.registration_token`."""

    @pytest.mark.parametrize("access", [ORGANIZATION, REPOSITORY, ENTERPRISE])
    def test_of_each_scope(self, github: GitHub, github_url: str, access: ScopeAccess) -> None:
        """Each kind of scope gives a token, and keeps giving the same one without a call."""
        runners = with_token(github_url)
        token = runners.registration_token(access)
        assert token.value
        assert runners.registration_token(access) == token
        assert github.recorder.calls == [f"POST {access.scope.api_path}/actions/runners/registration-token -> 201"]

    def test_on_an_enterprise_server(self, github: GitHub, github_url: str) -> None:
        """The same calls work below /api/v3."""
        assert with_token(f"{github_url}/api/v3").registration_token(ORGANIZATION).value
        assert github.recorder.calls[0].startswith("POST /api/v3/orgs/acme/")

    def test_headers(self, github: GitHub, github_url: str) -> None:
        """Each call names the API version, what it accepts and who calls."""
        with_token(github_url).registration_token(ORGANIZATION)
        headers = github.recorder.exchanges[0]["headers"]
        assert headers["X-GitHub-Api-Version"] == "2022-11-28"
        assert headers["Accept"] == "application/vnd.github+json"
        assert headers["User-Agent"] == "azure-batch-actions-runners"
        assert headers["Authorization"] == "Bearer ghp_sandbox"

    def test_expired_personal_token(self, github: GitHub, github_url: str) -> None:
        """A token that GitHub does not know may count later, as GitHub refuses good ones in an outage; it says so."""
        with pytest.raises(TransientError, match=r"401.*has GithubToken expired") as caught:
            with_token(github_url, "ghp_old").registration_token(ORGANIZATION)
        assert "ghp_old" not in str(caught.value)
        assert len(github.recorder.calls) == 1

    def test_missing_permission(self, github: GitHub, github_url: str) -> None:
        """A token without the right is a permanent error, and not mistaken for a rate limit."""
        github.add_token("ghp_repo_only", scopes=["repo"])
        with pytest.raises(GitHubRefused, match="may the credentials") as caught:
            with_token(github_url, "ghp_repo_only").registration_token(ORGANIZATION)
        assert caught.value.status in {403, 404}


class TestApp:
    """`AppCredential`."""

    def runners(self, github: GitHub, url: str, keys: tuple[str, str]) -> tuple[Runners, int]:
        """Install an App; return the runners as it reaches them, and its installation."""
        private, public = keys
        app = github.add_app(public)
        installation = github.install(app, "acme")
        client = GitHubClient(url)
        return Runners(GitHubSession(client, AppCredential(client, str(app.id), private))), installation.id

    def test_installation_from_the_delivery(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """With the installation known, two calls give a registration token, and none the next time."""
        runners, installation = self.runners(github, github_url, app_keys)
        access = ScopeAccess(ORGANIZATION.scope, installation)
        assert runners.registration_token(access) == runners.registration_token(access)
        assert github.recorder.calls == [
            f"POST /app/installations/{installation}/access_tokens -> 201",
            f"{TOKEN_CALL} -> 201",
        ]

    @pytest.mark.parametrize("access", [ORGANIZATION, REPOSITORY])
    def test_installation_looked_up(
        self, github: GitHub, github_url: str, app_keys: tuple[str, str], access: ScopeAccess
    ) -> None:
        """Without it, the installation of the scope is looked up, once."""
        runners, installation = self.runners(github, github_url, app_keys)
        assert runners.registration_token(access).value
        assert runners.jit_config(access, "r-1", ["self-hosted"], None).encoded
        assert github.recorder.calls == [
            f"GET {access.scope.api_path}/installation -> 200",
            f"POST /app/installations/{installation}/access_tokens -> 201",
            f"POST {access.scope.api_path}/actions/runners/registration-token -> 201",
            f"POST {access.scope.api_path}/actions/runners/generate-jitconfig -> 201",
        ]

    def test_revoked_installation_token(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """A 401 drops the cached installation token and tries once more with a new one."""
        runners, _ = self.runners(github, github_url, app_keys)
        runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], None)
        github.access.revoke_installation_tokens()
        github.recorder.clear()
        runners.jit_config(ORGANIZATION, "r-2", ["self-hosted"], None)
        assert [call.rsplit(" ", 1)[1] for call in github.recorder.calls] == ["401", "201", "201"]

    def test_401_for_ever(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """If the new token is refused too, that may pass, and is no loop."""
        runners, _ = self.runners(github, github_url, app_keys)
        github.faults.add(
            Fault("status", "POST /orgs/*", times=None, status=401, body='{"message": "Bad credentials"}')
        )
        with pytest.raises(TransientError, match="Bad credentials"):
            runners.registration_token(ORGANIZATION)
        assert sum(call.startswith("POST /orgs") for call in github.recorder.calls) == 2

    def test_not_installed(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """An organization where the App is not installed is named in the error."""
        runners, _ = self.runners(github, github_url, app_keys)
        with pytest.raises(GitHubRefused, match="is not installed for organization other") as caught:
            runners.registration_token(ScopeAccess(Scope("organization", "other"), None))
        assert caught.value.status == 404

    def test_lookup_refused(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """Another refusal of the look-up is reported as it is."""
        runners, _ = self.runners(github, github_url, app_keys)
        github.faults.add(Fault("status", "GET */installation", status=451, body=REFUSED))
        with pytest.raises(GitHubRefused, match="451"):
            runners.registration_token(ORGANIZATION)

    def test_key_of_another_app(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """A key that does not belong to the App says so."""
        client = GitHubClient(github_url)
        app = github.add_app("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
        installation = github.install(app, "acme")
        runners = Runners(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
        with pytest.raises(TransientError, match="belong together"):
            runners.registration_token(ScopeAccess(ORGANIZATION.scope, installation.id))

    def test_token_refused(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """Another refusal of the installation's token is reported as it is."""
        runners, installation = self.runners(github, github_url, app_keys)
        github.faults.add(Fault("status", "POST /app/installations/*", status=422, body=REFUSED))
        with pytest.raises(GitHubRefused, match="422"):
            runners.registration_token(ScopeAccess(ORGANIZATION.scope, installation))

    @pytest.mark.parametrize("told", [True, False])
    def test_installed_anew(self, github: GitHub, github_url: str, app_keys: tuple[str, str], told: bool) -> None:
        """After the App was removed and installed again, an id that was told or remembered gives way at once."""
        runners, installation = self.runners(github, github_url, app_keys)
        access = ScopeAccess(ORGANIZATION.scope, installation if told else None)
        runners.jit_config(access, "r-1", ["self-hosted"], None)
        old = github.access.installations.pop(installation)
        github.access.revoke_installation_tokens()
        new = github.install(old.app, "acme").id
        github.recorder.clear()
        assert runners.jit_config(access, "r-2", ["self-hosted"], None).runner_id
        assert github.recorder.calls == [
            "POST /orgs/acme/actions/runners/generate-jitconfig -> 401",
            f"POST /app/installations/{installation}/access_tokens -> 404",
            "GET /orgs/acme/installation -> 200",
            f"POST /app/installations/{new}/access_tokens -> 201",
            "POST /orgs/acme/actions/runners/generate-jitconfig -> 201",
        ]
        github.recorder.clear()
        assert runners.jit_config(access, "r-3", ["self-hosted"], None).runner_id
        assert len(github.recorder.calls) == 1

    def test_an_old_message(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """An id that a process knows from an old message alone gives way at the first call."""
        runners, installation = self.runners(github, github_url, app_keys)
        assert runners.registration_token(ScopeAccess(ORGANIZATION.scope, installation + 1000)).value

    def test_removed(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """An App that was removed for good is refused in words that say so."""
        runners, installation = self.runners(github, github_url, app_keys)
        github.access.installations.clear()
        with pytest.raises(GitHubRefused, match="is not installed for organization acme"):
            runners.registration_token(ScopeAccess(ORGANIZATION.scope, installation))

    def test_another_account(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """A repository that moved to another account is reached by that account's installation."""
        runners, _ = self.runners(github, github_url, app_keys)
        github.add_repository("other/app")
        elsewhere = github.install(next(iter(github.access.apps.values())), "other").id
        assert runners.registration_token(ScopeAccess(REPOSITORY.scope, elsewhere)).value
        calls = [call for call in github.recorder.calls if call.startswith("GET")]
        assert calls == ["GET /repos/acme/app/installation -> 200"]

    def test_a_real_404(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """A 404 that is no matter of the installation stays one, and costs one look-up in an hour."""
        runners, installation = self.runners(github, github_url, app_keys)
        access = ScopeAccess(ORGANIZATION.scope, installation)
        github.faults.add(Fault("status", "POST /orgs/*", status=404, body=REFUSED, times=None))
        github.faults.add(Fault("status", "GET */installation", status=503))
        for _ in range(3):
            with pytest.raises(GitHubRefused, match="may the credentials see that"):
                runners.jit_config(access, "r-1", ["self-hosted"], None)
        assert [call for call in github.recorder.calls if call.startswith("GET")] == [
            "GET /orgs/acme/installation -> 503", "GET /orgs/acme/installation -> 200",
        ]  # fmt: skip

    def test_looked_up_again(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """What was looked up is asked for again after an hour."""
        clock = ManualClock(utc_now())
        github.clock = lambda: clock().timestamp()
        app = github.add_app(app_keys[1])
        github.install(app, "acme")
        client = GitHubClient(github_url, clock)
        credential = AppCredential(client, str(app.id), app_keys[0])
        for _ in range(2):
            credential.authorization(ORGANIZATION)
            credential.authorization(ORGANIZATION)
            clock.advance(INSTALLATION_REMEMBERED_FOR)
        assert sum(call.startswith("GET /orgs/acme/installation") for call in github.recorder.calls) == 2

    def test_the_app_itself_is_refused(self, github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
        """A refusal of what the App asks as itself is no matter of an installation."""
        client = GitHubClient(github_url)
        credential = AppCredential(client, str(github.add_app(app_keys[1]).id), app_keys[0])
        github.faults.add(Fault("status", "GET /app*", status=401, body=REFUSED))
        with pytest.raises(TransientError, match="401"):
            GitHubSession(client, credential).call("GET", "/app", None)
        assert len(github.recorder.calls) == 1

    def test_unusable_key(self, github_url: str) -> None:
        """A key that looks like one and is none names the setting and shows nothing of it."""
        client = GitHubClient(github_url)
        pem = "-----BEGIN RSA PRIVATE KEY-----\nczNjcmV0\n-----END RSA PRIVATE KEY-----\n"
        with pytest.raises(SettingsError, match="GithubAppPrivateKey") as caught:
            AppCredential(client, "1", pem).authorization(None)
        assert "czNjcmV0" not in str(caught.value)


class TestJit:
    """`Runners.jit_config` and what undoes it."""

    def test_registered(self, github: GitHub, github_url: str) -> None:
        """The runner exists with exactly the labels that were asked for."""
        config = with_token(github_url).jit_config(ORGANIZATION, "r-1", ["self-hosted", "linux", "gpu"], None)
        (runner,) = github.runners
        assert (runner.id, runner.name) == (config.runner_id, "r-1")
        assert {label.name for label in runner.labels} == {"self-hosted", "linux", "gpu"}
        assert config.encoded not in repr(config)

    def test_name_taken(self, github_url: str) -> None:
        """A name that is in use is an error of its own."""
        runners = with_token(github_url)
        runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], None)
        with pytest.raises(RunnerNameTaken, match="r-1"):
            runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], None)

    def test_refused(self, github: GitHub, github_url: str) -> None:
        """Any other refusal is reported with GitHub's own words."""
        github.faults.add(Fault("status", "POST *", status=422, body='{"message": "Labels are too\\nmany"}'))
        with pytest.raises(GitHubRefused, match=r"422 \(Labels are too many\)"):
            with_token(github_url).jit_config(ORGANIZATION, "r-1", ["self-hosted"], None)

    def test_group_looked_up_once(self, github: GitHub, github_url: str) -> None:
        """A runner group is found by its name, without case, over all pages, and only once."""
        scope = StandInScope("organization", "acme")
        for number in range(120):
            github.add_runner_group(scope, f"group-{number}")
        runners = with_token(github_url)
        runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], "GROUP-119")
        runners.jit_config(ORGANIZATION, "r-2", ["self-hosted"], "group-119")
        runners.jit_config(ORGANIZATION, "r-3", ["self-hosted"], "group-3")
        assert sum("runner-groups" in call for call in github.recorder.calls) == 2
        assert [runner.group.name for runner in github.runners] == ["group-119", "group-119", "group-3"]

    @pytest.mark.parametrize("status", [404, 422])
    def test_group_made_anew(self, github: GitHub, github_url: str, status: int) -> None:
        """A group that was deleted and made again under its name is looked up once more."""
        scope = StandInScope("organization", "acme")
        github.add_runner_group(scope, "other")
        batch = github.add_runner_group(scope, "batch")
        runners = with_token(github_url)
        runners._groups[ORGANIZATION.scope, "batch"] = (batch.id + 1000, utc_now())
        github.faults.add(Fault("status", "POST *", status=status, body=REFUSED))
        runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], "Batch")
        assert [runner.group.name for runner in github.runners] == ["batch"]
        assert len(github.recorder.calls) == 3

    @pytest.mark.parametrize("access", [ORGANIZATION, REPOSITORY])
    def test_refused_whatever_the_group(self, github: GitHub, github_url: str, access: ScopeAccess) -> None:
        """A refusal that is no matter of the group is not tried again."""
        github.add_runner_group(StandInScope("organization", "acme"), "batch")
        github.faults.add(Fault("status", "POST *", status=422, body=REFUSED))
        with pytest.raises(GitHubRefused, match="422"):
            with_token(github_url).jit_config(access, "r-1", ["self-hosted"], "batch")
        assert sum(call.startswith("POST") for call in github.recorder.calls) == 1

    def test_group_that_is_gone(self, github: GitHub, github_url: str) -> None:
        """A group that was deleted is an error that names the setting, and is remembered no longer."""
        runners = with_token(github_url)
        runners._groups[ORGANIZATION.scope, "batch"] = (1000, utc_now())
        github.faults.add(Fault("status", "POST *", status=404, body=REFUSED))
        with pytest.raises(UpstreamRefused, match="RunnerGroup"):
            runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], "Batch")
        assert (ORGANIZATION.scope, "batch") not in runners._groups

    def test_group_remembered_for_an_hour(self, github: GitHub, github_url: str) -> None:
        """A group's id is looked up again after an hour."""
        clock = ManualClock(utc_now())
        github.add_runner_group(StandInScope("organization", "acme"), "batch")
        runners = Runners(GitHubSession(GitHubClient(github_url, clock), PersonalToken("ghp_sandbox")))
        runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], "batch")
        clock.advance(GROUP_REMEMBERED_FOR)
        runners.jit_config(ORGANIZATION, "r-2", ["self-hosted"], "batch")
        assert sum("runner-groups" in call for call in github.recorder.calls) == 2

    def test_unknown_group(self, github_url: str) -> None:
        """A group that does not exist is an error that names the setting."""
        with pytest.raises(UpstreamRefused, match="RunnerGroup"):
            with_token(github_url).jit_config(ORGANIZATION, "r-1", ["self-hosted"], "nobody")

    def test_a_repository_has_no_groups(self, github: GitHub, github_url: str) -> None:
        """A repository's runner is in the default group, and nobody looks for another."""
        with_token(github_url).jit_config(REPOSITORY, "r-1", ["self-hosted"], "Batch")
        assert len(github.recorder.calls) == 1

    def test_remove(self, github: GitHub, github_url: str) -> None:
        """A runner is removed; one that is gone already is fine, and other refusals are not."""
        runners = with_token(github_url)
        config = runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], None)
        runners.remove(ORGANIZATION, config.runner_id)
        assert github.runners == []
        runners.remove(ORGANIZATION, config.runner_id)
        github.faults.add(Fault("status", "DELETE *", status=422, body=REFUSED))
        with pytest.raises(GitHubRefused, match="422"):
            runners.remove(ORGANIZATION, config.runner_id)


class TestRegistrars:
    """The strategies of `RunnerRegistration`."""

    def test_token(self, github: GitHub, github_url: str) -> None:
        """The container gets a token, and there is nothing to give back."""
        registrar = TokenRegistrar(with_token(github_url))
        registration = registrar.register(ORGANIZATION, "r-1", ["self-hosted"], None)
        assert registration.kind == "token"
        registrar.withdraw(ORGANIZATION, registration)
        assert github.recorder.calls == [f"{TOKEN_CALL} -> 201"]

    def test_jit(self, github: GitHub, github_url: str) -> None:
        """The container gets this one runner's configuration, and what is given back is removed."""
        registrar = JitRegistrar(with_token(github_url), utc_now)
        registration = registrar.register(ORGANIZATION, "r-1", ["self-hosted"], None)
        assert registration.kind == "jit"
        assert len(github.runners) == 1
        registrar.withdraw(ORGANIZATION, replace(registration, runner_id=None))
        assert len(github.runners) == 1
        registrar.withdraw(ORGANIZATION, registration)
        assert github.runners == []


class TestTrouble:
    """What each kind of failure means."""

    @pytest.mark.parametrize(
        ("fault", "wait"),
        [
            (Fault("status", status=503), None),
            (Fault("status", status=502, headers={"Retry-After": "9"}), 9),
            (Fault("status", status=408), None),
            (Fault("status", status=429, headers={"Retry-After": "7"}), 7),
            (Fault("status", status=403, headers={"Retry-After": "7"}), 7),
            (Fault("status", status=403, body='{"message": "You have exceeded a secondary rate limit"}'), 60),
            (Fault("status", status=403, body='{"message": "You have triggered an abuse detection mechanism"}'), 60),
            (Fault("status", status=403, body='{"message": "API rate limit exceeded for installation ID 7"}'), 60),
            (Fault("status", status=503, headers={"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}), None),
            (Fault("status", status=200, headers=dict.fromkeys(LIMIT_HEADERS, "9" * 5000), body="[]"), None),
            (Fault("status", status=200, body="<html>a proxy's page</html>"), None),
            (Fault("status", status=200, body="[" * 200_000), None),
            (Fault("status", status=200, body="9" * 5000), None),
            (Fault("status", status=200), None),
            (Fault("status", status=204), None),
            (Fault("status", status=404, body="<html>a proxy's page</html>"), None),
            (Fault("status", status=404, body='{"message": 7}'), None),
            (Fault("status", status=403), None),
            (Fault("status", status=401, body='"no"'), None),
            (Fault("status", status=401, body=REFUSED), None),
            (Fault("status", status=400, body="[" * 200_000), None),
            (Fault("cut", status=201, body='{"token": "t'), None),
        ],
    )
    def test_transient(self, github: GitHub, github_url: str, fault: Fault, wait: float | None) -> None:
        """5xx, rate limits and answers that are not GitHub's may pass, after the time that GitHub named."""
        github.faults.add(fault)
        with pytest.raises(TransientError) as caught:
            with_token(github_url).registration_token(ORGANIZATION)
        assert caught.value.retry_after == wait

    def test_primary_rate_limit(self, github: GitHub, github_url: str) -> None:
        """A used-up budget is waited out until GitHub's reset."""
        github.budget = Budget(limit=1)
        runners = with_token(github_url)
        runners.registration_token(ORGANIZATION)
        with pytest.raises(TransientError, match="rate limit") as caught:
            runners.registration_token(REPOSITORY)
        assert caught.value.retry_after is not None
        assert 3500 < caught.value.retry_after <= 3600

    def test_dropped_connection_once(self, github: GitHub, github_url: str) -> None:
        """A kept connection that breaks as it is used again is replaced, and nobody notices."""
        github.faults.add(Fault("drop"))
        assert with_token(github_url).registration_token(ORGANIZATION).value

    def test_dropped_connection_twice(self, github: GitHub, github_url: str) -> None:
        """Twice in a row is transient trouble."""
        github.faults.add(Fault("drop", times=2))
        with pytest.raises(TransientError, match="not reachable"):
            with_token(github_url).registration_token(ORGANIZATION)
        assert github.faults.hits == 2

    def test_nobody_there(self) -> None:
        """A refused connection is transient trouble."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransientError, match="not reachable"):
            with_token(url).registration_token(ORGANIZATION)

    def test_proxy_that_closes(self) -> None:
        """A connection that a proxy closes without an answer is made once more."""
        asked: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            proxy.settimeout(5)

            def close_twice() -> None:
                for _ in range(2):
                    connection, _ = proxy.accept()
                    asked.append(connection.recv(7))
                    connection.close()

            egress = Egress(proxy=f"http://127.0.0.1:{proxy.getsockname()[1]}")
            client = GitHubClient("https://github.invalid", egress=egress)
            thread = threading.Thread(target=close_twice)
            thread.start()
            with pytest.raises(TransientError, match="not reachable"):
                Runners(GitHubSession(client, PersonalToken("ghp_sandbox"))).registration_token(ORGANIZATION)
            thread.join()
        assert asked == [b"CONNECT", b"CONNECT"]

    def test_no_answer(self, github: GitHub, github_url: str) -> None:
        """An answer that does not come in time is transient trouble, and not tried again at once."""
        client = GitHubClient(github_url, timeouts=(1, 0.2))
        github.faults.add(Fault("latency", seconds=2, times=None))
        with pytest.raises(TransientError, match="does not answer"):
            Runners(GitHubSession(client, PersonalToken("ghp_sandbox"))).registration_token(ORGANIZATION)
        assert github.faults.hits == 1

    def test_an_answer_without_end(self, github: GitHub, github_url: str) -> None:
        """An answer that comes byte by byte is given up in time."""
        client = GitHubClient(github_url, total=0.2)
        github.faults.add(Fault("trickle", seconds=0.02))
        with pytest.raises(TransientError, match=r"not reachable|does not answer"):
            Runners(GitHubSession(client, PersonalToken("ghp_sandbox"))).registration_token(ORGANIZATION)
        assert github.faults.hits == 1

    def test_what_no_header_may_hold(self, github: GitHub, github_url: str) -> None:
        """A credential in two lines is refused before anything is sent, in words that do not repeat it."""
        with pytest.raises(UpstreamRefused, match="holds what no HTTP header may") as caught:
            with_token(github_url, "ghp_one\nghp_two").registration_token(ORGANIZATION)
        assert "ghp_" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert caught.value.__suppress_context__
        assert github.recorder.calls == []

    @pytest.mark.parametrize(
        "body",
        [
            "[]", "{}", "null", '{"runner": {}}', '{"runner_groups": [1]}', '{"id": 1e999}',
            '{"token": null, "expires_at": "2099-01-01T00:00:00Z"}',
            '{"runner": {"id": 7}, "encoded_jit_config": null}',
        ],
    )  # fmt: skip
    def test_another_shape(self, github: GitHub, github_url: str, app_keys: tuple[str, str], body: str) -> None:
        """A successful answer of another shape than documented is transient trouble, wherever it comes."""
        runners = with_token(github_url)
        app = AppCredential(GitHubClient(github_url), "1", app_keys[0])
        github.faults.add(Fault("status", times=None, status=200, body=body))
        asks: list[Callable[[], object]] = [
            lambda: runners.registration_token(ORGANIZATION),
            lambda: runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], None),
            lambda: runners.jit_config(ORGANIZATION, "r-1", ["self-hosted"], "Batch"),
            lambda: app.authorization(ORGANIZATION),
            lambda: app.authorization(ScopeAccess(ORGANIZATION.scope, 7)),
        ]
        for ask in asks:
            with pytest.raises(TransientError, match="answer"):
                ask()


class TestMeta:
    """`published_hook_ranges`."""

    def test_ranges_and_etag(self, github: GitHub, github_url: str) -> None:
        """The list comes with an ETag, and an unchanged one is answered with 304."""
        client = GitHubClient(github_url)
        published = published_hook_ranges(client, None, None)
        assert published.networks is not None
        assert [str(network) for network in published.networks] == list(github.hook_ranges)
        assert published_hook_ranges(client, "Bearer ghp_sandbox", published.etag) == (None, published.etag)
        assert [call.rsplit(" ", 1)[1] for call in github.recorder.calls] == ["200", "304"]

    @pytest.mark.parametrize(
        "body", ["{}", '{"hooks": []}', '{"hooks": ["x"]}', '{"hooks": 1}', '{"hooks": [1]}', "[]"]
    )
    def test_no_list(self, github: GitHub, github_url: str, body: str) -> None:
        """An answer without ranges, as GHES gives it, never empties or replaces the list."""
        github.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(TransientError, match="AllowedSources"):
            published_hook_ranges(GitHubClient(github_url), None, None)

    @pytest.mark.parametrize(("status", "etag"), [(200, '"one"'), (200, None), (204, '"one"'), (304, None)])
    def test_nothing_is_no_news(self, github: GitHub, github_url: str, status: int, etag: str | None) -> None:
        """Only a 304 to a known ETag says that the list is unchanged; any other empty answer is transient trouble."""
        github.faults.add(Fault("status", status=status, body=""))
        with pytest.raises(TransientError, match="holds no list"):
            published_hook_ranges(GitHubClient(github_url), None, etag)


def test_connections_are_kept(github_url: str) -> None:
    """A second call, from whatever thread, goes over the connection that is open."""
    client = GitHubClient(github_url)
    thread = threading.Thread(target=client.call, args=("GET", "/meta"), kwargs={"authorization": None})
    thread.start()
    thread.join()
    client.call("GET", "/meta", authorization=None)
    pools = client._session.get_adapter(github_url).poolmanager.pools  # type: ignore[attr-defined]  # urllib3's own
    (key,) = pools.keys()
    pool = pools[key]
    assert (pool.num_connections, pool.num_requests) == (1, 2)
