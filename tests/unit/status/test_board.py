"""The status is put together once for all who ask."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.explain.facts import PoolFacts, Unknown
from orchestrator.health.checkup import LastCheck
from orchestrator.health.finding import fail, ok, warn
from orchestrator.reconcile.findings import Findings, Recorded
from orchestrator.status.board import KEPT_FOR, StatusBoard
from tests.builders import settings
from tests.fakes import Immediately, ManualClock


class FakeBatch:
    """Pools, of which one is missing.

    Attributes:
        asked: the pools that were asked for.
        errors: what is raised instead, by pool.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: dict[str, Exception] = {}

    def size(self, pool: str) -> PoolFacts | None:
        """Return a pool's size."""
        self.asked.append(pool)
        if pool in self.errors:
            raise self.errors[pool]
        return PoolFacts(pool, 2, 1, 1, steady=True) if pool == "batchLinux" else None


class NeverDone(Executor):
    """Threads whose calls hang."""

    def submit[**P, T](self, action: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin nothing."""
        del action, args, kwargs
        return Future()


def board(
    batch: FakeBatch,
    clock: ManualClock,
    *,
    check: LastCheck | None = None,
    threads: Executor | None = None,
    **names: Any,
) -> StatusBoard:
    """Return a board over this Batch."""
    return StatusBoard(
        settings(**names),
        last_pass=lambda: Recorded(clock(), Findings()),
        pool=batch.size,
        last_check=lambda: check,
        clock=clock,
        threads=threads or Immediately(),
    )


def test_one_look_for_all() -> None:
    """A hundred who ask within fifteen seconds cost one call for each pool; whoever asks later has a new look."""
    batch, clock = FakeBatch(), ManualClock()
    shown = board(batch, clock)
    first = shown.status()
    assert [shown.status() for _ in range(100)] == [first] * 100
    assert batch.asked == ["batchLinux", "batchWindows"]
    clock.advance(KEPT_FOR)
    assert shown.status().now == clock()
    assert len(batch.asked) == 4


def test_what_it_has() -> None:
    """The pools, the record and the account are told; the settings' own warnings where nobody has looked for more."""
    clock = ManualClock()
    shown = board(FakeBatch(), clock, MaxRunnersPerRepository="1").status()
    assert (shown.account, shown.web_url, shown.period) == ("acct", "https://github.com", timedelta(minutes=5))
    assert shown.pools["batchWindows"] is None
    assert {one.item for one in shown.warnings} == {"settings"}
    assert shown.checked_at is None


def test_the_last_check() -> None:
    """What the last look at the set-up found is shown with its time, without what is as it should be."""
    clock = ManualClock()
    bad = [warn("a", "b", "c"), fail("d", "e", "f")]
    shown = board(FakeBatch(), clock, check=LastCheck(clock(), [ok("x", "y"), *bad])).status()
    assert (list(shown.warnings), shown.checked_at) == (bad, clock())


def test_pools_that_do_not_answer() -> None:
    """A pool that is silent or may not be asked is unknown, and holds up nothing else."""
    batch = FakeBatch()
    batch.errors = {"batchLinux": TransientError("503"), "batchWindows": UpstreamRefused("403")}
    shown = board(batch, ManualClock()).status()
    assert shown.pools == {"batchLinux": Unknown("503"), "batchWindows": Unknown("403", refused=True)}


def test_pools_that_hang() -> None:
    """A call that hangs is given up when nobody would wait for it any more."""

    class Running(ManualClock):
        def __call__(self) -> Any:
            self.advance(timedelta(seconds=5))
            return super().__call__()

    shown = board(FakeBatch(), Running(), threads=NeverDone()).status()
    assert set(map(str, shown.pools)) == {"batchLinux", "batchWindows"}
    assert shown.pools["batchWindows"] == Unknown("no answer came in time")
