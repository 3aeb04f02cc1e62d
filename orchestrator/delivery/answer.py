"""What the function answers to GitHub and to operators. `docs/reference.md` lists every answer."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.errors import SettingsError
from orchestrator.result import Result


class Answer(NamedTuple):
    """An HTTP answer whose body an operator reads, for example in GitHub's *Recent Deliveries*.

    Attributes:
        status: the HTTP status.
        body: goes over the wire as JSON.
        plain: goes over the wire instead, if there is any.
        retry_after: seconds after which the caller may try again, if the answer says so.
    """

    status: int
    body: Mapping[str, object]
    plain: str | None = None
    retry_after: int | None = None

    @property
    def text(self) -> str:
        """The body as it goes over the wire."""
        return json.dumps(self.body) if self.plain is None else self.plain

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers beside its `Content-Type`."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @property
    def media_type(self) -> str:
        """The body's `Content-Type`."""
        return "application/json" if self.plain is None else "text/plain; charset=utf-8"


def misconfigured(error: SettingsError) -> Answer:
    """Return the answer to everybody while app settings are missing or wrong: it names them, never a value."""
    settings = [{"setting": setting, "problem": problem} for setting, problem in error.problems]
    return Answer(500, {"result": Result.MISCONFIGURED, "settings": settings})
