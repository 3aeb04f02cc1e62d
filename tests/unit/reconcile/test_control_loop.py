"""A pass as a whole: no step depends on another."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from orchestrator.errors import SettingsError, TransientError, UpstreamError
from orchestrator.reconcile.control_loop import ControlLoop
from orchestrator.reconcile.reconciler import Reconciler
from orchestrator.reconcile.redelivery import Redelivery
from orchestrator.runners.task import TaskState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class World:
    """What a pass goes through; each may be in trouble."""

    def __init__(self) -> None:
        self.tasks: list[TaskState] = []
        self.unreadable: UpstreamError | None = None
        self.queue: UpstreamError | None = None
        self.mistakes: dict[str, Exception] = {}
        self.messages: list[bytes] = []
        self.seen: list[tuple[str, Sequence[TaskState], datetime]] = []

    def pass_over(self) -> None:
        """Make a pass."""
        ControlLoop(
            self,
            ["batchLinux"],
            redelivery=cast("Redelivery", Step("redelivery", self)),
            reconciler=cast("Reconciler", Step("reconciler", self)),
            unexplained=self.unexplained,
            clock=NOW.timestamp,
        ).run()

    def listed(self, pools: Iterable[str], now: datetime) -> Iterator[TaskState]:
        """List the tasks."""
        assert (list(pools), now) == (["batchLinux"], NOW)
        yield from self.tasks
        if self.unreadable:
            raise self.unreadable

    def unexplained(self) -> Iterator[bytes]:
        """Yield what was given up."""
        yield from self.messages
        if self.queue:
            raise self.queue


class Step:
    """One step, which notes what it was given."""

    def __init__(self, name: str, world: World) -> None:
        self._name = name
        self._world = world

    def run(self, tasks: Sequence[TaskState], now: datetime) -> None:
        """Note it."""
        self._world.seen.append((self._name, tasks, now))
        if self._name in self._world.mistakes:
            raise self._world.mistakes[self._name]


def test_a_pass(caplog: pytest.LogCaptureFixture) -> None:
    """Both steps get the tasks, each once and in its latest state, and the log tells of what was given up."""
    world = World()
    world.tasks = [TaskState("runner-1-1", "batchLinux", state, NOW) for state in ("waiting", "running")]
    world.messages = [b'{"a": "request"}']
    world.pass_over()
    assert world.seen == [("redelivery", world.tasks[1:], NOW), ("reconciler", world.tasks[1:], NOW)]
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert json.loads(record.getMessage()) == {
        "pass": "control loop", "result": "given up", "message": '{"a": "request"}',
    }  # fmt: skip


def test_batch_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Without the tasks nothing is compared, but deliveries are still looked after; the log says why."""
    world = World()
    world.tasks = [TaskState("runner-1-1", "batchLinux", "waiting", NOW)]
    world.unreadable = TransientError("Batch cannot list the tasks now: 503")
    world.pass_over()
    assert world.seen == [("redelivery", (), NOW)]
    assert "cannot list the tasks" in caplog.text


def test_the_queue_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A queue that does not answer fails no pass."""
    world = World()
    world.queue = TransientError("the queue does not do its part: 503")
    world.pass_over()
    assert len(world.seen) == 2
    line: dict[str, Any] = json.loads(caplog.records[0].getMessage())
    assert line["reason"] == "the queue does not do its part: 503"


def test_what_nobody_expected(caplog: pytest.LogCaptureFixture) -> None:
    """A step that fails in a way of its own keeps none of the others from their work, and is raised in the end."""
    world = World()
    world.mistakes = {"redelivery": SettingsError([("GithubAppPrivateKey", "is no key")]), "reconciler": KeyError(1)}
    world.messages = [b"{}"]
    with pytest.raises(ExceptionGroup) as caught:
        world.pass_over()
    assert caught.value.exceptions == tuple(world.mistakes.values())
    assert [name for name, *_ in world.seen] == ["redelivery", "reconciler"]
    assert "given up" in caplog.text
