"""What the function answers to GitHub and to operators. `docs/reference.md` lists every answer."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.errors import SettingsError
from orchestrator.result import Result

# Of every answer to an operator: a browser keeps none of it, takes it for what it is called, and tells nobody the
# address, which may hold a function key.
PRIVATE: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Answer(NamedTuple):
    """An HTTP answer whose body an operator reads, for example in GitHub's *Recent Deliveries*.

    Attributes:
        status: the HTTP status.
        body: goes over the wire as JSON.
        plain: goes over the wire instead, if there is any.
        plain_type: what that is.
        headers: further ones.
    """

    status: int
    body: Mapping[str, object]
    plain: str | None = None
    plain_type: str = "text/plain"
    headers: Mapping[str, str] = {}

    @property
    def text(self) -> str:
        """The body as it goes over the wire."""
        return json.dumps(self.body) if self.plain is None else self.plain

    @property
    def media_type(self) -> str:
        """The body's media type; the host adds that it is UTF-8."""
        return "application/json" if self.plain is None else self.plain_type


def misconfigured(error: SettingsError) -> Answer:
    """Return the answer to everybody while app settings are missing or wrong: it names them, never a value."""
    settings = [{"setting": setting, "problem": problem} for setting, problem in error.problems]
    return Answer(500, {"result": Result.MISCONFIGURED, "settings": settings})
