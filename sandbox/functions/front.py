"""The host's HTTP front: routes, keys, and what the .NET host does to a request before Python sees it."""

import hmac
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.functions.runtime import Call, Function

CLIENT_ADDRESS = "X-Sandbox-Client-Address"


@dataclass(frozen=True)
class Keys:
    """Who may call: `function` keys open functions, the master key opens everything."""

    function: tuple[str, ...]
    master: str

    def open(self, level: str, given: str) -> bool:
        """Whether a key opens what needs this level."""
        if level.lower() == "anonymous":
            return True
        fitting = (*self.function, self.master) if level.lower() == "function" else (self.master,)
        offered = given.encode(errors="surrogateescape")  # a header may hold any bytes
        # An empty key is one that somebody forgot to set: it opens nothing.
        return any(key and hmac.compare_digest(offered, key.encode()) for key in fitting)


class Front:
    """Serves the HTTP functions and the host's own addresses.

    Args:
        functions: all of the app's.
        call: calls one of them.
        keys: open them.
        prefix: of the routes, `api` unless host.json says otherwise.
        front_end: whether to add the headers that App Service's front end adds.
        body_limit: bytes of the largest body.
        run: starts a function by hand, given its name and input; for `POST /admin/functions/NAME`.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        call: Call,
        keys: Keys,
        *,
        prefix: str,
        front_end: bool,
        body_limit: int,
        run: Callable[[str, str], bool],
    ) -> None:
        self._functions = functions
        self._call_function = call
        self._keys = keys
        self._front_end = front_end
        self._body_limit = body_limit
        self._run = run
        self._routes = [
            (_pattern(f"{prefix}/{function.trigger.get('route') or function.name}"), function)
            for function in functions
            if function.trigger["type"] == "httpTrigger"
        ]

    @property
    def application(self) -> web.Application:
        """A new aiohttp application."""
        application = web.Application(client_max_size=self._body_limit)
        application.router.add_get("/admin/host/status", self._status)
        application.router.add_get("/admin/functions", self._list)
        application.router.add_post("/admin/functions/{name}", self._start)
        application.router.add_route("*", "/{path:.*}", self._call)
        return application

    async def _call(self, request: web.Request) -> web.Response:
        found = self._find(request)
        if found is None:
            return web.Response(status=404)
        function, parameters = found
        if not self._keys.open(function.trigger.get("authLevel", "function"), _key(request)):
            return web.Response(status=401)
        if (request.content_length or 0) > self._body_limit:
            return web.Response(status=413)
        # Only a body of announced length is read: a chunked one arrives empty.
        body = await request.read() if request.headers.get("Content-Length", "0") != "0" else b""
        given = Datum(
            {
                "method": Datum(request.method, "string"),
                "url": Datum(str(request.url), "string"),
                "headers": _datums(self._headers(request)),
                "params": _datums(parameters),
                "query": _datums({name: value for name, value in _joined(request.query.items()).items() if value}),
                "body": Datum(body, "bytes"),
            },
            "http",
        )
        result = await self._call_function(function, given, {})
        if result.error is not None:
            return web.Response(status=500)
        return _response(result.outputs.get("$return"))

    def _find(self, request: web.Request) -> tuple[Function, Mapping[str, str]] | None:
        for pattern, function in self._routes:
            matched = pattern.fullmatch(request.path)
            methods = [method.upper() for method in function.trigger.get("methods") or ()]
            if matched and (not methods or request.method in methods):
                return function, {name: value or "" for name, value in matched.groupdict().items()}
        return None

    def _headers(self, request: web.Request) -> dict[str, str]:
        headers = _joined((name.lower(), value) for name, value in request.headers.items())
        address = headers.pop(CLIENT_ADDRESS.lower(), None)
        if not self._front_end:
            return headers
        host = address or request.remote or ""
        peer = f"[{host}]:51234" if ":" in host else f"{host}:51234"
        forwarded = headers.get("x-forwarded-for")
        return headers | {
            "x-forwarded-for": f"{forwarded}, {peer}" if forwarded else peer,
            "x-forwarded-proto": "https",
            "x-appservice-proto": "https",
            "x-original-url": request.path_qs,
            "client-ip": "10.0.128.9:49152",
            "disguised-host": "sandbox.azurewebsites.net",
            "x-site-deployment-id": "sandbox",
            "x-arr-log-id": str(uuid.uuid4()),
        }

    async def _status(self, request: web.Request) -> web.Response:
        if not self._keys.open("admin", _key(request)):
            return web.Response(status=401)
        return web.json_response({"state": "Running"})

    async def _list(self, request: web.Request) -> web.Response:
        if not self._keys.open("admin", _key(request)):
            return web.Response(status=401)
        return web.json_response([{"name": f.name, "config": {"bindings": [f.trigger]}} for f in self._functions])

    async def _start(self, request: web.Request) -> web.Response:
        if not self._keys.open("admin", _key(request)):
            return web.Response(status=401)
        try:
            given = await request.json() if request.can_read_body else {}
        except ValueError:
            given = None
        if not isinstance(given, dict):
            return web.Response(status=400)
        started = self._run(request.match_info["name"], str(given.get("input") or ""))
        return web.Response(status=202 if started else 404)


def _pattern(route: str) -> re.Pattern[str]:
    """Translate a route like `items/{id:int}/{part?}` into a regular expression."""
    text = ""
    for segment in route.strip("/").split("/"):
        parameter = re.fullmatch(r"\{\*?(\w+)(?::(\w+))?(\?)?\}", segment)
        if parameter is None:
            text += f"/{re.escape(segment)}"
            continue
        name, kind, optional = parameter.groups()
        value = r"\d+" if kind in ("int", "long") else ".+" if segment.startswith("{*") else "[^/]+"
        text += f"(?:/(?P<{name}>{value}))?" if optional else f"/(?P<{name}>{value})"
    return re.compile(text, re.IGNORECASE)


def _key(request: web.Request) -> str:
    return request.headers.get("x-functions-key") or request.query.get("code", "")


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the values of repeated names by commas without a space, as .NET's StringValues does."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if joined.get(name) and value else joined.get(name) or value
    return joined


def _datums(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _response(returned: Datum | None) -> web.Response:
    if returned is None:
        return web.Response(status=204)
    if returned.type != "http":
        return web.Response(text=str(returned.value))
    value = returned.value
    headers = {name: datum.value for name, datum in value["headers"].items()}
    return web.Response(status=int(value["status_code"].value), headers=headers, body=value["body"].value)
