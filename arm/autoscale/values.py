"""What an autoscale formula computes with: doubles, times, intervals and samples, and what can be done with them.

Source: "Create an automatic formula for scaling compute nodes in a Batch pool",
https://learn.microsoft.com/azure/batch/batch-automatic-scaling. What the page leaves open is marked as assumed.
"""

import bisect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# Seconds from one sample of a metric to the next.
SAMPLE_PERIOD = 30.0
# The percentage of samples that `GetSample(interval)` wants when it is given none. The page does not say it; the
# service's message does ("wanted 70%, received 0%", Azure/batch-shipyard issue 138).
DEFAULT_PERCENT = 70.0

MEMBERS = frozenset({"year", "month", "day", "weekday", "hour", "minute", "second"})
AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "avg": lambda values: sum(values) / len(values), "len": len, "max": max, "min": min, "sum": sum,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt, "!=": operator.ne,
}  # fmt: skip


class FormulaError(Exception):
    """A formula that the service would not take, whose evaluation fails, or that uses what is not supported here.

    A failed evaluation leaves a pool as it is.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, order=True, slots=True)
class Timestamp:
    """A point in time, in seconds since 1970, UTC."""

    epoch: float


@dataclass(frozen=True, order=True, slots=True)
class Interval:
    """A length of time in seconds."""

    seconds: float


ON_TIMES: dict[tuple[str, type, type], Callable[[Any, Any], Timestamp | Interval]] = {
    ("*", float, Interval): lambda a, b: Interval(a * b.seconds),
    ("*", Interval, float): lambda a, b: Interval(a.seconds * b),
    ("/", Interval, float): lambda a, b: Interval(a.seconds / b),
    ("+", Interval, Interval): lambda a, b: Interval(a.seconds + b.seconds),
    ("-", Interval, Interval): lambda a, b: Interval(a.seconds - b.seconds),
    ("+", Interval, Timestamp): lambda a, b: Timestamp(a.seconds + b.epoch),
    ("+", Timestamp, Interval): lambda a, b: Timestamp(a.epoch + b.seconds),
    ("-", Timestamp, Timestamp): lambda a, b: Interval(a.epoch - b.epoch),
}


@dataclass(slots=True)
class Samples:
    """The samples of one metric that the service has, oldest first."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, time: float, value: float) -> None:
        """Add a sample, later than all before."""
        self.times.append(time)
        self.values.append(value)

    def count(self, after: float, until: float) -> int:
        """Return how many samples are later than `after`, and no later than `until`."""
        return bisect.bisect_right(self.times, until) - bisect.bisect_right(self.times, after)

    def within(self, after: float, until: float) -> list[float]:
        """Return the values of these samples."""
        return self.values[bisect.bisect_right(self.times, after) : bisect.bisect_right(self.times, until)]


type Value = float | list[float] | Timestamp | Interval | Samples | str


def double(value: Value, line: int) -> float:
    """Return the value if it is a double.

    Raises:
        FormulaError: It is something else.
    """
    if not isinstance(value, float):
        raise FormulaError(line, f"a double is needed, not {_kind(value)}")
    return value


def is_true(value: Value, line: int) -> bool:
    """Return whether a condition holds: a double that is not zero does."""
    return double(value, line) != 0


def negative(value: Value, line: int) -> Value:
    """Return the negative of a double or an interval."""
    return Interval(-value.seconds) if isinstance(value, Interval) else -double(value, line)


def operate(sign: str, a: Value, b: Value, line: int) -> Value:
    """Return the result of an arithmetic operator or a comparison, for the types that are documented.

    Raises:
        FormulaError: The operator is not defined for these, or divides by zero.
    """
    if not (isinstance(a, float) and isinstance(b, float)):
        return _on_times(sign, a, b, line)
    try:
        return float((ARITHMETIC.get(sign) or COMPARISONS[sign])(a, b))
    except ZeroDivisionError:
        raise FormulaError(line, "division by zero") from None


def _on_times(sign: str, a: Value, b: Value, line: int) -> Value:
    """Return the result of an operator on timestamps and intervals, as far as it is documented."""
    if type(a) is type(b) and isinstance(a, Timestamp | Interval) and sign in COMPARISONS:
        return float(COMPARISONS[sign](a, b))
    operation = ON_TIMES.get((sign, type(a), type(b)))
    if operation is None or (sign == "/" and b == 0):
        raise FormulaError(line, f"{sign} is not defined for {_kind(a)} and {_kind(b)}, or not for this value")
    return operation(a, b)


def aggregate(function: str, arguments: Sequence[Value], line: int) -> float:
    """Return what one of `AGGREGATES` makes of doubles and vectors, which are put together first.

    Raises:
        FormulaError: An argument is something else. That there is no value at all is an error, too, is assumed.
    """
    values: list[float] = []
    for argument in arguments:
        if isinstance(argument, list):
            values += argument
        else:
            values.append(double(argument, line))
    if not values and function not in {"len", "sum"}:
        raise FormulaError(line, f"{function} of no values")
    return float(AGGREGATES[function](values))


def member(name: str, value: Value, line: int) -> float:
    """Return one of `MEMBERS` of a timestamp, in UTC. Monday is 1; that Sunday is 0, as in .NET, is assumed."""
    if not isinstance(value, Timestamp):
        raise FormulaError(line, f"{name} is a member of timestamps, not of {_kind(value)}")
    date = datetime.fromtimestamp(value.epoch, UTC)
    return float(date.isoweekday() % 7 if name == "weekday" else getattr(date, name))


def _kind(value: Value) -> str:
    kinds = {
        float: "a double",
        list: "a doubleVec",
        Timestamp: "a timestamp",
        Interval: "a timeinterval",
        Samples: "a metric's samples",
    }
    return kinds.get(type(value), "a string")


def get_sample(metric: Value, arguments: list[Value], now: float, line: int) -> Value:
    """Return the last `count` samples, or those of a time frame if enough of them are there.

    Raises:
        FormulaError: Samples are missing. That `GetSample(count)` without any sample fails, too, is assumed.
    """
    samples = _samples(metric, line)
    if isinstance(arguments[0], float) and len(arguments) == 1:
        count = int(arguments[0])
        if not samples.values or count < 1:
            raise FormulaError(line, "there is no sample yet")
        return samples.values[-count:]
    wanted, last = DEFAULT_PERCENT, arguments[-1]
    if isinstance(last, float):
        wanted, arguments = last, arguments[:-1]
    after, until = _frame(arguments, now, line)
    received = _percent(samples, after, until)
    if received < wanted:
        raise FormulaError(line, f"wanted {wanted:g}% of the samples, received {received:g}%")
    return samples.within(after, until)


def get_sample_percent(metric: Value, arguments: list[Value], now: float, line: int) -> Value:
    """Return which share of the samples that a time frame should have are there, in percent."""
    return _percent(_samples(metric, line), *_frame(arguments, now, line))


def _samples(value: Value, line: int) -> Samples:
    if not isinstance(value, Samples):
        raise FormulaError(line, f"samples are those of a metric, not of {_kind(value)}")
    return value


def _percent(samples: Samples, after: float, until: float) -> float:
    return min(100.0, 100 * samples.count(after, until) * SAMPLE_PERIOD / (until - after))


def _frame(arguments: Sequence[Value], now: float, line: int) -> tuple[float, float]:
    """Return the start and the end of a time frame, given in any order by one or two times; one runs until now."""
    times = []
    for argument in arguments:
        if isinstance(argument, Timestamp):
            times.append(argument.epoch)
        elif isinstance(argument, Interval):
            times.append(now - argument.seconds)
    if len(times) != len(arguments) or len(times) not in {1, 2}:
        raise FormulaError(line, "a time frame has one or two times")
    after, until = min([*times, now][:2]), max([*times, now][:2])
    if after == until:
        raise FormulaError(line, "the time frame is empty")
    return after, until


METHODS: dict[str, Callable[[Value, list[Value], float, int], Value]] = {
    "GetSample": get_sample,
    "GetSamplePercent": get_sample_percent,
}
