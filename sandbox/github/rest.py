"""The edge of GitHub's REST API: who asks, may they, how many more times, and how the answer is dressed."""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

from aiohttp import web

from sandbox.github.access import Principal
from sandbox.github.core import GitHubCore
from sandbox.github.model import SECONDARY_LIMIT, Refusal, Scope

type Audience = Literal["anyone", "token", "app"]

API_VERSIONS = frozenset({"2022-11-28", "2026-03-10"})
MAX_PER_PAGE = 100
DOCUMENTATION = "https://docs.github.com/rest"


@dataclass(frozen=True)
class Call:
    """One request as the handlers see it."""

    core: GitHubCore
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    principal: Principal | None
    now: float
    url: str

    @property
    def scope(self) -> Scope:
        """The repository, organization or enterprise that the path names."""
        if "repo" in self.path:
            return Scope("repository", f"{self.path['owner']}/{self.path['repo']}")
        if "org" in self.path:
            return Scope("organization", self.path["org"])
        return Scope("enterprise", self.path["enterprise"])

    def number(self, name: str) -> int:
        """An id from the path; one that is no number does not exist."""
        if not self.path[name].isdigit():
            raise Refusal(404, "Not Found")
        return int(self.path[name])


@dataclass(frozen=True)
class Reply:
    """An answer; a body of None is none at all."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


type Handle = Callable[[Call], Reply]


@dataclass(frozen=True)
class Route:
    """One operation.

    Attributes:
        needs: the permission and level a token must hold.
        audience: whether it is for tokens, for an App's own JWT or for anyone.
    """

    method: str
    path: str
    handle: Handle
    needs: tuple[str, str] | None = None
    audience: Audience = "token"


def page_of(call: Call, items: Sequence[Any]) -> tuple[Sequence[Any], dict[str, str]]:
    """Cut out the page that a request asks for; return it with its `Link` header."""
    size = min(MAX_PER_PAGE, _positive(call, "per_page", 30))
    page = _positive(call, "page", 1)
    last = max(1, -(-len(items) // size))
    links = [("prev", page - 1), ("first", 1)] if page > 1 else []
    links += [("next", page + 1), ("last", last)] if page < last else []
    rest = "".join(f"&{name}={value}" for name, value in call.query.items() if name not in ("page", "per_page"))
    text = ", ".join(f'<{call.url}?per_page={size}&page={number}{rest}>; rel="{rel}"' for rel, number in links)
    return items[(page - 1) * size : page * size], {"Link": text} if text else {}


def _positive(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, "")
    return max(1, int(text)) if text.isdigit() else default


class Rest:
    """Serves routes, at the root (as api.github.com) and below `/api/v3` (as GitHub Enterprise Server)."""

    def __init__(self, core: GitHubCore, routes: Sequence[Route]) -> None:
        self._core = core
        self._routes = routes

    def register(self, router: web.UrlDispatcher) -> None:
        """Add the routes to an application."""
        for route in self._routes:
            for prefix in ("", "/api/v3"):
                router.add_route(route.method, prefix + route.path, self._endpoint(route))
        for prefix in ("/api/v3/{path:.*}", "/{path:.*}"):
            router.add_route("*", prefix, self._endpoint(Route("*", prefix, _unknown, audience="anyone")))

    def _endpoint(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            text = await request.text()
            now = self._core.clock()
            principal: Principal | None = None
            try:
                _check_headers(request)
                with self._core.changing() as now:
                    principal = self._core.access.principal(request.headers.get("Authorization"), now)
                    _spend(self._core, principal, request.method, now)
                    call = Call(
                        self._core, request.match_info, request.query, json_object(text), principal, now,
                        f"{request.scheme}://{request.host}{request.path}",
                    )  # fmt: skip
                    _authorize(route, call)
                    reply = route.handle(call)
            except Refusal as refusal:
                body = {"message": refusal.message, "documentation_url": DOCUMENTATION, "status": str(refusal.status)}
                reply = Reply(body, refusal.status)
            return self._dress(request, reply, principal, now)

        return endpoint

    def _dress(self, request: web.Request, reply: Reply, principal: Principal | None, now: float) -> web.Response:
        body = None if reply.body is None else json.dumps(reply.body).encode()
        status, headers = reply.status, dict(reply.headers)
        if request.method == "GET" and status == 200 and body is not None:  # noqa: PLR2004 - plain success
            headers["ETag"] = f'W/"{hashlib.sha256(body).hexdigest()}"'
            if headers["ETag"] in request.headers.get("If-None-Match", ""):
                status, body = 304, None
        with self._core.lock:
            if status == 304 and principal is not None:  # noqa: PLR2004 - not modified
                self._core.budget.give_back(principal)
            headers |= self._core.budget.headers(principal, now)
        headers["Date"] = format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)
        headers["X-GitHub-Request-Id"] = uuid.uuid4().hex.upper()
        headers |= _about_token(principal)
        headers["X-GitHub-Media-Type"] = "github.v3; format=json"
        kind = None if body is None else "application/json"
        return web.Response(body=body, status=status, headers=headers, content_type=kind, charset=kind and "utf-8")


def _about_token(principal: Principal | None) -> dict[str, str]:
    """Return what GitHub says of a personal token in each answer: its scopes, and when it ends."""
    headers: dict[str, str] = {}
    if principal is not None and principal.scopes is not None:
        headers["X-OAuth-Scopes"] = ", ".join(sorted(principal.scopes))
    if principal is not None and principal.kind == "token" and principal.expires_at is not None:
        end = datetime.fromtimestamp(principal.expires_at, UTC)
        headers["GitHub-Authentication-Token-Expiration"] = f"{end:%Y-%m-%d %H:%M:%S} UTC"
    return headers


def _unknown(_call: Call) -> Reply:
    raise Refusal(404, "Not Found")


def _check_headers(request: web.Request) -> None:
    if not request.headers.get("User-Agent"):
        raise Refusal(403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent")
    version = request.headers.get("X-GitHub-Api-Version", "2022-11-28")
    if version not in API_VERSIONS:
        raise Refusal(400, f"The API version {version} is not supported.")


def json_object(text: str) -> dict[str, Any]:
    """Read a request body; an empty one is an empty object."""
    try:
        body = json.loads(text) if text.strip() else {}
    except ValueError:
        raise Refusal(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "Body should be a JSON object")
    return body


def _spend(core: GitHubCore, principal: Principal | None, method: str, now: float) -> None:
    if not core.budget.take_points(principal, method, now):
        raise Refusal(403, SECONDARY_LIMIT)
    if not core.budget.take(principal, now):
        who = "this address" if principal is None else principal.name
        raise Refusal(core.budget.status, f"API rate limit exceeded for {who}.")


def _authorize(route: Route, call: Call) -> None:
    principal = call.principal
    if route.audience == "anyone":
        return
    if principal is None:
        raise Refusal(401, "Requires authentication" if route.audience == "token" else "A JSON web token is required")
    if (principal.kind == "app") != (route.audience == "app"):
        raise Refusal(401 if route.audience == "app" else 403, "Resource not accessible by this kind of credential")
    if route.needs is None:
        return
    if not principal.sees(call.scope):
        raise Refusal(404, "Not Found")
    if not principal.may(*route.needs):
        by = "integration" if principal.kind == "installation" else "personal access token"
        raise Refusal(403, f"Resource not accessible by {by}")
