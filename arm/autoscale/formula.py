"""The language of Batch's autoscale formulas, as far as the formulas here use it.

Supported are statements `name = expression;` of doubles, vectors of doubles, timestamps and time intervals; the
operators; the functions `avg`, `len`, `max`, `min`, `sum` and `time()`; and the methods `GetSample` and
`GetSamplePercent` of the variables in `METRICS`. Anything else is an error that names the line.

Source: "Create an automatic formula for scaling compute nodes in a Batch pool",
https://learn.microsoft.com/azure/batch/batch-automatic-scaling. What the page leaves open is marked as assumed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arm.autoscale.values import (
    AGGREGATES,
    MEMBERS,
    METHODS,
    FormulaError,
    Interval,
    Samples,
    Timestamp,
    Value,
    aggregate,
    double,
    is_true,
    member,
    negative,
    operate,
)

# What the service takes at most.
MAX_CHARACTERS = 8192
MAX_STATEMENTS = 100
METRICS = frozenset({"$ActiveTasks", "$RunningTasks", "$PendingTasks"})
NUMBERS = frozenset({"$TaskSlotsPerNode", "$CurrentDedicatedNodes", "$CurrentLowPriorityNodes"})
DEDICATED, SPOT, DEALLOCATION = "$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"
DEALLOCATIONS = frozenset({"requeue", "terminate", "taskcompletion", "retaineddata"})
INTERVALS = {
    "TimeInterval_Zero": 0.0,
    "TimeInterval_Second": 1.0,
    "TimeInterval_Minute": 60.0,
    "TimeInterval_Hour": 3600.0,
    "TimeInterval_Day": 86400.0,
    "TimeInterval_Week": 604800.0,
}
# Binary operators, the loosest first, as in C. The page has no table of precedence (assumed).
PRECEDENCE = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))
TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/)|(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<name>\$?[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||[<>=!]=|[-+*/<>!?:;,().=])",
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True)
class Situation:
    """What the service knows about a pool when it evaluates the pool's formula.

    Attributes:
        now: seconds since 1970, UTC.
        metrics: the samples of each of `METRICS`; one that is missing has none.
        slots: the pool's `taskSlotsPerNode`.
        dedicated: how many dedicated nodes there are.
        spot: how many Spot nodes there are.
        target_dedicated: how many dedicated nodes there shall be so far.
        target_spot: how many Spot nodes there shall be so far.
    """

    now: float
    metrics: Mapping[str, Samples]
    slots: int = 1
    dedicated: int = 0
    spot: int = 0
    target_dedicated: int = 0
    target_spot: int = 0


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
        dedicated = spot = None
        deallocation = "requeue"
        for target, expression, line in self._statements:
            value = evaluation.variables[target] = expression(evaluation)
            if target == DEDICATED:
                dedicated = _nodes(value, line)
            elif target == SPOT:
                spot = _nodes(value, line)
            elif target == DEALLOCATION:
                if not isinstance(value, str):
                    raise FormulaError(line, f"{target} is one of {', '.join(sorted(DEALLOCATIONS))}")
                deallocation = value
        return Decision(dedicated, spot, deallocation)


class _Evaluation:
    """The state of one evaluation: the time, and every variable's value."""

    def __init__(self, situation: Situation) -> None:
        self.now = situation.now
        self.variables: dict[str, Value] = {name: situation.metrics.get(name) or Samples() for name in METRICS}
        self.variables |= {
            "$TaskSlotsPerNode": float(situation.slots),
            "$CurrentDedicatedNodes": float(situation.dedicated),
            "$CurrentLowPriorityNodes": float(situation.spot),
            DEDICATED: float(situation.target_dedicated),
            SPOT: float(situation.target_spot),
        }


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
        return lambda evaluation: yes(evaluation) if is_true(condition(evaluation), line) else no(evaluation)

    def _binary(self, level: int) -> Expression:
        if level == len(PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while self._follows(*PRECEDENCE[level]):
            sign = self._take("sign")
            left = _operation(sign, left, self._binary(level + 1))
        return left

    def _unary(self) -> Expression:
        if not self._follows("-", "!"):
            return self._member()
        sign = self._take("sign")
        operand = self._unary()
        if sign.text == "!":
            return lambda evaluation: float(not is_true(operand(evaluation), sign.line))
        return lambda evaluation: negative(operand(evaluation), sign.line)

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
        if not self._follows(")"):
            found.append(self._expression())
            while self._follows(","):
                self._take("sign", ",")
                found.append(self._expression())
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
            return lambda evaluation: evaluation.variables[name.text]
        if name.text in INTERVALS:
            interval = Interval(INTERVALS[name.text])
            return lambda _: interval
        if name.text in DEALLOCATIONS:
            return lambda _: name.text
        raise FormulaError(name.line, f"{name.text} is not known here")


def _nodes(value: Value, line: int) -> int:
    """Return a target, cut to a whole number. That a negative one fails the evaluation is assumed."""
    number = double(value, line)
    if number <= -1:
        raise FormulaError(line, f"{number:g} is not a number of nodes")
    return int(number)


def _operation(sign: _Token, left: Expression, right: Expression) -> Expression:
    text, line = sign.text, sign.line
    if text == "&&":
        return lambda evaluation: float(is_true(left(evaluation), line) and is_true(right(evaluation), line))
    if text == "||":
        return lambda evaluation: float(is_true(left(evaluation), line) or is_true(right(evaluation), line))
    return lambda evaluation: operate(text, left(evaluation), right(evaluation), line)


def _function(name: _Token, arguments: list[Expression]) -> Expression:
    if name.text == "time" and not arguments:
        return lambda evaluation: Timestamp(evaluation.now)
    if name.text not in AGGREGATES:
        raise FormulaError(name.line, f"the function {name.text} is not known here with these arguments")
    return lambda evaluation: aggregate(name.text, [argument(evaluation) for argument in arguments], name.line)


def _timestamp_member(name: _Token, value: Expression) -> Expression:
    return lambda evaluation: member(name.text, value(evaluation), name.line)


def _method(name: _Token, metric: Expression, arguments: list[Expression]) -> Expression:
    if name.text not in METHODS or not arguments:
        raise FormulaError(name.line, f"the method {name.text} is not known here with these arguments")
    method = METHODS[name.text]
    return lambda evaluation: method(
        metric(evaluation), [argument(evaluation) for argument in arguments], evaluation.now, name.line
    )
