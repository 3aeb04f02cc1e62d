"""When a pool is boosted, how far, and that its formula is in charge again whatever happens meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.application import Application, Once
from orchestrator.errors import TransientError
from orchestrator.pool_boost import (
    NOTE_ABANDONED_AFTER,
    STEP_DELAY,
    Autoscale,
    Limits,
    PoolBoost,
    PoolState,
    SavedAutoscale,
    larger_size,
)
from orchestrator.upstream import Upstream
from tests.builders import environment
from tests.fakes import ManualClock

FORMULA = "maxNodes = 8;\nspot = 0;\ndedicatedNodes = 1;\n$TargetDedicatedNodes = 0;"
AUTOSCALE = Autoscale(FORMULA, timedelta(minutes=5))


class Died(Exception):
    """The process ends here."""


class FakePools:
    """One pool, as the service keeps it. `before` is called before everything that changes it."""

    def __init__(self, slots_wanted: int = 0, formula: str = FORMULA) -> None:
        self.autoscale: Autoscale | None = Autoscale(formula, timedelta(minutes=5))
        self.note: SavedAutoscale | None = None
        self.steady = True
        self.dedicated = self.spot = 0
        self.slots = slots_wanted
        self.clock = ManualClock(datetime(2026, 11, 25, tzinfo=UTC))
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _call: None

    def get(self, _pool: str) -> PoolState:
        """Return how it is."""
        return PoolState(self.steady, self.dedicated, self.spot, 5, self.autoscale)

    def slots_wanted(self, _pool: str) -> int:
        """Return what the tasks take."""
        return self.slots

    def write_note(self, _pool: str, autoscale: Autoscale) -> bool:
        """Write the note unless there is one."""
        self._called("write_note")
        if self.note is not None:
            return False
        self.note = SavedAutoscale(autoscale, self.clock(), f"0x{len(self.calls)}")
        return True

    def read_note(self, _pool: str) -> SavedAutoscale | None:
        """Return the note."""
        return self.note

    def delete_note(self, _pool: str, saved: SavedAutoscale) -> None:
        """Take exactly this note away."""
        self._called("delete_note")
        if self.note == saved:
            self.note = None

    def disable_autoscale(self, _pool: str) -> None:
        """Switch it off: the formula is gone."""
        self._called("disable")
        self.autoscale = None

    def resize(self, _pool: str, dedicated: int, spot: int) -> None:
        """Begin to resize."""
        self._called("resize")
        if self.autoscale is not None or not self.steady:
            raise TransientError("409")
        self.dedicated, self.spot, self.steady = dedicated, spot, False

    def enable_autoscale(self, _pool: str, autoscale: Autoscale) -> None:
        """Put the formula into force."""
        self._called("enable")
        if not self.steady:
            raise TransientError("409")
        self.autoscale = autoscale

    def _called(self, call: str) -> None:
        before, self.before = self.before, lambda _call: None  # what it does in turn is not watched
        try:
            before(call)
        finally:
            self.before = before
        self.calls.append(call)
        assert call == "write_note" or self.autoscale is not None or self.note is not None, "the formula is lost"

    def die_at(self, number: int) -> None:
        """End the process in place of the change of this number."""
        left = iter(range(number))

        def before(_call: str) -> None:
            if next(left, None) is None:
                raise Died

        self.before = before


def boost(pools: FakePools) -> PoolBoost:
    """Return the boost of these pools."""
    return PoolBoost(pools, pools.clock)


def settle(pools: FakePools, passes: int = 12) -> None:
    """Let minutes go by: each makes the pool steady, and some process takes a step."""
    pools.before = lambda _call: None
    for _ in range(passes):
        pools.steady = True
        pools.clock.advance(timedelta(minutes=1))
        boost(pools).step_all(["linux"])


@pytest.mark.parametrize(
    ("formula", "limits"),
    [
        (FORMULA, Limits(8, None)),
        ("maxNodes = 16;\nspot = 1;\ndedicatedNodes = 2;", Limits(16, 2)),
        ("  maxNodes=4;  // at most", Limits(4, None)),
        ("spot = 1;\nmaxNodes = 4;", Limits(4, 0)),
        ("$TargetDedicatedNodes = 4;", None),
        ("// maxNodes = 4;", None),
    ],
)
def test_limits(formula: str, limits: Limits | None) -> None:
    """The cap and the split are the formula's own assignments; without a cap there is no limit to go by."""
    assert Limits.of(formula) == limits


@pytest.mark.parametrize(
    ("dedicated", "spot", "slots", "limits", "size"),
    [
        (0, 0, 0, Limits(8, None), None),
        (0, 0, 1, Limits(8, None), (1, 0)),
        (1, 0, 5, Limits(8, None), None),
        (1, 0, 6, Limits(8, None), (2, 0)),
        (0, 0, 64, Limits(8, None), (8, 0)),
        (8, 0, 64, Limits(8, None), None),
        (9, 0, 64, Limits(8, None), None),
        (0, 0, 64, Limits(8, 1), (1, 7)),
        (0, 0, 64, Limits(8, 0), (0, 8)),
        (3, 0, 64, Limits(8, 1), (3, 5)),
        (0, 2, 64, Limits(8, None), (6, 2)),
        (0, 3, 20, Limits(8, 1), (1, 3)),
        (0, 2, 11, Limits(8, None), (1, 2)),
    ],
)
def test_larger_size(dedicated: int, spot: int, slots: int, limits: Limits, size: tuple[int, int] | None) -> None:
    """Slots are rounded up to nodes, within the cap, with the split kept, and nothing is ever taken away."""
    assert larger_size(PoolState(True, dedicated, spot, 5, AUTOSCALE), slots, limits) == size


class TestStep:
    """`PoolBoost.step`."""

    def test_a_whole_boost(self) -> None:
        """Autoscale is switched off after its formula was noted, and on again, the same, when the pool is steady."""
        pools = FakePools(slots_wanted=6)
        assert boost(pools).step("linux") == "boosted"
        assert (pools.dedicated, pools.autoscale) == (2, None)
        assert boost(pools).step("linux") == "nothing"
        pools.steady = True
        assert boost(pools).step("linux") == "restored"
        assert pools.calls == ["write_note", "disable", "resize", "enable", "delete_note"]
        assert (pools.dedicated, pools.autoscale, pools.note) == (2, AUTOSCALE, None)
        assert boost(pools).step("linux") == "nothing"

    def test_more_jobs_meanwhile(self) -> None:
        """Jobs that came while the pool grew enlarge it once more before the formula is in charge again."""
        pools = FakePools(slots_wanted=6)
        boost(pools).step("linux")
        pools.slots, pools.steady = 30, True
        assert boost(pools).step("linux") == "boosted"
        settle(pools)
        assert (pools.dedicated, pools.autoscale, pools.note) == (6, AUTOSCALE, None)

    def test_enough_nodes(self) -> None:
        """A pool whose nodes suffice, or are on their way, is left alone."""
        pools = FakePools(slots_wanted=5)
        pools.dedicated = 1
        assert boost(pools).step("linux") == "nothing"
        assert pools.calls == []

    def test_no_cap(self, caplog: pytest.LogCaptureFixture) -> None:
        """A formula that names no cap is not overtaken."""
        pools = FakePools(64, formula="$TargetDedicatedNodes = 1;")
        assert boost(pools).step("linux") == "nothing"
        assert pools.calls == []
        assert "maxNodes" in caplog.text

    def test_switched_off_by_a_person(self) -> None:
        """Without a note autoscale was not switched off by a boost, so it stays off."""
        pools = FakePools(64)
        pools.autoscale = None
        pools.note = None
        assert boost(pools).step("linux") == "nothing"
        assert pools.calls == []

    def test_a_forgotten_note(self) -> None:
        """A note with autoscale on keeps others out for minutes only."""
        pools = FakePools(64)
        pools.write_note("linux", AUTOSCALE)
        assert boost(pools).step("linux") == "nothing"
        assert pools.note is not None
        pools.clock.advance(NOTE_ABANDONED_AFTER + timedelta(seconds=1))
        assert boost(pools).step("linux") == "nothing"
        assert boost(pools).step("linux") == "boosted"

    def test_a_note_that_nobody_needs(self) -> None:
        """A note that outlived its boost is taken away without another one, before a person switches autoscale off."""
        pools = FakePools(0)
        pools.write_note("linux", AUTOSCALE)
        pools.clock.advance(NOTE_ABANDONED_AFTER + timedelta(seconds=1))
        assert boost(pools).step("linux") == "nothing"
        assert pools.note is None
        pools.autoscale = None
        assert boost(pools).step("linux") == "nothing"
        assert pools.autoscale is None

    def test_trouble(self, caplog: pytest.LogCaptureFixture) -> None:
        """What Batch refuses is logged; the other pools get their step all the same."""
        pools = FakePools(64)

        def refuse(call: str) -> None:
            raise {"write_note": TransientError("503"), "disable": ValueError("a mistake")}[call]

        pools.before = refuse
        boost(pools).step_all(["linux"])
        assert "left as it is until the next step" in caplog.text
        assert '"reason": "503"' in caplog.text
        pools.before = lambda call: refuse(call) if call == "disable" else None
        boost(pools).step_all(["linux", "other"])
        assert "a mistake" in caplog.text
        assert pools.calls == ["write_note", "write_note"]


def assert_all_is_well(pools: FakePools) -> None:
    """The jobs get their nodes, the formula is in charge, and the next burst is served in the same way."""
    settle(pools)
    assert (pools.dedicated, pools.autoscale) == (3, AUTOSCALE)
    pools.slots = 20
    settle(pools)
    assert (pools.dedicated, pools.autoscale, pools.note) == (4, AUTOSCALE, None)


def test_a_note_in_use_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that read the pool's state before a boost began, and goes on minutes later, leaves the note alone."""
    pools = FakePools(slots_wanted=12)

    def suspended(_pool: str) -> int:
        monkeypatch.undo()
        boost(pools).step("linux")
        pools.clock.advance(NOTE_ABANDONED_AFTER + timedelta(seconds=1))
        return 0

    monkeypatch.setattr(pools, "slots_wanted", suspended)
    assert boost(pools).step("linux") == "nothing"
    assert (pools.autoscale, pools.note is not None) == (None, True)
    assert_all_is_well(pools)


@pytest.mark.parametrize("step", range(5))
def test_a_process_that_dies(step: int) -> None:
    """Wherever the process dies, later looks give the pool its nodes and the formula its charge; nobody is left out."""
    pools = FakePools(slots_wanted=12)
    pools.die_at(step)

    def until_it_dies() -> None:
        while True:
            boost(pools).step("linux")
            pools.steady = True

    with pytest.raises(Died):
        until_it_dies()
    assert_all_is_well(pools)


@pytest.mark.parametrize("first", ["write_note", "disable", "resize", "enable", "delete_note"])
@pytest.mark.parametrize("minutes", [0, 20])
def test_two_at_once(first: str, minutes: int) -> None:
    """Others at work between any two steps, even while one sleeps for long, lose neither the formula nor nodes."""
    pools = FakePools(slots_wanted=12)
    other = boost(pools)

    def interrupt(call: str) -> None:
        if call == first:
            pools.clock.advance(timedelta(minutes=minutes))
            for _ in range(3):
                other.step_all(["linux"])
                pools.steady = True

    pools.before = interrupt
    for _ in range(3):
        boost(pools).step_all(["linux"])
        pools.steady = True
    assert_all_is_well(pools)


class Timers:
    """Timers that a test lets ring."""

    def __init__(self) -> None:
        self.started: list[Callable[[], None]] = []

    def start(self, seconds: float, action: Callable[[], None]) -> None:
        """Keep the action."""
        assert seconds == STEP_DELAY
        self.started.append(action)


def test_many_jobs_are_one_step() -> None:
    """The jobs of a burst lead to one step; a job after it leads to another."""
    timers = Timers()
    pools = FakePools(slots_wanted=12)
    booster = PoolBoost(pools, pools.clock, start_timer=timers.start)
    for _ in range(64):
        booster.schedule("linux")
    booster.schedule("windows")
    assert len(timers.started) == 2
    timers.started[0]()
    assert pools.dedicated == 3
    booster.schedule("linux")
    assert len(timers.started) == 3


def test_a_timer_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    """Without a thread for the timer the caller goes on, the error is logged, and the next job tries again."""
    started: list[float] = []

    def fail(seconds: float, _action: Callable[[], None]) -> None:
        started.append(seconds)
        raise RuntimeError("can't start new thread")

    booster = PoolBoost(FakePools(slots_wanted=12), start_timer=fail)
    for _ in range(2):
        booster.schedule("linux")
    assert started == [STEP_DELAY, STEP_DELAY]
    assert "can't start new thread" in caplog.text


def broken() -> Upstream:
    """Fail to connect."""
    raise ValueError("a mistake")


def test_off_by_default() -> None:
    """Without the setting nothing is made, not even a client, and a look at the pools is no look at all."""
    application = Application(environment())
    application._upstream = Once(broken)
    assert not application.boosts_pools
    application.tend_pools()
    assert Application(environment(PoolBoost="Resize")).boosts_pools
    assert not Application(environment(PoolBoost="resize", GithubToken="")).boosts_pools
