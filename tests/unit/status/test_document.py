"""The status as a program reads it."""

import json
from dataclasses import replace

from orchestrator.explain.facts import Unknown
from orchestrator.status.document import document
from tests.status_samples import LINUX, status


def test_the_document() -> None:
    """It is JSON, with the worst state, times as texts and spans in seconds."""
    told = json.loads(json.dumps(document(status())))
    assert told["state"] == "problem"
    assert (told["lastPass"], told["lastPassAge"], told["nextPass"]) == (
        "2026-11-27T12:02:03+00:00",
        77,
        "2026-11-27T12:05:00+00:00",
    )
    assert told["pools"][LINUX]["nodes"] == 3
    assert told["found"]["jobs"][0]["queuedAt"].startswith("2026-11-27T11:25:20")
    assert told["warnings"][0]["item"] == "runner 2.338.0"


def test_what_is_not_known() -> None:
    """A pool that is missing or silent, and a pass whose record cannot be read, are told as such."""
    unknown = replace(
        status(), recorded=Unknown("silence"), checked_at=None, pools={"a": None, "b": Unknown("silence")}
    )
    told = document(unknown)
    assert told["pools"] == {"a": {"exists": False}, "b": {"unknown": "silence"}}
    assert (told["lastPass"], told["lastPassAge"], told["checkedAt"]) == (None, None, None)
