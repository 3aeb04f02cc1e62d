"""GitHub's webhooks: who is told, how a delivery is signed and sent, and what *Recent Deliveries* remembers of it."""

import hashlib
import hmac
import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from sandbox.github.model import Repository, Scope

# Seconds for which a delivery can be listed and redelivered (documented: three days).
KEPT = 3 * 86_400.0

# Seconds after which GitHub gives up waiting for an answer (documented).
TIME_LIMIT = 10.0

_TARGETS = {"repository": "repository", "organization": "organization", "enterprise": "business"}


@dataclass(frozen=True)
class HookResponse:
    """What the receiver answered.

    Attributes:
        status: GitHub's word for it: `OK`, or what went wrong.
        code: the HTTP status; 502 and 504 stand for no connection and no answer in time.
    """

    status: str
    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True)
class Hook:
    """One configured webhook.

    Attributes:
        scope: where it is configured; None for the hook of an App.
        app_id: the App, for the hook of an App.
        headers: request headers added to each delivery (for example those that a front end would add).
    """

    id: int
    url: str
    secret: str | None = field(repr=False)
    events: frozenset[str]
    scope: Scope | None
    app_id: int | None
    content_type: Literal["json", "form"]
    headers: Mapping[str, str]
    created_at: float

    def watches(self, repository: Repository) -> bool:
        """Whether the hook is configured where it hears of this repository."""
        return self.scope is not None and self.scope.covers(repository)


@dataclass
class Delivery:
    """One attempt to deliver one event; a redelivery is another one with the same guid."""

    id: int
    guid: str
    hook: Hook
    event: str
    action: str | None
    payload: Mapping[str, Any]
    created_at: float
    repository_id: int | None = None
    installation_id: int | None = None
    redelivery: bool = False
    delivered_at: float | None = None
    duration: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    answer: HookResponse | None = None


# Sends a body to a URL with headers, within some seconds.
type Post = Callable[[str, Mapping[str, str], bytes, float], HookResponse]

# Decides the fate of a delivery: call the second argument now, later, twice or never.
type Deliver = Callable[[Delivery, Callable[[], None]], None]


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> HookResponse:
    """POST over a new connection, following no redirect, as GitHub does."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("POST", f"{parts.path or '/'}?{parts.query}".rstrip("?"), body, dict(headers))
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except TimeoutError:
        return HookResponse("timed out", 504)
    except (OSError, http.client.HTTPException):
        return HookResponse("failed to connect to host", 502)
    finally:
        connection.close()
    fine = 200 <= response.status < 300  # noqa: PLR2004 - the range is the rule
    status = "OK" if fine else f"Invalid HTTP Response: {response.status}"
    return HookResponse(status, response.status, dict(response.getheaders()), text)


class Hooks:
    """Every hook and its deliveries. Safe under threads."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        deliver: Deliver | None = None,
        send: Post = post,
    ) -> None:
        """Begin without hooks.

        Args:
            clock: tells the time in epoch seconds.
            deliver: decides when and how often a delivery is sent; default once, at once, in another thread.
            send: carries a delivery to its receiver.
        """
        self._clock = clock
        self._deliver = deliver or self._in_background
        self._send = send
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="github-hooks")
        self._changed = threading.Condition()
        self._underway = 0
        self._ids = itertools.count(1)
        self._hooks: dict[int, Hook] = {}
        self._deliveries: dict[int, Delivery] = {}

    def add(
        self, url: str, secret: str | None, *, events: Iterable[str], scope: Scope | None, app_id: int | None = None,
        content_type: Literal["json", "form"] = "json", headers: Mapping[str, str] | None = None,
    ) -> Hook:  # fmt: skip
        """Configure a hook; GitHub pings it."""
        hook = Hook(
            next(self._ids) + 400_000_000, url, secret, frozenset(events), scope, app_id, content_type,
            dict(headers or {}), self._clock(),
        )  # fmt: skip
        with self._changed:
            self._hooks[hook.id] = hook
        return hook

    def remove(self, hook_id: int) -> None:
        """Delete a hook."""
        with self._changed:
            self._hooks.pop(hook_id, None)

    def change(self, hook: Hook) -> None:
        """Put a hook in the place of the one with its id."""
        with self._changed:
            self._hooks[hook.id] = hook

    @property
    def all(self) -> list[Hook]:
        """Every hook."""
        with self._changed:
            return list(self._hooks.values())

    def deliveries(self, hook_ids: Iterable[int] | None = None) -> list[Delivery]:
        """Return what was sent in the last three days, newest first.

        Args:
            hook_ids: only those of these hooks.
        """
        now, wanted = self._clock(), None if hook_ids is None else set(hook_ids)
        with self._changed:
            found = [d for d in self._deliveries.values() if d.delivered_at is not None]
        return [d for d in reversed(found) if now - d.created_at < KEPT and (wanted is None or d.hook.id in wanted)]

    def delivery(self, delivery_id: int) -> Delivery | None:
        """Return a delivery that was sent in the last three days."""
        with self._changed:
            found = self._deliveries.get(delivery_id)
        is_listed = found is not None and found.delivered_at is not None and self._clock() - found.created_at < KEPT
        return found if is_listed else None

    def tell(
        self, hook: Hook, event: str, payload: Mapping[str, Any], *, repository_id: int | None = None,
        installation_id: int | None = None,
    ) -> Delivery:  # fmt: skip
        """Deliver an event to one hook."""
        return self._dispatch(
            Delivery(
                self._new_id(), str(uuid.uuid4()), hook, event, payload.get("action"), payload, self._clock(),
                repository_id, installation_id,
            )
        )  # fmt: skip

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Deliver the same event once more under the same guid."""
        return self._dispatch(
            replace(delivery, id=self._new_id(), created_at=self._clock(), redelivery=True, delivered_at=None,
                    answer=None)
        )  # fmt: skip

    def wait(self, timeout: float = 15.0) -> bool:
        """Wait until no delivery is on its way; return whether that came to pass within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._underway == 0, timeout)

    def close(self) -> None:
        """Send nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new_id(self) -> int:
        return next(self._ids) + 100_000_000_000

    def _dispatch(self, delivery: Delivery) -> Delivery:
        with self._changed:
            self._deliveries[delivery.id] = delivery
        self._deliver(delivery, lambda: self._attempt(delivery))
        return delivery

    def _in_background(self, _delivery: Delivery, attempt: Callable[[], None]) -> None:
        with self._changed:
            self._underway += 1
        try:
            self._pool.submit(self._attempt_and_count, attempt)
        except RuntimeError:  # closed: nobody is told any more
            self._counted()

    def _attempt_and_count(self, attempt: Callable[[], None]) -> None:
        try:
            attempt()
        finally:
            self._counted()

    def _counted(self) -> None:
        with self._changed:
            self._underway -= 1
            self._changed.notify_all()

    def _attempt(self, delivery: Delivery) -> None:
        headers, body = envelope(delivery)
        began, at = time.monotonic(), self._clock()
        answer = self._send(delivery.hook.url, headers, body, TIME_LIMIT)
        with self._changed:
            delivery.headers, delivery.body, delivery.answer = headers, body, answer
            delivery.duration = round(time.monotonic() - began, 2)
            delivery.delivered_at = at
            self._changed.notify_all()


def envelope(delivery: Delivery) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a delivery, signed with the secret of its hook."""
    hook = delivery.hook
    body = json.dumps(delivery.payload, separators=(",", ":"), ensure_ascii=False).encode()
    if hook.content_type == "form":
        body = urlencode({"payload": body.decode()}, quote_via=quote).encode()
    target = "integration" if hook.scope is None else _TARGETS[hook.scope.kind]
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json" if hook.content_type == "json" else "application/x-www-form-urlencoded",
        "User-Agent": "GitHub-Hookshot/5afe57d",
        "X-GitHub-Delivery": delivery.guid,
        "X-GitHub-Event": delivery.event,
        "X-GitHub-Hook-ID": str(hook.id),
        "X-GitHub-Hook-Installation-Target-ID": str(hook.app_id or hook.id),
        "X-GitHub-Hook-Installation-Target-Type": target,
    }
    if hook.secret is not None:
        key = hook.secret.encode()
        headers["X-Hub-Signature"] = f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}"
        headers["X-Hub-Signature-256"] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
    return headers | dict(hook.headers), body
