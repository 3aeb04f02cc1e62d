"""GitHub's pages on which a person registers an App from a manifest, and the App that is handed over for the code.

The person is signed in, may do so for every account but those in `not_administered`, and names the App by a field of
the page. Pages are what a browser gets of them: forms, redirects and refusals.
"""

import html
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sandbox.github.access import ALL_PERMISSIONS, App
from sandbox.github.core import GitHubCore
from sandbox.github.model import Refusal
from sandbox.github.rest import Call, Reply, Route

# Seconds for which a code is good (documented: one hour).
CODE_LIFE = 3600.0
LONGEST_NAME = 34
EVENTS = frozenset({"workflow_job", "workflow_run", "push"})
# Whose personal account it is.
PERSON = "mona"


@dataclass(frozen=True)
class _Handover:
    app: App
    private_key: str = field(repr=False)
    webhook_secret: str | None = field(repr=False)
    expires_at: float


class AppManifests:
    """The pages, and the codes that they give out."""

    def __init__(self, core: GitHubCore) -> None:
        self._core = core
        self._asked: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._handovers: dict[str, _Handover] = {}

    def routes(self) -> list[Route]:
        """The operation that gives out an App."""
        return [Route("POST", "/app-manifests/{code}/conversions", self._convert, audience="anyone")]

    def register(self, router: web.UrlDispatcher) -> None:
        """Add the pages to an application."""
        for prefix in ("", "/organizations/{org}"):
            router.add_post(f"{prefix}/settings/apps/new", self._page(self._ask))
            router.add_post(f"{prefix}/settings/apps", self._page(self._create))

    def _page(self, handle: Callable[[str, Mapping[str, str], str], str]) -> Callable[..., Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            form = {name: str(value) for name, value in (await request.post()).items()}
            owner = request.match_info.get("org", PERSON)
            try:
                with self._core.changing():
                    self._check_rights(owner)
                    content = handle(owner, form, request.query.get("state", ""))
            except Refusal as refusal:
                return web.Response(status=refusal.status, text=html.escape(refusal.message), content_type="text/html")
            if content.startswith("http"):
                return web.Response(status=302, headers={"Location": content})
            return web.Response(text=content, content_type="text/html")

        return endpoint

    def _check_rights(self, owner: str) -> None:
        if owner in self._core.not_administered:
            raise Refusal(404, "Not Found")

    def _ask(self, owner: str, form: Mapping[str, str], state: str) -> str:
        """Return the page that shows what the manifest asks for."""
        manifest = _checked(form.get("manifest", ""))
        ticket = secrets.token_hex(8)
        self._asked[ticket] = manifest, state
        place = "" if owner == PERSON else f"/organizations/{owner}"
        name = html.escape(str(manifest.get("name", "")))
        return (
            f'<form action="{place}/settings/apps" method="post"><input type="hidden" name="ticket" value="{ticket}">'
            f'<input name="name" value="{name}"><button>Create GitHub App for {html.escape(owner)}</button></form>'
        )

    def _create(self, owner: str, form: Mapping[str, str], _state: str) -> str:
        """Register the App; return where the browser goes."""
        if form.get("ticket", "") not in self._asked:
            raise Refusal(422, "The form has expired")
        name = form.get("name", "")
        slug = name.lower().replace(" ", "-")
        if not 0 < len(name) <= LONGEST_NAME or slug in [app.slug for app in self._core.access.apps.values()]:
            raise Refusal(422, "Name is already taken")
        manifest, state = self._asked.pop(form["ticket"])
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        app = self._core.add_app(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            owner=owner,
            owner_type="User" if owner == PERSON else "Organization",
            slug=slug,
            permissions={"metadata": "read", **manifest.get("default_permissions", {})},
        )
        hook, secret = manifest.get("hook_attributes"), None
        if hook is not None:
            secret = secrets.token_hex(20)
            events = manifest.get("default_events", ())
            self._core.hooks.add(hook["url"], secret, events=events, scope=None, app_id=app.id)
        code = secrets.token_hex(20)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        self._handovers[code] = _Handover(app, private, secret, self._core.clock() + CODE_LIFE)
        parts = urlsplit(manifest["redirect_url"])
        query = [*parse_qsl(parts.query), ("code", code), *([("state", state)] if state else [])]
        return str(urlunsplit(parts._replace(query=urlencode(query))))

    def _convert(self, call: Call) -> Reply:
        found = self._handovers.pop(call.path["code"], None)
        if found is None or call.now >= found.expires_at:
            raise Refusal(404, "Not Found")
        app = self._core.payloads.app(found.app, 0)
        secret = {"client_secret": secrets.token_hex(20), "webhook_secret": found.webhook_secret}
        return Reply({**app, **secret, "pem": found.private_key}, 201)


def _checked(text: str) -> Mapping[str, Any]:
    """Read a manifest as GitHub does.

    Raises:
        Refusal: 422, something in it is missing or unknown.
    """
    try:
        manifest = json.loads(text)
    except ValueError:
        raise Refusal(422, "Invalid GitHub App configuration") from None
    for where in (manifest, manifest.get("hook_attributes", {"url": "none is needed"})):
        if "url" not in where:
            raise Refusal(422, 'Invalid GitHub App configuration. Error "url" wasn\'t supplied.')
    if unknown := set(manifest.get("default_permissions", {})) - set(ALL_PERMISSIONS):
        raise Refusal(422, f"Default permission records resource is not included in the list: {sorted(unknown)}")
    if unknown := set(manifest.get("default_events", ())) - EVENTS:
        raise Refusal(422, f"Default events are not supported: {sorted(unknown)}")
    if not manifest.get("redirect_url"):
        raise Refusal(422, "The redirect URL is missing")
    return dict(manifest)
