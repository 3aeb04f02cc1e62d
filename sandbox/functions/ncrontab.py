"""NCRONTAB: when a timer fires (pure). Times are UTC.

An expression has six fields: second, minute, hour, day, month and day of week. Of what the language allows, these are
understood: `S */N * * * *` and `S * * * * *`, second S of every N-th or of every minute. The application uses no more.
Source: Azure Functions docs, "Timer trigger: NCRONTAB expressions".
"""

import re
from datetime import datetime, timedelta
from typing import NamedTuple

_EXPRESSION = re.compile(r"([0-5]?\d) \*(?:/([1-9]|[1-5]\d))? \* \* \* \*")


class Schedule(NamedTuple):
    """A second of every so many minutes of an hour, from its first."""

    second: int
    minutes: int

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Read an expression.

        Raises:
            ValueError: It has none of the forms that are understood.
        """
        found = _EXPRESSION.fullmatch(expression)
        if found is None:
            raise ValueError(f"{expression!r} is neither `S */N * * * *` nor `S * * * * *`: others are not understood")
        return cls(int(found[1]), int(found[2] or 1))

    def after(self, moment: datetime) -> datetime:
        """Return the first match later than a moment."""
        found = moment.replace(second=self.second, microsecond=0)
        while found <= moment or found.minute % self.minutes:
            found += timedelta(minutes=1)
        return found
