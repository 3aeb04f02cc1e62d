"""What expressions can come to: GitHub's operators and functions, and what stays unknown."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.workflow_lint.document import read
from orchestrator.cli.workflow_lint.expression import (
    UNKNOWN,
    ExpressionMalformed,
    OneOf,
    Partial,
    as_text,
    condition,
    equal,
    evaluate,
    interpolated,
    is_known,
    possible,
    truth,
)

CONTEXTS: Mapping[str, Any] = {
    "matrix": {"os": "gpu", "Empty": "", "list": ["a", "b"], "deep": {"x": [1, {"y": "z"}]}, "odd": UNKNOWN},
    "inputs": {"size": OneOf(("big", "small")), "flag": OneOf((True, False))},
    "github": Partial({"repository": "acme/app"}),
    "test": {"one": ["a", UNKNOWN]},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", [None]),
        ("true", [True]),
        ("FALSE", [False]),
        ("'it''s'", ["it's"]),
        ("12", [12]),
        ("-1.5", [-1.5]),
        ("0xff", [255]),
        ("0o10", [8]),
        ("1e2", [100]),
        ("Infinity", [math.inf]),
        (" ( 'a' ) ", ["a"]),
        ("matrix.os", ["gpu"]),
        ("MATRIX['OS']", ["gpu"]),
        ("matrix.empty", [""]),
        ("matrix.nothing", [None]),
        ("matrix.nothing.more", [None]),
        ("matrix.list[1]", ["b"]),
        ("matrix.list[2]", [None]),
        ("matrix.list['x']", [None]),
        ("matrix.list[matrix.list]", [None]),
        ("matrix.deep.x[1].y", ["z"]),
        ("github.repository", ["acme/app"]),
        ("github.actor", [UNKNOWN]),
        ("vars.ANY", [UNKNOWN]),
        ("matrix[vars.ANY]", [UNKNOWN]),
        ("matrix.odd.more", [UNKNOWN]),
        ("github.event.labels.*.name", [UNKNOWN]),
        ("github.event.labels[*].name", [UNKNOWN]),
        ("inputs.size", ["big", "small"]),
        # Negation, comparisons
        ("!''", [True]),
        ("!!'a'", [True]),
        ("!!!'a'", [False]),
        ("!vars.X", [True, False]),
        ("'A' == 'a'", [True]),
        ("'a' != 'b'", [True]),
        ("1 == '1'", [True]),
        ("true == 1", [True]),
        ("null == 0", [True]),
        ("'' == 0", [True]),
        ("' 0x10 ' == 16", [True]),
        ("'x' == 0", [False]),
        ("'0xz' == 0", [False]),
        ("NaN == NaN", [False]),
        ("matrix.list == matrix.list", [True]),
        ("matrix.list == 'a'", [False]),
        ("matrix.list < 1", [False]),
        ("1 < 2", [True]),
        ("'b' > 'A'", [True]),
        ("2 <= 1", [False]),
        ("1 >= 1", [True]),
        ("vars.X == 'a'", [True, False]),
        ("inputs.size == 'big'", [True, False]),
        # And, or
        ("'a' && 'b'", ["b"]),
        ("'' && 'b'", [""]),
        ("'a' || 'b'", ["a"]),
        ("null || 'b'", ["b"]),
        ("true || false && false", [True]),
        ("(true || false) && false", [False]),
        ("vars.X || 'b'", [UNKNOWN, "b"]),
        ("vars.X && 'a' || 'b'", ["b", "a"]),
        ("github.actor == 'x' && 'a' || 'b'", ["a", "b"]),
        ("inputs.flag && 'a' || 'b'", ["a", "b"]),
        ("vars.X && 'a'", ["", "a"]),
        ("0 || NaN || matrix.list", [["a", "b"]]),
        # Functions
        ("contains('Hello', 'ELL')", [True]),
        ("contains(matrix.list, 'A')", [True]),
        ("contains(fromJSON('[1, 2]'), 3)", [False]),
        ("contains(matrix.list, vars.X)", [True, False]),
        ("startsWith('Hello', 'he')", [True]),
        ("endsWith('Hello', 'x')", [False]),
        ("format('{0}-{1}{{}}', 'a', 2)", ["a-2{}"]),
        ("join(matrix.list)", ["a,b"]),
        ("join(matrix.list, '-')", ["a-b"]),
        ("join('x')", ["x"]),
        ("fromJSON('[\"a\", \"b\"]')", [["a", "b"]]),
        ("fromJSON('[\"a\", \"b\"]')[0]", ["a"]),
        ("fromJSON(vars.X)", [UNKNOWN]),
        ("toJSON(fromJSON('[1]'))", ["[\n  1\n]"]),
        ("toJSON(inputs)", [UNKNOWN]),
        ("toJSON(github)", [UNKNOWN]),
        ("toJSON(test.one)", [UNKNOWN]),
        ("always()", [True]),
        ("failure()", [True, False]),
        ("hashFiles('x')", [UNKNOWN]),
        ("case(true, 'a', 'b')", ["a"]),
        ("case(false, 'a', false, 'b', 'c')", ["c"]),
        ("case(vars.X, 'a', true, 'b', 'c')", ["a", "b"]),
        ("case(vars.X, 'a', 'b')", ["a", "b"]),
        ("case(true, 'a')", [UNKNOWN]),
        # What is never evaluated fails nothing.
        ("false && fromJSON('') || 'b'", ["b"]),
        ("fromJSON(inputs.size) || 'b'", [UNKNOWN, "b"]),
    ],
)  # fmt: skip
def test_values(text: str, expected: list[object]) -> None:
    """An expression has each value that it may have, once."""
    found = ["UNKNOWN" if repr(value).startswith("UNKNOWN") else value for value in evaluate(text, CONTEXTS)]
    assert found == ["UNKNOWN" if value is UNKNOWN else value for value in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends too early"),
        ("a ==", "ends too early"),
        ("'a' 'b'", "'b' is not expected"),
        ('"a"', '" is not expected'),
        ("a.", "ends too early"),
        ("a.1", ".1 is not expected"),
        ("a.'b'", "a name is missing after a dot"),
        ("a[1", "] is missing"),
        ("a[*", "] is missing"),
        ("(a", ") is missing"),
        ("f(a", ") is missing"),
        ("f(a b)", ") is missing"),
        (")", ") is not expected"),
        ("(" * 60 + "a" + ")" * 60, "nested too deeply"),
        ("a " * 11_000, "longer than 21,000 characters"),
        ("fromJSON('[a]')", "fromJSON cannot be evaluated with what it is given"),
        ("fromJSON('" + "[" * 15_000 + "')", "fromJSON cannot be evaluated"),
        ("format('{3}', 1)", "format cannot be evaluated"),
        ("contains('a')", "contains cannot be evaluated"),
    ],
)
def test_what_github_refuses(text: str, message: str) -> None:
    """What cannot be read, or comes to nothing but a failure, is refused with the reason."""
    with pytest.raises(ExpressionMalformed) as caught:
        evaluate(text, CONTEXTS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ["plain"]),
        ("", [""]),
        ("${{ matrix.list }}", [["a", "b"]]),
        ("${{ matrix.os }}-large", ["gpu-large"]),
        ("x-${{ matrix.os }}-${{ 1 }}", ["x-gpu-1"]),
        ("${{ '}}' }}", ["}}"]),
        ("${{ vars.X }}-large", [UNKNOWN]),
        ("${{ inputs.size }}-${{ inputs.flag }}", ["big-true", "big-false", "small-true", "small-false"]),
    ],
)
def test_texts(text: str, expected: list[object]) -> None:
    """An expression alone keeps its type; among other text it becomes text."""
    assert list(interpolated(text, CONTEXTS)) == expected


@pytest.mark.parametrize("text", ["${{ a", "${{ 'a }}", "${{ it's }}"])
def test_an_expression_without_an_end(text: str) -> None:
    """What is opened must be closed."""
    with pytest.raises(ExpressionMalformed, match="has no end"):
        interpolated(text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("github.repository == 'acme/other'", False),
        ("${{ github.repository == 'ACME/app' }}", True),
        ("always() && vars.X", None),
        ("failure()", None),
        ("${{ false }} ", True),  # a text, and no longer a value
    ],
)
def test_conditions(text: str, expected: bool | None) -> None:
    """A condition holds, does not, or depends on what is not known."""
    assert condition(text, CONTEXTS) is expected


def test_elements() -> None:
    """Lists and mappings have a value for each way in which their parts can be."""
    element = read("a: [1, '${{ inputs.size }}']\nb: ~\n")
    assert element is not None
    assert list(possible(element, CONTEXTS)) == [{"a": [1, "big"], "b": None}, {"a": [1, "small"], "b": None}]
    spread = read("'${{ insert }}': '${{ vars.X }}'\na: 1\n")
    assert spread is not None
    (found,) = possible(spread, CONTEXTS)
    assert (found, type(found)) == ({"a": 1}, Partial)


def test_too_many_values() -> None:
    """Of what may be very many things nothing is said."""
    contexts = {"x": {"y": OneOf(range(30)), "z": OneOf(range(100))}}
    assert list(interpolated("${{ x.y }}${{ x.y }}", contexts)) == [UNKNOWN]
    assert list(evaluate("x.z", contexts)) == [UNKNOWN]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (3.10, "3.1"),
        (3.0, "3"),
        (12, "12"),
        (math.inf, "inf"),
        ([], "Array"),
        ({}, "Object"),
    ],
)
def test_as_text(value: object, text: str) -> None:
    """Numbers lose what GitHub's lose; lists and objects have no text of their own."""
    assert as_text(value) == text


KNOWN = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "A", "0", "1"])


@given(KNOWN, KNOWN, KNOWN)
def test_unknown_covers_what_is_known(one: object, two: object, three: object) -> None:
    """Whatever a variable turns out to be, the expression's value is among those that were foreseen, or unforeseen."""
    for text in ("v.a && v.b || v.c", "v.a || v.b && v.c", "v.a == v.b && 'x' || v.c", "!v.a && v.b || 'y'"):
        (real,) = evaluate(text, {"v": {"a": one, "b": two, "c": three}})
        foreseen = evaluate(text, {"v": {"a": UNKNOWN, "b": two, "c": three}})
        falsy = truth(real) is False  # an unknown value that is false is taken for an empty text
        assert any(value is UNKNOWN or repr(value) == repr(real) or (falsy and not truth(value)) for value in foreseen)


@given(KNOWN, KNOWN)
def test_equality(one: object, two: object) -> None:
    """Equality is symmetric, and unknown with anything unknown."""
    assert equal(one, two) is equal(two, one)
    assert equal(one, UNKNOWN) is equal(UNKNOWN, two) is None
    assert is_known(one)


@given(st.text(alphabet="abv.()[]!&|=<>,'\"*{}$ 01-", max_size=40))
def test_anything(text: str) -> None:
    """Whatever stands in an expression, it has values or is refused."""
    for evaluated in (interpolated, evaluate):
        problem, values = None, list[object]()
        try:
            values = list(evaluated(text, CONTEXTS))
        except ExpressionMalformed as error:
            problem = str(error)
        assert bool(values) is (problem is None)
