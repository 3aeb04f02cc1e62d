"""The language of Batch's autoscale formulas, as far as the formulas here use it.

Supported are statements `name = expression;` of doubles, vectors of doubles, timestamps and time intervals; the
operators; the functions `avg`, `len`, `max`, `min`, `sum` and `time()`; and the methods `GetSample` and
`GetSamplePercent` of the variables in `METRICS`. Anything else is an error that names the line.

Source: "Create an automatic formula for scaling compute nodes in a Batch pool",
https://learn.microsoft.com/azure/batch/batch-automatic-scaling. What the page leaves open is marked as assumed.
"""

import bisect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# What the service takes at most.
MAX_CHARACTERS = 8192
MAX_STATEMENTS = 100
# Seconds from one sample of a metric to the next.
SAMPLE_PERIOD = 30.0
# The percentage of samples that `GetSample(interval)` wants when it is given none. The page does not say it; the
# service's message does ("wanted 70%, received 0%", Azure/batch-shipyard issue 138).
DEFAULT_PERCENT = 70.0

METRICS = frozenset({"$ActiveTasks", "$RunningTasks", "$PendingTasks"})
NUMBERS = frozenset({"$TaskSlotsPerNode", "$CurrentDedicatedNodes", "$CurrentLowPriorityNodes"})
DEDICATED, SPOT, DEALLOCATION = "$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"
DEALLOCATIONS = frozenset({"requeue", "terminate", "taskcompletion", "retaineddata"})
MEMBERS = frozenset({"year", "month", "day", "weekday", "hour", "minute", "second"})
INTERVALS = {
    "TimeInterval_Zero": 0.0,
    "TimeInterval_Second": 1.0,
    "TimeInterval_Minute": 60.0,
    "TimeInterval_Hour": 3600.0,
    "TimeInterval_Day": 86400.0,
    "TimeInterval_Week": 604800.0,
}
AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "avg": lambda values: sum(values) / len(values), "len": len, "max": max, "min": min, "sum": sum,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt, "!=": operator.ne,
}  # fmt: skip
# Binary operators, the loosest first, as in C. The page has no table of precedence (assumed).
PRECEDENCE = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))
TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/)|(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<name>\$?[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||[<>=!]=|[-+*/<>!?:;,().=])",
    re.DOTALL | re.ASCII,
)


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


@dataclass(frozen=True)
class Situation:
    """What the service knows about a pool when it evaluates the pool's formula.

    Attributes:
        now: seconds since 1970, UTC.
        metrics: the samples of each of `METRICS`; a missing one has none.
        numbers: the values of each of `NUMBERS`.
        dedicated: the pool's target of dedicated nodes.
        spot: the pool's target of Spot nodes.
    """

    now: float
    metrics: Mapping[str, Samples]
    numbers: Mapping[str, float]
    dedicated: int = 0
    spot: int = 0


@dataclass(frozen=True)
class Decision:
    """What a formula asks for.

    Attributes:
        dedicated: the target of dedicated nodes; None leaves it as it is.
        spot: the target of Spot nodes; None leaves it as it is.
        deallocation: what becomes of the tasks on a node that leaves; the service's default is `requeue`.
    """

    dedicated: int | None
    spot: int | None
    deallocation: str


type Value = float | list[float] | Timestamp | Interval | Samples | str
type Expression = Callable[["_Evaluation"], Value]


class Formula:
    """A formula, ready to be evaluated.

    Raises:
        FormulaError: The text is not a formula, is too long, or uses what is not supported.
    """

    def __init__(self, text: str) -> None:
        self._statements = _Parser(text).statements()

    def evaluate(self, situation: Situation) -> Decision:
        """Return what the formula asks for. Targets are cut to whole numbers.

        Raises:
            FormulaError: The evaluation fails, for instance for want of samples.
        """
        evaluation = _Evaluation(situation)
        for target, expression, line in self._statements:
            value = expression(evaluation)
            if target in {DEDICATED, SPOT} and not (isinstance(value, float) and value > -1):
                raise FormulaError(line, f"{target} is not a number of nodes")
            if target == DEALLOCATION and value not in DEALLOCATIONS:
                raise FormulaError(line, f"{target} is one of {', '.join(sorted(DEALLOCATIONS))}")
            evaluation.variables[target] = value
        dedicated, spot = (evaluation.variables.get(name) for name in (DEDICATED, SPOT))
        return Decision(
            int(dedicated) if isinstance(dedicated, float) else None,
            int(spot) if isinstance(spot, float) else None,
            str(evaluation.variables.get(DEALLOCATION, "requeue")),
        )


class _Evaluation:
    """The state of one evaluation: what the service knows, and the variables assigned so far."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.variables: dict[str, Value] = {}

    def read(self, name: str) -> Value:
        """Return a variable's value: what was assigned, else what the service knows."""
        if name in self.variables:
            return self.variables[name]
        if name in METRICS:
            return self.situation.metrics.get(name) or Samples()
        if name == DEDICATED:
            return float(self.situation.dedicated)
        if name == SPOT:
            return float(self.situation.spot)
        return float(self.situation.numbers[name])


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> list[_Token]:
    tokens, position, line = [], 0, 1
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None:
            raise FormulaError(line, f"{text[position]!r} is not part of the language")
        if found.lastgroup != "skip":
            tokens.append(_Token(str(found.lastgroup), found.group(), line))
        line += found.group().count("\n")
        position = found.end()
    return [*tokens, _Token("end", "the end", line)]


class _Parser:
    """Turns a formula's text into statements whose expressions are functions of an evaluation."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise FormulaError(text.count("\n") + 1, f"the formula is longer than {MAX_CHARACTERS} characters")
        self._tokens = _tokens(text)
        self._position = 0
        self._known = {*METRICS, *NUMBERS, DEDICATED, SPOT}

    def statements(self) -> list[tuple[str, Expression, int]]:
        """Return each statement's target, expression and line."""
        found = []
        while self._next.kind != "end":
            name = self._take("name")
            if name.text in METRICS | NUMBERS:
                raise FormulaError(name.line, f"{name.text} can only be read")
            self._take("sign", "=")
            found.append((name.text, self._expression(), name.line))
            self._known.add(name.text)
            if self._next.kind != "end":
                self._take("sign", ";")
            if len(found) > MAX_STATEMENTS:
                raise FormulaError(name.line, f"the formula has more than {MAX_STATEMENTS} statements")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def _take(self, kind: str, *texts: str) -> _Token:
        token = self._next
        if token.kind != kind or (texts and token.text not in texts):
            raise FormulaError(token.line, f"expected {' or '.join(texts) or 'a ' + kind}, found {token.text}")
        self._position += 1
        return token

    def _follows(self, *texts: str) -> bool:
        return self._next.kind == "sign" and self._next.text in texts

    def _expression(self) -> Expression:
        condition = self._binary(0)
        if not self._follows("?"):
            return condition
        line = self._take("sign", "?").line
        yes = self._expression()
        self._take("sign", ":")
        no = self._expression()
        # Only the branch that is chosen is evaluated: formulas guard `GetSample` in this way.
        return lambda evaluation: yes(evaluation) if _true(condition(evaluation), line) else no(evaluation)

    def _binary(self, level: int) -> Expression:
        if level == len(PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while self._follows(*PRECEDENCE[level]):
            sign = self._take("sign")
            left = _operation(sign.text, left, self._binary(level + 1), sign.line)
        return left

    def _unary(self) -> Expression:
        if not self._follows("-", "!"):
            return self._member()
        sign = self._take("sign")
        operand = self._unary()
        if sign.text == "!":
            return lambda evaluation: float(not _true(operand(evaluation), sign.line))

        def negative(evaluation: _Evaluation) -> Value:
            value = operand(evaluation)
            return Interval(-value.seconds) if isinstance(value, Interval) else -_double(value, sign.line)

        return negative

    def _member(self) -> Expression:
        value = self._primary()
        while self._follows("."):
            self._take("sign", ".")
            name = self._take("name")
            if self._follows("("):
                value = _method(name, value, self._arguments())
            elif name.text in MEMBERS:
                value = _timestamp_member(name, value)
            else:
                raise FormulaError(name.line, f"{name.text} is not a member of a timestamp")
        return value

    def _arguments(self) -> list[Expression]:
        self._take("sign", "(")
        found: list[Expression] = []
        while not self._follows(")"):
            found.append(self._expression())
            if not self._follows(")"):
                self._take("sign", ",")
        self._take("sign", ")")
        return found

    def _primary(self) -> Expression:
        token = self._next
        if token.kind == "number":
            self._position += 1
            number = float(token.text)
            return lambda _: number
        if self._follows("("):
            self._position += 1
            inner = self._expression()
            self._take("sign", ")")
            return inner
        name = self._take("name")
        if self._follows("("):
            return _function(name, self._arguments())
        if name.text in self._known:
            return lambda evaluation: evaluation.read(name.text)
        if name.text in INTERVALS:
            interval = Interval(INTERVALS[name.text])
            return lambda _: interval
        if name.text in DEALLOCATIONS:
            return lambda _: name.text
        raise FormulaError(name.line, f"{name.text} is not known here")


def _double(value: Value, line: int) -> float:
    if not isinstance(value, float):
        raise FormulaError(line, f"a double is needed, not {_kind(value)}")
    return value


def _kind(value: Value) -> str:
    kinds = {
        float: "a double",
        list: "a doubleVec",
        Timestamp: "a timestamp",
        Interval: "a timeinterval",
        Samples: "a metric's samples",
    }
    return kinds.get(type(value), "a string")


def _true(value: Value, line: int) -> bool:
    """Return whether a condition holds: a double that is not zero does."""
    return _double(value, line) != 0


def _operation(sign: str, left: Expression, right: Expression, line: int) -> Expression:
    if sign == "&&":
        return lambda evaluation: float(_true(left(evaluation), line) and _true(right(evaluation), line))
    if sign == "||":
        return lambda evaluation: float(_true(left(evaluation), line) or _true(right(evaluation), line))
    on_doubles = ARITHMETIC.get(sign) or COMPARISONS[sign]

    def operate(evaluation: _Evaluation) -> Value:
        a, b = left(evaluation), right(evaluation)
        if not (isinstance(a, float) and isinstance(b, float)):
            return _on_times(sign, a, b, line)
        try:
            return float(on_doubles(a, b))
        except ZeroDivisionError:
            raise FormulaError(line, "division by zero") from None

    return operate


def _on_times(sign: str, a: Value, b: Value, line: int) -> Value:
    """Return the result of an operator on timestamps and intervals, as far as it is documented."""
    if type(a) is type(b) and isinstance(a, Timestamp | Interval) and sign in COMPARISONS:
        return float(COMPARISONS[sign](a, b))
    operation = ON_TIMES.get((sign, type(a), type(b)))
    if operation is None or (sign == "/" and b == 0):
        raise FormulaError(line, f"{sign} is not defined for {_kind(a)} and {_kind(b)}, or not for this value")
    return operation(a, b)


def _function(name: _Token, arguments: list[Expression]) -> Expression:
    if name.text == "time" and not arguments:
        return lambda evaluation: Timestamp(evaluation.situation.now)
    if name.text not in AGGREGATES:
        raise FormulaError(name.line, f"the function {name.text} is not known here with these arguments")
    aggregate = AGGREGATES[name.text]

    def call(evaluation: _Evaluation) -> Value:
        values: list[float] = []
        for argument in arguments:
            value = argument(evaluation)
            if isinstance(value, list):
                values += value
            else:
                values.append(_double(value, name.line))
        if not values and name.text not in {"len", "sum"}:
            raise FormulaError(name.line, f"{name.text} of no values")
        return float(aggregate(values))

    return call


def _timestamp_member(name: _Token, value: Expression) -> Expression:
    def read(evaluation: _Evaluation) -> Value:
        time = value(evaluation)
        if not isinstance(time, Timestamp):
            raise FormulaError(name.line, f"{name.text} is a member of timestamps, not of {_kind(time)}")
        date = datetime.fromtimestamp(time.epoch, UTC)
        # Monday is 1. That Sunday is 0, as in .NET, is assumed.
        return float(date.isoweekday() % 7 if name.text == "weekday" else getattr(date, name.text))

    return read


def _method(name: _Token, variable: Expression, arguments: list[Expression]) -> Expression:
    methods = {"GetSample": _get_sample, "GetSamplePercent": _get_sample_percent}
    if name.text not in methods or not arguments:
        raise FormulaError(name.line, f"the method {name.text} is not known here with these arguments")
    method = methods[name.text]

    def call(evaluation: _Evaluation) -> Value:
        samples = variable(evaluation)
        if not isinstance(samples, Samples):
            raise FormulaError(name.line, f"{name.text} is a method of a metric")
        values = [argument(evaluation) for argument in arguments]
        return method(samples, values, evaluation.situation.now, name.line)

    return call


def _get_sample(samples: Samples, arguments: list[Value], now: float, line: int) -> Value:
    """Return the last `count` samples, or those of a time frame if enough of them are there.

    Raises:
        FormulaError: Samples are missing. That `GetSample(count)` without any sample fails, too, is assumed.
    """
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


def _get_sample_percent(samples: Samples, arguments: list[Value], now: float, line: int) -> Value:
    """Return which share of the samples that a time frame should have are there, in percent."""
    return _percent(samples, *_frame(arguments, now, line))


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
