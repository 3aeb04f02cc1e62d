"""What a pass writes into the log for alerts, pictures and reckonings."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import TransientError, UpstreamError
from orchestrator.lines import Line
from orchestrator.reconcile.measurements import Measurements, PoolSize, tell_ended
from tests.builders import task_state
from tests.logs import lines

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class World:
    """Pools and queues.

    Attributes:
        pools: what Batch says of each pool; None if there is none.
        error: what Batch and the queues raise, if they do.
    """

    def __init__(self) -> None:
        self.pools: dict[str, PoolSize | None] = {"linux": PoolSize(2, 3, 5, None)}
        self.error: UpstreamError | None = None

    def look_at(self, pool: str) -> PoolSize | None:
        """Tell a pool's size."""
        if self.error:
            raise self.error
        return self.pools[pool]

    def queues(self) -> tuple[int, int]:
        """Count the messages."""
        if self.error:
            raise self.error
        return 3, 1

    def run(self, caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
        """Measure; return what the log says."""
        caplog.set_level("INFO")
        tasks = [
            task_state(f"runner-{number}-1", pool, state, NOW)
            for number, (pool, state) in enumerate(
                [
                    ("linux", "waiting"),
                    ("linux", "running"),
                    ("linux", "running"),
                    ("linux", "finished"),
                    ("a", "running"),
                ]
            )
        ]
        usage = {"calls": 7, "points": 11, "requests_left": None}
        measured = Measurements(sorted(self.pools), look_at=self.look_at, queues=self.queues, usage=lambda: usage)
        measured.run(tasks, NOW)
        return lines(caplog)


@pytest.fixture
def world() -> World:
    """Return a pool that grows."""
    return World()


def test_sizes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each pool has a line with its size and its tasks; the queues and what was used of GitHub have one."""
    pool, queues, calls = world.run(caplog)
    assert pool == (
        "INFO",
        {"pass": "measurements", "pool": "linux", "waiting": 1, "running": 2, "nodes": 2, "target": 3, "slots": 5},
    )
    assert queues == ("INFO", {"pass": "measurements", "kept": 3, "given_up": 1})
    assert calls == ("INFO", {"pass": "measurements", "calls": 7, "points": 11, "requests_left": None})


@pytest.mark.parametrize(
    ("size", "reason"),
    [(PoolSize(0, 1, 5, "AccountCoreQuotaReached"), "AccountCoreQuotaReached"), (None, "Batch has no pool of this id")],
)
def test_trouble_of_a_pool(world: World, caplog: pytest.LogCaptureFixture, size: PoolSize | None, reason: str) -> None:
    """A pool that cannot grow, or is not there, is a warning with the reason."""
    world.pools["linux"] = size
    level, line = world.run(caplog)[0]
    assert (level, line["reason"]) == ("WARNING", reason)


def test_silence(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What does not answer is left out, and the rest is told."""
    world.error = TransientError("503")
    said = [(level, line.get("what"), line.get("reason")) for level, line in world.run(caplog)]
    assert said == [("INFO", "the size of a pool", "503"), ("INFO", "the queues", "503"), ("INFO", None, None)]


def test_runners_that_ended(caplog: pytest.LogCaptureFixture) -> None:
    """A line tells of a finished task whose it was, where, for how long, and how it ended."""
    caplog.set_level("INFO")
    ran = task_state(
        "runner-1-1-r1", "linux", "finished", NOW, started_at=NOW + timedelta(minutes=1), repository="acme/app",
        ended_at=NOW + timedelta(minutes=2), exit_code=0, slots=2, profile="ubuntu-latest", runs_before=1,
    )  # fmt: skip
    tell_ended([ran, task_state("runner-2-1", "linux", "finished", NOW, ended_by_request=True)])
    assert [record.getMessage().endswith(f'"line": "{Line.RUNNER_ENDED}"}}') for record in caplog.records] == [True] * 2
    (_, first), (_, second) = lines(caplog)
    assert first == {
        "task": "runner-1-1-r1", "pool": "linux", "repository": "acme/app", "profile": "ubuntu-latest", "slots": 2,
        "created_at": "2026-11-25T12:00:00+00:00", "started_at": "2026-11-25T12:01:00+00:00",
        "ended_at": "2026-11-25T12:02:00+00:00", "outcome": "job", "reason": "exit code 0", "runs_before": 1,
    }  # fmt: skip
    assert (second["outcome"], second["started_at"], second["ended_at"]) == ("ended", None, None)


def test_outcomes() -> None:
    """A task that ended by itself without a job has failed."""
    assert task_state("runner-1-1", "linux", "finished", NOW, exit_code=75).outcome == "failed"
