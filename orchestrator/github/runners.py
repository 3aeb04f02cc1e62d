"""Runners as GitHub keeps them: registration tokens, JIT configurations, groups, and who is there.

Source: GitHub REST API, "Self-hosted runners" and "Self-hosted runner groups".
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from orchestrator.errors import GitHubRefused, ListTooLong, RunnerNameTaken, UpstreamRefused
from orchestrator.github.client import Response, expecting, text
from orchestrator.github.session import GitHubSession
from orchestrator.github.token_cache import ExpiringToken, TokenCache, secret
from orchestrator.runners.registered import Runner
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runtime import MakeLock

# The id of the group "Default" of every scope.
DEFAULT_GROUP_ID = 1
# A group may be deleted and made again under its name, with another id.
GROUP_REMEMBERED_FOR = timedelta(hours=1)
# A list that was too long is not read again within this time.
TOO_LONG_FOR = timedelta(hours=1)
# How GitHub refuses a runner of a group that does not exist.
_NO_GROUP = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)


@dataclass(frozen=True)
class JitConfig:
    """A runner that GitHub has registered.

    Attributes:
        runner_id: GitHub's id of the runner.
        encoded: the configuration that the runner starts with, a secret.
    """

    runner_id: int
    encoded: str = field(repr=False)


class Runners:
    """The runners of any scope that the session's credential reaches.

    Args:
        session: makes the calls.
        lock: makes a lock.
    """

    def __init__(self, session: GitHubSession, *, lock: MakeLock = threading.Lock) -> None:
        self._session = session
        self._tokens: TokenCache[ScopeAccess] = TokenCache(self._new_registration_token, session.clock, lock=lock)
        self._groups: dict[tuple[Scope, str], tuple[int, datetime]] = {}
        self._too_long: dict[Scope, datetime] = {}

    def registration_token(self, access: ScopeAccess) -> ExpiringToken:
        """Return a token that registers any number of runners, and that is valid for at least half an hour.

        Raises:
            UpstreamError: GitHub does not give one.
        """
        return self._tokens.get(access)

    def jit_config(self, access: ScopeAccess, name: str, labels: Sequence[str], group: str | None) -> JitConfig:
        """Register one runner and return what it starts with. It gets exactly these labels; GitHub adds none.

        Raises:
            RunnerNameTaken: There is a runner of this name already.
            UpstreamError: GitHub does not register it.
        """
        group_id = self._group_id(access, group)
        try:
            response = self._generate(access, name, labels, group_id)
        except GitHubRefused as error:
            if error.status not in _NO_GROUP or not self._was_replaced(access, group, group_id):
                raise
            response = self._generate(access, name, labels, self._group_id(access, group))
        with expecting("GitHub's answer holds no JIT configuration"):
            return JitConfig(int(response.json["runner"]["id"]), secret(response.json["encoded_jit_config"]))

    def listed(self, access: ScopeAccess) -> list[Runner]:
        """Return every runner that is registered in the scope, whoever registered it.

        Raises:
            UpstreamError: GitHub does not tell, or there are too many.
        """
        known = self._too_long.get(access.scope)
        if known is not None and self._session.clock() - known < TOO_LONG_FOR:
            raise ListTooLong(f"{access.scope} has more runners than are read")
        path = f"{access.scope.api_path}/actions/runners"
        try:
            found = list(self._session.listing(path, access, "runners", _runner))
        except ListTooLong:
            self._too_long[access.scope] = self._session.clock()
            raise
        # Runners come and go while the pages are read, so the same runner may be on two pages. It counts once.
        return list({runner.id: runner for runner in found}.values())

    def named(self, access: ScopeAccess, names: Iterable[str]) -> list[Runner]:
        """Return the runners of these names, as far as there are any: one call for each name.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        path = f"{access.scope.api_path}/actions/runners"
        return [
            runner
            for name in names
            for runner in self._session.listing(path, access, "runners", _runner, params={"name": name})
            if runner.name == name
        ]

    def remove(self, access: ScopeAccess, runner_id: int) -> None:
        """Remove a runner, if it is still there.

        Args:
            access: the scope in which the runner is registered.
            runner_id: GitHub's id of it.

        Raises:
            UpstreamError: GitHub does not remove it, for example while it runs a job.
        """
        try:
            self._call("DELETE", f"runners/{runner_id}", access)
        except GitHubRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _new_registration_token(self, access: ScopeAccess) -> ExpiringToken:
        return ExpiringToken.read(self._call("POST", "runners/registration-token", access).json)

    def _generate(self, access: ScopeAccess, name: str, labels: Sequence[str], group_id: int) -> Response:
        body = {"name": name, "runner_group_id": group_id, "labels": list(labels)}
        try:
            return self._call("POST", "runners/generate-jitconfig", access, json=body)
        except GitHubRefused as error:
            if error.status == HTTPStatus.CONFLICT:
                raise RunnerNameTaken(f"GitHub knows a runner named {name} already") from None
            raise

    def _group_id(self, access: ScopeAccess, group: str | None) -> int:
        """Return the id of a runner group by its name, looked up once an hour.

        A repository has only the default group.
        """
        if group is None or access.scope.kind == "repository":
            return DEFAULT_GROUP_ID
        known, since = self._groups.get((access.scope, group.lower()), (None, None))
        if known is not None and since is not None and self._session.clock() - since < GROUP_REMEMBERED_FOR:
            return known
        return self._look_up_group(access, group)

    def _was_replaced(self, access: ScopeAccess, group: str | None, group_id: int) -> bool:
        """Whether a group has another id now: somebody deleted it and made it again under its name."""
        if group is None or access.scope.kind == "repository":
            return False
        return self._look_up_group(access, group) != group_id

    def _look_up_group(self, access: ScopeAccess, group: str) -> int:
        key, now = (access.scope, group.lower()), self._session.clock()
        self._groups.pop(key, None)
        path = f"{access.scope.api_path}/actions/runner-groups"
        for name, number in self._session.listing(path, access, "runner_groups", _group):
            self._groups[access.scope, name] = (number, now)
            if name == key[1]:
                return number
        raise UpstreamRefused(f"RunnerGroup: {access.scope} has no runner group of that name")

    def _call(self, method: str, what: str, access: ScopeAccess, json: Mapping[str, object] | None = None) -> Response:
        return self._session.call(method, f"{access.scope.api_path}/actions/{what}", access, json=json)


def _runner(entry: Any) -> Runner:
    labels = frozenset(str(label["name"]).lower() for label in entry["labels"])
    return Runner(int(entry["id"]), text(entry["name"]), entry["status"] == "online", bool(entry["busy"]), labels)


def _group(entry: Any) -> tuple[str, int]:
    return text(entry["name"]).lower(), int(entry["id"])
