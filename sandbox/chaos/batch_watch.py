"""Reads everything that is written to Batch, for secrets: where registrations are claimed, it holds none."""

import base64
import re
from collections.abc import Callable

from aiohttp import web

from sandbox.chaos.log_watch import holds_secret
from sandbox.recording import Handler, NoRecorder

# A claim: what it says, and its signature. It opens nothing by itself, and what it says is looked at like all the rest.
_CLAIM = re.compile(r"\bv1\.([\w-]+)\.[\w-]{43}(?![\w-])")


class BatchWatch(NoRecorder):
    """Takes each request that the Batch stand-in gets.

    Args:
        violate: is told of a broken invariant.

    Attributes:
        secrets: texts that no request may hold.
    """

    def __init__(self, violate: Callable[[str, str], None]) -> None:
        super().__init__("batch")
        self.secrets: tuple[str, ...] = ()
        self._violate = violate

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Look at one request, and let it pass (aiohttp middleware)."""
        text = _CLAIM.sub(lambda claim: _said(claim[1]), await request.text())
        if holds_secret(text, self.secrets):
            self._violate("no secret in Batch", f"{request.method} {request.path} holds a secret")
        return await handler(request)


def _said(payload: str) -> str:
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
