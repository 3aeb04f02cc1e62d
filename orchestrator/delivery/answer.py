"""What the function answers to GitHub and to operators. `docs/reference.md` lists every answer."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.errors import SettingsError
from orchestrator.result import Result


class Answer(NamedTuple):
    """An HTTP answer whose JSON body an operator reads in GitHub's *Recent Deliveries*."""

    status: int
    body: Mapping[str, object]

    @property
    def text(self) -> str:
        """The body as it goes over the wire."""
        return json.dumps(self.body)


def misconfigured(error: SettingsError) -> Answer:
    """Return the answer to everybody while app settings are missing or wrong: it names them, never a value."""
    settings = [{"setting": setting, "problem": problem} for setting, problem in error.problems]
    return Answer(500, {"result": Result.MISCONFIGURED, "settings": settings})
