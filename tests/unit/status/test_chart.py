"""The curve of a pool's day."""

from datetime import timedelta

from orchestrator.reconcile.findings import Sample
from orchestrator.status.chart import chart
from tests.status_samples import LINUX, NOW, day


def sample(minutes_ago: float, waiting: int, running: int, pool: str = LINUX) -> Sample:
    """Return what a pass saw so long ago."""
    return Sample(int((NOW - timedelta(minutes=minutes_ago)).timestamp()), 0, {pool: (waiting, running)})


def test_a_day() -> None:
    """The picture has both curves, and tells their peaks to those who do not see it."""
    drawn = chart(day(), LINUX, NOW)
    assert drawn is not None
    assert (drawn.most_running, drawn.most_waiting) == (15, 10)
    assert 'role="img"' in drawn.picture
    assert "The last 24 hours of batchLinux: at most 15 running (at 10:" in drawn.picture
    assert drawn.picture.count("<path") == 3


def test_points() -> None:
    """Of passes within five minutes the highest counts; the top of the picture is the peak of both."""
    drawn = chart([sample(62, 1, 2), sample(61, 4, 0), sample(1, 0, 0)], LINUX, NOW)
    assert drawn is not None
    assert 'd="M275 30h1M287 60h1"' in drawn.picture
    assert 'd="M275 0h1M287 60h1"' in drawn.picture


def test_passes_that_are_missing() -> None:
    """A line is broken off where a pass is missing for half an hour, and drawn through a shorter pause."""
    drawn = chart([sample(62, 0, 1), sample(37, 0, 1), sample(32, 0, 1)], LINUX, NOW)
    assert drawn is not None
    assert 'd="M275 0L280 0L281 0h1"' in drawn.picture
    apart = chart([sample(62, 0, 1), sample(22, 0, 1)], LINUX, NOW)
    assert apart is not None
    assert 'd="M275 0h1M283 0h1"' in apart.picture


def test_nothing_to_show() -> None:
    """Other pools, other days, and times to come are left out."""
    tomorrow = timedelta(days=2).total_seconds() / 60
    assert chart([sample(1, 1, 1, "other"), sample(tomorrow, 1, 1), sample(-tomorrow, 1, 1)], LINUX, NOW) is None


def test_a_quiet_day() -> None:
    """A day without a runner is a line at the bottom."""
    drawn = chart([sample(5, 0, 0)], LINUX, NOW)
    assert drawn is not None
    assert "none running, none waiting." in drawn.picture
