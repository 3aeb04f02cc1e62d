"""How the `queued` delivery of one workflow job was answered.

GitHub's list of deliveries names no job, so those that may be the job's are opened, within a few calls.

Source: GitHub REST API, "Organization webhooks", "Repository webhooks", "GitHub App webhooks".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from orchestrator.clock import moment_of
from orchestrator.errors import GitHubRefused
from orchestrator.explain.facts import DeliveryFacts, DeliverySearch, JobFacts
from orchestrator.github.client import Response
from orchestrator.github.hook_deliveries import hook_access
from orchestrator.github.session import GitHubSession
from orchestrator.jobs.event import EVENT, WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import APP_HOOK
from orchestrator.runners.scope import Scope, ScopeAccess

# What a search costs at most, beside finding the webhook: pages of a hundred, deliveries that are opened, and the
# latest attempt of the one that was found.
MOST_CALLS = 9
MOST_PAGES = 4
# GitHub's own times may differ by so much.
_SLACK = timedelta(seconds=10)
# How the function's webhook is known among those of an organization or repository.
_FUNCTION = "/api/ProvideActionsRunner"


class JobDelivery:
    """Looks for the deliveries of single jobs.

    Args:
        session: makes the calls.
        app: whether the deliveries are those of the GitHub App's own webhook.
    """

    def __init__(self, session: GitHubSession, *, app: bool) -> None:
        self._session = session
        self._app = app

    def search(self, job: JobFacts) -> DeliverySearch:
        """Look for the `queued` delivery of a job.

        Args:
            job: what GitHub says of it.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        event = job.event
        since = event.workflow_job.created_at
        hooks = [APP_HOOK] if self._app else list(self._hooks(event))[:MOST_PAGES]
        complete, left = bool(hooks), MOST_CALLS - 1
        possible: list[_Attempt] = []
        for hook in hooks:
            attempts, reached, pages = self._attempts(hook, since, MOST_PAGES // len(hooks))
            possible += [attempt for attempt in attempts if attempt.may_be_of(job)]
            complete, left = complete and reached, left - pages
        possible.sort(key=lambda attempt: (attempt.delivered_at, attempt.id))
        firsts = list({attempt.guid: attempt for attempt in reversed(possible)}.values())[::-1]
        found = self._first_attempt(firsts, event.workflow_job.id, left)
        if found is None:
            return DeliverySearch(None, complete=complete and len(firsts) <= left)
        first, opened = found
        latest = [attempt for attempt in possible if attempt.guid == first.guid][-1]
        return DeliverySearch(_facts(latest, opened if latest == first else self._open(latest)), complete)

    def _first_attempt(
        self, attempts: Sequence["_Attempt"], job_id: int, most: int
    ) -> tuple["_Attempt", Response] | None:
        """Return the attempt that is about a job, and what GitHub says of it.

        The ids of jobs grow, and so does the time of their deliveries, nearly in the same order. So a job's delivery is
        found in a burst of a hundred by halving.

        Args:
            attempts: the first ones of their deliveries, in the order of time.
            job_id: the job's id.
            most: how many are opened.
        """
        unopened = list(range(len(attempts)))
        low, high = 0, len(attempts)
        for _ in range(min(most, len(attempts))):
            middle = (low + high) // 2
            place = min(unopened, key=lambda place: abs(place - middle))
            unopened.remove(place)
            opened = self._open(attempts[place])
            number = _job_of(opened)
            if number == job_id:
                return attempts[place], opened
            if number is not None and number < job_id:
                low = place + 1
            elif number is not None:
                high = place
        return None

    def _open(self, attempt: "_Attempt") -> Response:
        path = f"{attempt.hook}/deliveries/{attempt.id}"
        return self._session.call("GET", path, hook_access(attempt.hook))

    def _hooks(self, event: WorkflowJobEvent) -> Iterator[str]:
        """Yield the webhooks that lead to a function like this one. Their URLs hold its key and are not shown."""
        scopes = [Scope("repository", event.repository.full_name)]
        if event.organization is not None:
            scopes.insert(0, Scope("organization", event.organization.login))
        for scope in scopes:
            path = f"{scope.api_path}/hooks"
            with suppress(GitHubRefused):  # the credentials may see one of the two only
                listed = next(self._session.pages(path, ScopeAccess(scope, None), _hook), [])
                yield from (f"{path}/{number}" for number, url in listed if _FUNCTION in url)

    def _attempts(self, hook: str, since: datetime | None, most_pages: int) -> tuple[list["_Attempt"], bool, int]:
        """Return a hook's attempts, newest first, whether they reach back to a moment, and how many pages were read."""
        found: list[_Attempt] = []
        number = 0
        pages = self._session.pages(f"{hook}/deliveries", hook_access(hook), _listed, by_cursor=True)
        for number, page in enumerate(pages, 1):
            found += [attempt._replace(hook=hook) for attempt in page]
            if since is not None and found and found[-1].delivered_at < since - _SLACK:
                return found, True, number
            if number >= most_pages:
                return found, False, number
        return found, since is not None, number


class _Attempt(NamedTuple):
    """One attempt to deliver an event, as the list shows it."""

    hook: str
    id: int
    guid: str
    delivered_at: datetime
    event: str
    action: str | None
    status: int
    repository_id: int | None

    def may_be_of(self, job: JobFacts) -> bool:
        """Whether it may be the delivery of a job's `queued` event."""
        since = job.event.workflow_job.created_at
        return (
            (self.event, self.action) == (EVENT, "queued")
            and self.repository_id in (None, job.repository_id)
            and (since is None or self.delivered_at >= since - _SLACK)
        )


def _listed(entry: Any) -> _Attempt:
    repository = entry.get("repository_id")
    return _Attempt(
        "",
        int(entry["id"]),
        str(entry["guid"]),
        moment_of(entry["delivered_at"]),
        str(entry["event"]),
        entry["action"],
        int(entry["status_code"]),
        None if repository is None else int(repository),
    )


def _hook(entry: Any) -> tuple[int, str]:
    return int(entry["id"]), str((entry.get("config") or {}).get("url") or "")


def _facts(attempt: _Attempt, opened: Response) -> DeliveryFacts:
    answer = _answer(opened)
    result, reason = answer.get("result"), answer.get("reason")
    return DeliveryFacts(
        attempt.delivered_at,
        attempt.status,
        result if isinstance(result, str) else None,
        reason[:500] if isinstance(reason, str) else None,
    )


def _job_of(opened: Response) -> int | None:
    """Return the id of the job that a delivery is about; None if it names none."""
    try:
        return int(opened.json["request"]["payload"]["workflow_job"]["id"])
    except (LookupError, TypeError, ValueError):
        return None


def _answer(opened: Response) -> Mapping[str, object]:
    """Return the body of the function's answer; empty where something else answered, or nothing."""
    try:
        body = opened.json["response"]["payload"]
        answer = json.loads(body) if isinstance(body, str) else body
    except (LookupError, TypeError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
