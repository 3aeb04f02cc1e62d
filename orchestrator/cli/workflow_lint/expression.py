"""What an expression of a workflow can come to (pure).

Much of what an expression asks for is known only when the workflow runs: variables, inputs, the event. So an expression
has not one value here but all that it may have. What nothing is known of is `UNKNOWN`, and stays that. An unknown
condition leaves both branches: `${{ vars.BIG && 'large' || 'small' }}` may be either.

Source: GitHub docs, "Evaluate expressions in workflows and actions".
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.cli.workflow_lint.document import Element, List, Value

# Values of one expression that are told apart. With more of them nothing is said.
MOST_VALUES = 64
# GitHub's own limits (actions/runner, `ExpressionConstants.cs`).
MOST_CHARACTERS = 21_000
MOST_LEVELS = 50


class Unknown:
    """What cannot be known before the workflow runs.

    Attributes:
        failure: why GitHub could not evaluate it, if so.
    """

    def __init__(self, failure: str = "") -> None:
        self.failure = failure

    def __repr__(self) -> str:
        return f"UNKNOWN({self.failure})"


UNKNOWN: Final = Unknown()
# What JSON has, and `UNKNOWN`; lists and dictionaries may hold it, too.
type Data = Any
type Contexts = Mapping[str, Data]


class OneOf(tuple[Data, ...]):
    """A property of a context that may have several values."""

    __slots__ = ()


class Partial(dict[str, Data]):
    """An object of which only some properties are known."""


class ExpressionMalformed(Exception):
    """GitHub cannot read or evaluate the expression."""


def possible(element: Element, contexts: Contexts) -> Sequence[Data]:
    """Return every value that a part of a workflow may have.

    Args:
        element: the part.
        contexts: what is known, by the context's name. Of any other context nothing is known.

    Raises:
        ExpressionMalformed: GitHub refuses an expression in it.
    """
    if isinstance(element, Value):
        return interpolated(element.value, contexts) if isinstance(element.value, str) else (element.value,)
    if isinstance(element, List):
        return _products([possible(item, contexts) for item in element.items], list)
    spread = [key for key in element.entries if key.startswith("${{")]  # ${{ insert }} adds what another object has
    keys = [key for key in element.entries if key not in spread]
    make: Callable[[Iterable[tuple[str, Data]]], Data] = Partial if spread else dict
    values = [possible(element.entries[key], contexts) for key in keys]
    return _products(values, lambda chosen: make(zip(keys, chosen, strict=True)))


def interpolated(text: str, contexts: Contexts) -> Sequence[Data]:
    """Return every value of a text in which expressions may stand.

    Raises:
        ExpressionMalformed: GitHub refuses an expression in it.
    """
    parts = _parts(text)
    if len(parts) == 1 and parts[0].is_expression:
        return evaluate(parts[0].text, contexts)
    values = [evaluate(part.text, contexts) if part.is_expression else (part.text,) for part in parts]
    return _products(values, lambda chosen: "".join(map(as_text, chosen)) if all(map(is_known, chosen)) else UNKNOWN)


def condition(text: str, contexts: Contexts) -> bool | None:
    """Return whether a condition (`if`) holds; None if it depends.

    Raises:
        ExpressionMalformed: GitHub refuses it.
    """
    values = interpolated(text, contexts) if "${{" in text else evaluate(text, contexts)
    found = {truth(value) for value in values}
    return found.pop() if len(found) == 1 else None


def evaluate(text: str, contexts: Contexts) -> Sequence[Data]:
    """Return every value of one expression, without the `${{ }}` around it.

    Raises:
        ExpressionMalformed: GitHub refuses it.
    """
    values = distinct(_Parser(text, contexts).whole())
    if len(values) == 1 and isinstance(values[0], Unknown) and values[0].failure:
        raise ExpressionMalformed(values[0].failure)
    return values


def distinct(values: Iterable[Data]) -> Sequence[Data]:
    """Return values without repetition; `UNKNOWN` alone for too many."""
    found: dict[str, Data] = {}
    for value in values:
        for each in value if isinstance(value, OneOf) else (value,):
            found.setdefault(repr(each), each)
            if len(found) > MOST_VALUES:
                return (UNKNOWN,)
    return tuple(found.values())


def truth(value: Data) -> bool | None:
    """Return whether a value counts as true; None if that is unknown."""
    if isinstance(value, Unknown):
        return None
    if isinstance(value, float) and math.isnan(value):
        return False
    return isinstance(value, (list, dict)) or bool(value)


def as_text(value: Data) -> str:
    """Return a known value as a text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if math.isfinite(value):
            return f"{value:.15g}"
        case list() | dict():
            return "Array" if isinstance(value, list) else "Object"
    return str(value)


def equal(left: Data, right: Data) -> bool | None:
    """Return whether two values are equal, as loosely as GitHub takes it; None if that is unknown."""
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return None
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if isinstance(left, (list, dict)) or isinstance(right, (list, dict)):
        return left is right
    return _number(left) == _number(right)


def is_known(value: Data) -> bool:
    """Whether nothing in a value is unknown."""
    if isinstance(value, list):
        return all(map(is_known, value))
    if isinstance(value, dict):
        return not isinstance(value, Partial) and all(map(is_known, value.values()))
    return not isinstance(value, (Unknown, OneOf))


@dataclass(frozen=True)
class _Part:
    text: str
    is_expression: bool


_STRING = r"'(?:[^']|'')*'"
_EXPRESSION = re.compile(rf"\$\{{\{{((?:{_STRING}|(?!\}}\}})[^'])*+)(\}}\}})?")


def _parts(text: str) -> list[_Part]:
    """Take a text apart into expressions and what stands between them."""
    parts, end = list[_Part](), 0
    for found in _EXPRESSION.finditer(text):
        if not found[2]:
            raise ExpressionMalformed("an expression has no end: }} or a quotation mark is missing")
        if found.start() > end:
            parts.append(_Part(text[end : found.start()], is_expression=False))
        parts.append(_Part(found[1], is_expression=True))
        end = found.end()
    if end < len(text) or not parts:
        parts.append(_Part(text[end:], is_expression=False))
    return parts


def _products(choices: Sequence[Sequence[Data]], make: Callable[[list[Data]], Data]) -> Sequence[Data]:
    """Combine the possible values of several parts in every way."""
    if math.prod(map(len, choices)) > MOST_VALUES:
        return (UNKNOWN,)
    return distinct(make(list(chosen)) for chosen in itertools.product(*choices))


def _number(value: Data) -> float:
    """Return what a value is where GitHub needs a number."""
    if value is None:
        return 0.0
    if not isinstance(value, str):
        return float(value)
    text = value.strip()
    try:
        return float(int(text, 0)) if text[:2].lower() in ("0x", "0o") else float(text or "0")
    except (ValueError, OverflowError):
        return math.nan


_TOKEN = re.compile(
    rf"(?P<string>{_STRING})"
    r"|(?P<number>[+-]?(?:0[xX][0-9A-Fa-f]+|0o[0-7]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<operator>&&|\|\||==|!=|<=|>=|[<>!().,*\[\]])"
)
_WORDS: Mapping[str, Data] = {
    "null": None, "true": True, "false": False, "nan": math.nan, "infinity": math.inf,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Data, Data], bool]] = {
    "==": lambda left, right: bool(equal(left, right)),
    "!=": lambda left, right: not equal(left, right),
    "<": lambda left, right: _ordered(left, right, lambda a, b: a < b),
    "<=": lambda left, right: _ordered(left, right, lambda a, b: a <= b),
    ">": lambda left, right: _ordered(left, right, lambda a, b: a > b),
    ">=": lambda left, right: _ordered(left, right, lambda a, b: a >= b),
}


def _ordered(left: Data, right: Data, holds: Callable[[Any, Any], bool]) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return holds(left.lower(), right.lower())
    if isinstance(left, (list, dict)) or isinstance(right, (list, dict)):
        return False
    return holds(_number(left), _number(right))


class _Parser:
    """Evaluates an expression while it reads it: from `||`, which binds least, down to a value."""

    def __init__(self, text: str, contexts: Contexts) -> None:
        if len(text) > MOST_CHARACTERS:
            raise ExpressionMalformed("an expression is longer than 21,000 characters")
        self._tokens = _tokens(text)
        self._at = 0
        self._level = 0
        self._contexts = contexts

    def whole(self) -> Sequence[Data]:
        found = self._either()
        if self._at < len(self._tokens):
            raise ExpressionMalformed(f"{self._tokens[self._at][1]} is not expected in an expression")
        return found

    def _peek(self, *words: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][1] in words:
            return self._tokens[self._at][1]
        return None

    def _take(self, *words: str) -> str | None:
        found = self._peek(*words)
        self._at += found is not None
        return found

    def _expect(self, word: str) -> None:
        if self._take(word) is None:
            raise ExpressionMalformed(f"{word} is missing in an expression")

    def _either(self) -> Sequence[Data]:
        self._level += 1
        if self._level > MOST_LEVELS:
            raise ExpressionMalformed("an expression is nested too deeply")
        left = self._both()
        while self._take("||"):
            right = self._both()
            left = distinct(each for value in left for each in _first_true(value, right))
        self._level -= 1
        return left

    def _both(self) -> Sequence[Data]:
        left = self._compared()
        while self._take("&&"):
            right = self._compared()
            left = distinct(each for value in left for each in _first_false(value, right))
        return left

    def _compared(self) -> Sequence[Data]:
        left = self._negated()
        while operator := self._take(*_COMPARISONS):
            right, holds = self._negated(), _COMPARISONS[operator]
            left = distinct(
                holds(a, b) if is_known(a) and is_known(b) else OneOf((True, False)) for a in left for b in right
            )
        return left

    def _negated(self) -> Sequence[Data]:
        times = 0
        while self._take("!"):
            times += 1
        values = self._accessed()
        for _ in range(2 - times % 2 if times else 0):  # twice is what four times are
            values = distinct(OneOf((True, False)) if truth(value) is None else not truth(value) for value in values)
        return values

    def _accessed(self) -> Sequence[Data]:
        values = self._value()
        while mark := self._take(".", "["):
            if self._take("*"):
                values = (UNKNOWN,)  # a filter, over what the event holds
                if mark == "[":
                    self._expect("]")
                continue
            keys: Sequence[Data] = (self._name(),) if mark == "." else self._either()
            if mark == "[":
                self._expect("]")
            values = distinct(_property(value, key) for value in values for key in keys)
        return values

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise ExpressionMalformed("a name is missing after a dot")
        return text

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise ExpressionMalformed("an expression ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _value(self) -> Sequence[Data]:
        kind, text = self._next()
        if kind == "string":
            return (text[1:-1].replace("''", "'"),)
        if kind == "number":
            number = _number(text)
            return (int(number) if number.is_integer() else number,)
        if kind == "name":
            if self._take("("):
                return _call(text.lower(), self._arguments())
            word = text.lower()
            return (_WORDS[word],) if word in _WORDS else (self._contexts.get(word, UNKNOWN),)
        if text == "(":
            found = self._either()
            self._expect(")")
            return found
        raise ExpressionMalformed(f"{text} is not expected in an expression")

    def _arguments(self) -> list[Sequence[Data]]:
        found: list[Sequence[Data]] = []
        if self._take(")"):
            return found
        while True:
            found.append(self._either())
            if not self._take(","):
                self._expect(")")
                return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = list[tuple[str, str]](), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _TOKEN.match(text, at)
        if token is None:
            raise ExpressionMalformed(f"{text[at]} is not expected in an expression")
        found.append((str(token.lastgroup), token[0]))
        at = token.end()
    return found


def _first_true(left: Data, right: Sequence[Data]) -> Sequence[Data]:
    match truth(left):
        case True:
            return (left,)
        case False:
            return right
        case _:
            return (left, *right)


def _first_false(left: Data, right: Sequence[Data]) -> Sequence[Data]:
    match truth(left):
        case True:
            return right
        case False:
            return (left,)
        case _:
            return ("", *right)  # whatever it is when it is false, it becomes an empty text


def _property(value: Data, key: Data) -> Data:
    if isinstance(value, Unknown) or isinstance(key, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        name = as_text(key).lower()
        missing = UNKNOWN if isinstance(value, Partial) else None
        return next((each for own, each in value.items() if own.lower() == name), missing)
    if isinstance(value, list):
        index = _number(key) if not isinstance(key, (list, dict)) else math.nan
        return value[int(index)] if 0 <= index < len(value) else None
    return None


def _call(name: str, arguments: Sequence[Sequence[Data]]) -> Sequence[Data]:
    """Return what a function may give. One that is not known here may give anything."""
    if name == "case":
        return _case(arguments)
    if name in ("success", "failure", "cancelled"):
        return (True, False)
    function = _FUNCTIONS.get(name)
    if function is None:
        return (UNKNOWN,)
    otherwise: Data = OneOf((True, False)) if name in _TESTS else UNKNOWN

    def result(chosen: list[Data]) -> Data:
        if not all(map(is_known, chosen)):
            return otherwise
        try:
            return function(*chosen)
        except (TypeError, ValueError, LookupError, RecursionError):
            # Only a failure if the expression comes to it: what && and || leave out is never evaluated.
            return Unknown(f"{_SPELLED.get(name, name)} cannot be evaluated with what it is given")

    return _products(arguments, result)


def _case(arguments: Sequence[Sequence[Data]]) -> Sequence[Data]:
    """Return the values of the first condition that holds, or the last argument."""
    found: list[Data] = []
    for conditions, values in itertools.batched(arguments[:-1], 2, strict=False) if len(arguments) % 2 else ():
        outcomes = {truth(value) for value in conditions}
        if outcomes != {False}:
            found.extend(values)
        if outcomes == {True}:
            return distinct(found)
    return distinct([*found, *arguments[-1]]) if len(arguments) % 2 else (UNKNOWN,)


def _contains(where: Data, what: Data) -> bool:
    if isinstance(where, list):
        return any(equal(item, what) for item in where)
    return as_text(what).lower() in as_text(where).lower()


def _format(pattern: Data, *values: Data) -> str:
    def filled(found: re.Match[str]) -> str:
        return found[0][0] if found[0] in ("{{", "}}") else as_text(values[int(found[1])])

    return re.sub(r"\{\{|\}\}|\{([0-9]{1,3})\}", filled, as_text(pattern))


def _join(values: Data, separator: Data = ",") -> str:
    return as_text(separator).join(map(as_text, values)) if isinstance(values, list) else as_text(values)


_TESTS = ("contains", "endswith", "startswith")
_SPELLED = {"fromjson": "fromJSON", "tojson": "toJSON", "endswith": "endsWith", "startswith": "startsWith"}
_FUNCTIONS: Mapping[str, Callable[..., Data]] = {
    "always": lambda: True,
    "contains": _contains,
    "endswith": lambda text, end: as_text(text).lower().endswith(as_text(end).lower()),
    "format": _format,
    "fromjson": lambda text: json.loads(as_text(text)),
    "join": _join,
    "startswith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
    "tojson": lambda value: json.dumps(value, indent=2),
}
