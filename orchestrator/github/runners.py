"""Runners as GitHub keeps them: registration tokens, JIT configurations, groups.

Source: GitHub REST API, "Self-hosted runners" and "Self-hosted runner groups".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import GitHubRefused, RunnerNameTaken, UpstreamRefused
from orchestrator.github.client import Answer, GitHubClient, understanding
from orchestrator.github.credentials import UNAUTHORIZED, Credential
from orchestrator.github.scope import Registrant, Scope
from orchestrator.github.token_cache import ExpiringToken, TokenCache

FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
DEFAULT_GROUP = 1  # the id of every scope's group "Default"
PAGE = 100


@dataclass(frozen=True)
class JitConfig:
    """A runner that GitHub already knows, and what it starts with (secret)."""

    runner_id: int
    encoded: str = field(repr=False)


class Runners:
    """The runners of any scope that the credential reaches."""

    def __init__(self, client: GitHubClient, credential: Credential) -> None:
        self._client = client
        self._credential = credential
        self._tokens: TokenCache[Registrant] = TokenCache(self._new_registration_token)
        self._groups: dict[tuple[Scope, str], int] = {}

    def registration_token(self, registrant: Registrant) -> str:
        """Return a token that registers any number of runners, with half an hour left at least.

        Raises:
            UpstreamError: GitHub does not give one.
        """
        return self._tokens.get(registrant).value

    def jit_config(self, registrant: Registrant, name: str, labels: Sequence[str], group: str | None) -> JitConfig:
        """Register one runner and return what it starts with. Labels are taken literally, none is added.

        Raises:
            RunnerNameTaken: There is a runner of this name.
            UpstreamError: GitHub does not register it.
        """
        body = {"name": name, "runner_group_id": self._group_id(registrant, group), "labels": list(labels)}
        try:
            answer = self._call("POST", "runners/generate-jitconfig", registrant, json=body)
        except GitHubRefused as error:
            if error.status == CONFLICT:
                raise RunnerNameTaken(f"GitHub knows a runner named {name} already") from None
            raise
        with understanding("GitHub's answer holds no JIT configuration"):
            return JitConfig(int(answer.json["runner"]["id"]), str(answer.json["encoded_jit_config"]))

    def remove(self, registrant: Registrant, runner_id: int) -> None:
        """Remove a runner; one that is gone already is fine.

        Raises:
            UpstreamError: GitHub does not remove it, for example while it runs a job.
        """
        try:
            self._call("DELETE", f"runners/{runner_id}", registrant)
        except GitHubRefused as error:
            if error.status != NOT_FOUND:
                raise

    def _new_registration_token(self, registrant: Registrant) -> ExpiringToken:
        return ExpiringToken.read(self._call("POST", "runners/registration-token", registrant).json)

    def _group_id(self, registrant: Registrant, group: str | None) -> int:
        """Return the id of a runner group by its name (looked up once). Repositories have but the default group."""
        if group is None or registrant.scope.kind == "repository":
            return DEFAULT_GROUP
        key = (registrant.scope, group.lower())
        page = 1
        while key not in self._groups:
            params = {"per_page": str(PAGE), "page": str(page)}
            answer = self._call("GET", "runner-groups", registrant, params=params)
            with understanding("GitHub's answer holds no runner groups"):
                found = answer.json["runner_groups"]
                self._groups |= {(registrant.scope, entry["name"].lower()): int(entry["id"]) for entry in found}
            if len(found) < PAGE and key not in self._groups:
                raise UpstreamRefused(f"RunnerGroup: {registrant.scope} has no runner group of that name")
            page += 1
        return self._groups[key]

    def _call(
        self,
        method: str,
        what: str,
        registrant: Registrant,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call below the scope's `actions`; after a 401 once more with a new token, if there can be one."""
        path = f"{registrant.scope.api_path}/actions/{what}"
        for last_try in (False, True):
            authorization = self._credential.authorization(*registrant)
            try:
                return self._client.call(method, path, authorization=authorization, json=json, params=params)
            except GitHubRefused as error:
                retry = error.status == UNAUTHORIZED and self._credential.rejected(*registrant, authorization)
                if last_try or not retry:
                    raise _explained(error, registrant.scope) from None
        raise AssertionError  # pragma: no cover - the loop returns or raises


def _explained(error: GitHubRefused, scope: Scope) -> GitHubRefused:
    """Add what an operator should look at."""
    hint = {
        UNAUTHORIZED: "has GithubToken expired?",
        FORBIDDEN: f"may the credentials manage the runners of {scope}?",
        NOT_FOUND: f"may the credentials see the runners of {scope}?",
    }.get(error.status)
    return GitHubRefused(f"{error}: {hint}" if hint else str(error), error.status)
