"""How far the passes have come, as it is kept."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.reconcile.hook_delivery import HookDelivery
from orchestrator.reconcile.progress import ACTIVE_FOR, HookProgress, Progress, RepositoryProgress

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WHOLE = Progress(
    {"acme/app": RepositoryProgress(NOW, NOW, None, {">=2026-11-23": 'W/"1"'}), "acme/new": RepositoryProgress()},
    {"acme": NOW},
    {
        "/app/hook": HookProgress(NOW, [HookDelivery(1, "g", NOW, "workflow_job", "queued", succeeded=False)], NOW),
        "/orgs/acme/hooks/1": HookProgress(None, [], NOW),
    },
)


@pytest.mark.parametrize("progress", [Progress(), WHOLE])
def test_written_and_read(progress: Progress) -> None:
    """What is written as JSON is read as it was."""
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress


@pytest.mark.parametrize(
    "changes",
    [
        {"repositories": []},
        {"repositories": {"acme/app": [1, 2, 3, 4]}},
        {"repositories": {"acme/app": ["yesterday", None, None]}},
        {"listed": {"acme": None}},
        {"listed": {"acme": 1e300}},
        {"hooks": {"/app/hook": {}}},
        {"hooks": {"/app/hook": {"read_until": 1, "failed": [{"delivered_at": 1}]}}},
    ],
)
def test_unreadable(changes: dict[str, Any]) -> None:
    """Anything else counts as nothing known."""
    assert Progress.from_json({**WHOLE.to_json(), **changes}) == Progress()


@pytest.mark.parametrize("written", [None, [], "x", {}])
def test_no_progress_at_all(written: Any) -> None:
    """So does what is not of this kind."""
    assert Progress.from_json(written) == Progress()


def test_written_by_an_earlier_release() -> None:
    """A repository of which nothing but times is kept is read as well, and a hook without the time of the last look."""
    earlier = {
        "repositories": {"acme/app": [NOW.timestamp(), None, None]},
        "hooks": {"/app/hook": {"read_until": NOW.timestamp(), "failed": []}},
    }
    progress = Progress.from_json({**WHOLE.to_json(), **earlier})
    assert progress.repositories == {"acme/app": RepositoryProgress(NOW)}
    assert progress.hooks == {"/app/hook": HookProgress(NOW)}


def test_activity() -> None:
    """The latest sign of activity counts, for a day; names are in any case."""
    progress = Progress()
    for at in (NOW, None, NOW - ACTIVE_FOR):
        progress.of("Acme/App").seen(at)
    known = progress.of("acme/app")
    assert known.active_at == NOW
    assert (known.is_active(NOW), known.is_active(NOW + ACTIVE_FOR)) == (True, False)
