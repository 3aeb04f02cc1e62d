"""The curve of a pool's day as an inline picture, which needs no script and no style of its own (pure)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from orchestrator.reconcile.findings import SAMPLES_FOR, Sample
from orchestrator.status.markup import Markup, element

# The picture's own units; the page stretches it.
_WIDTH, _HEIGHT = 288, 60
# Seconds that one unit stands for, so that many passes make no more points than the picture is wide.
_UNIT = int(SAMPLES_FOR.total_seconds()) // _WIDTH
# Units without a pass after which a line is broken off.
_BREAK = 6


class Chart(NamedTuple):
    """A day's picture.

    Attributes:
        picture: an SVG element, with a text for those who do not see it.
        most_running: how many tasks ran at most.
        most_waiting: how many waited at most.
    """

    picture: Markup
    most_running: int
    most_waiting: int


type _Points = Sequence[tuple[int, int]]


def chart(samples: Iterable[Sample], pool: str, now: datetime) -> Chart | None:
    """Return the picture of the tasks that waited and ran; None if there is nothing to show.

    Args:
        samples: those of the passes, the oldest first.
        pool: the pool's id.
        now: the right edge.
    """
    start = int((now - SAMPLES_FOR).timestamp())
    waiting: dict[int, int] = {}
    running: dict[int, int] = {}
    for sample in samples:
        place = (sample.at - start) // _UNIT
        if 0 <= place <= _WIDTH and pool in sample.pools:
            waits, runs = sample.pools[pool]
            waiting[place] = max(waits, waiting.get(place, 0))
            running[place] = max(runs, running.get(place, 0))
    if not running:
        return None
    most_running, most_waiting = max(running.values()), max(waiting.values())
    top = max(1, most_running, most_waiting)
    picture = element(
        "svg",
        element("line", x1="0", x2=str(_WIDTH), y1=str(_HEIGHT), y2=str(_HEIGHT), class_="axis"),
        element("path", class_="area", d=_area(sorted(running.items()), top)),
        element("path", class_="runs", d=_line(sorted(running.items()), top)),
        element("path", class_="waits", d=_line(sorted(waiting.items()), top)),
        viewBox=f"0 -2 {_WIDTH} {_HEIGHT + 4}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"The last 24 hours of {pool}: {_peak('running', running, start)}, "
        f"{_peak('waiting', waiting, start)}.",
    )
    return Chart(picture, most_running, most_waiting)


def _peak(what: str, values: dict[int, int], start: int) -> str:
    most = max(values.values())
    if most == 0:
        return f"none {what}"
    place = next(place for place, value in values.items() if value == most)
    return f"at most {most} {what} (at {datetime.fromtimestamp(start + place * _UNIT, UTC):%H:%M} UTC)"


def _parts(points: _Points) -> Iterable[_Points]:
    """Yield the points that belong together: between two of them a pass is missing for long."""
    part: list[tuple[int, int]] = []
    for place, value in points:
        if part and place - part[-1][0] > _BREAK:
            yield part
            part = []
        part.append((place, value))
    yield part


def _line(points: _Points, top: int) -> str:
    # A part of one point is a short stroke, which can be seen.
    return "".join("M" + "L".join(_corners(part, top)) + "h1" for part in _parts(points))


def _area(points: _Points, top: int) -> str:
    return "".join(
        f"M{part[0][0]} {_HEIGHT}L" + "L".join(_corners(part, top)) + f"h1V{_HEIGHT}Z" for part in _parts(points)
    )


def _corners(points: _Points, top: int) -> Iterable[str]:
    return (f"{place} {round(_HEIGHT * (1 - value / top), 1):g}" for place, value in points)
