"""When the Functions host calls a timer function, on virtual time."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.chaos.virtual_time import START, VirtualLoop
from sandbox.functions.runtime import AppBroken, Function, Result
from sandbox.functions.triggers import Timer


def function(schedule: str) -> Function:
    """Return a timer function."""
    return Function("tick", "1", {"type": "timerTrigger", "schedule": schedule}, {})


def calls(schedule: str, *, seconds: float, takes: float = 0.0, error: str | None = None) -> list[float]:
    """Return after how many seconds a timer has called its function, when each call takes so long."""
    loop = VirtualLoop()
    made: list[float] = []

    async def call(_function: Function, _given: Datum, _metadata: Mapping[str, Datum]) -> Result:
        made.append(round(loop.time(), 3))
        await asyncio.sleep(takes)
        return Result(error)

    async def run() -> None:
        timer = Timer(call, function(schedule), now=lambda: datetime.fromtimestamp(loop.now(), UTC))
        ticking = asyncio.create_task(timer.tick())
        await asyncio.sleep(seconds)
        ticking.cancel()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    return made


def test_begin() -> None:
    """Virtual time begins at a full hour, which the times below are counted from."""
    assert START % 3600 == 0


def test_at_its_times() -> None:
    """The function is called at each of the schedule's times."""
    assert calls("30 * * * * *", seconds=200) == [30, 90, 150]
    assert calls("0 */2 * * * *", seconds=400) == [120, 240, 360]


def test_a_long_call() -> None:
    """What is missed during a call is made up for once, right at its end and never beside it."""
    assert calls("30 * * * * *", seconds=400, takes=130) == [30, 160, 290]


def test_a_failed_call() -> None:
    """A call that fails does not end the timer."""
    assert calls("30 * * * * *", seconds=100, error="no") == [30, 90]


def test_a_schedule_that_is_not_understood() -> None:
    """The app is broken, and the error names the function."""
    with pytest.raises(AppBroken, match="the schedule of tick"):
        calls("0 0 9 * * *", seconds=1)
