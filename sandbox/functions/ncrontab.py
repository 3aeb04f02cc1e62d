"""NCRONTAB: when a timer fires (pure).

Six fields: second, minute, hour, day, month, day of week (0 is Sunday); lists, ranges, steps and English names.
Source: Azure Functions docs, "Timer trigger: NCRONTAB expressions". Times are UTC.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

_NAMES = {
    4: ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    5: ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_FIELDS = len(_BOUNDS)
_MONTH = 4


class Schedule(NamedTuple):
    """The values at which each field matches."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Read an expression; one of five fields has its seconds at 0.

        Raises:
            ValueError: It is none.
        """
        fields = expression.split()
        if len(fields) == _FIELDS - 1:
            fields.insert(0, "0")
        if len(fields) != _FIELDS:
            raise ValueError(f"{expression!r} has not six fields")
        return cls(*(_values(text, index) for index, text in enumerate(fields)))

    def after(self, moment: datetime) -> datetime:
        """Return the first match later than a moment.

        Raises:
            ValueError: There is none within five years.
        """
        found = moment.replace(microsecond=0) + timedelta(seconds=1)
        end = moment + timedelta(days=5 * 366)
        while found < end:
            if found.month not in self.months or not self._on_day(found):
                found = found.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif found.hour not in self.hours:
                found = found.replace(minute=0, second=0) + timedelta(hours=1)
            elif found.minute not in self.minutes:
                found = found.replace(second=0) + timedelta(minutes=1)
            elif found.second not in self.seconds:
                found += timedelta(seconds=1)
            else:
                return found
        raise ValueError("the schedule never fires")

    def _on_day(self, moment: datetime) -> bool:
        return moment.day in self.days and moment.isoweekday() % 7 in self.weekdays


def _values(text: str, index: int) -> frozenset[int]:
    values: set[int] = set()
    low, high = _BOUNDS[index]
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        else:
            start, dash, stop = span.partition("-")
            first = _value(start, index)
            last = _value(stop, index) if dash else high if step else first
        if not low <= first <= last <= high:
            raise ValueError(f"{part!r} is out of bounds")
        values.update(range(first, last + 1, int(step or 1)))
    return frozenset(values)


def _value(text: str, index: int) -> int:
    names = _NAMES.get(index, ())
    if text.lower()[:3] in names:
        return names.index(text.lower()[:3]) + (1 if index == _MONTH else 0)
    value = int(text)
    return 0 if index == _FIELDS - 1 and value == 7 else value  # noqa: PLR2004 - Sunday again
