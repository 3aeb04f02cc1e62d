"""The combinations of a matrix, as GitHub makes them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.workflow_lint.expression import UNKNOWN, OneOf, Partial
from orchestrator.cli.workflow_lint.matrix import MatrixMalformed, combinations

OS, SIZE = ["linux", "windows"], [1, 2]
ALL = [("linux", 1), ("linux", 2), ("windows", 1), ("windows", 2)]


@pytest.mark.parametrize(
    ("matrix", "rows"),
    [
        ({"os": OS, "size": SIZE}, ALL),
        ({"os": OS, "size": SIZE, "exclude": [{"os": "windows"}]}, [("linux", 1), ("linux", 2)]),
        ({"os": OS, "size": SIZE, "exclude": [{"os": "Linux", "size": "1"}]}, ALL[1:]),
        ({"os": OS, "size": SIZE, "exclude": [{"os": "linux", "more": 1}]}, ALL),
        ({"os": OS, "size": [1], "exclude": [{}]}, []),
        ({"os": OS, "size": [1], "include": [{"os": "mac", "size": 3}]}, [("linux", 1), ("windows", 1), ("mac", 3)]),
        ({"os": OS, "include": [{"size": 5}]}, [("linux", 5), ("windows", 5)]),
        ({"os": OS, "include": [{"os": "linux", "size": 7}, {"size": 8}]}, [("linux", 8), ("windows", 8)]),
        ({"include": [{"os": "a"}, {"os": "b", "size": 1}]}, [("a", None), ("b", 1)]),
        ({"os": UNKNOWN, "size": [1]}, [(UNKNOWN, 1)]),
    ],
)  # fmt: skip
def test_rows(matrix: dict[str, Any], rows: list[tuple[object, ...]]) -> None:
    """Vectors are combined, `exclude` takes some away, `include` adds to them or makes its own."""
    found = combinations(matrix)
    assert ([(row.get("os"), row.get("size")) for row in found.rows], found.certain) == (rows, True)


def test_objects() -> None:
    """An object of a vector is excluded by a part of it, and a list by the whole."""
    deep = {
        "r": [{"os": "linux", "x": 1}, {"os": "mac", "x": 1}, ["a"]],
        "exclude": [{"r": {"os": "linux"}}, {"r": ["a"]}],
    }
    assert list(combinations(deep).rows) == [{"r": {"os": "mac", "x": 1}}]


def test_what_include_leaves_to_the_original() -> None:
    """An entry that another one added a value for may change it; an original value stays."""
    matrix = {
        "os": OS,
        "include": [{"color": "green"}, {"color": "pink", "os": "linux"}, {"os": "b"}, {"os": "b", "x": 1}],
    }
    assert list(combinations(matrix).rows) == [
        {"os": "linux", "color": "pink"}, {"os": "windows", "color": "green"}, {"os": "b"}, {"os": "b", "x": 1},
    ]  # fmt: skip


def test_what_is_unknown() -> None:
    """Of an unknown matrix nothing is known; an unknown `include` may add anything, an unknown `exclude` take it."""
    assert list(combinations(UNKNOWN).rows) == [UNKNOWN]
    added = combinations({"os": ["a"], "include": UNKNOWN})
    assert (added.rows, type(added.rows[0]), added.certain) == ([{"os": "a"}, UNKNOWN], Partial, True)
    one = combinations({"os": ["a"], "include": [UNKNOWN]})
    assert list(one.rows) == [{"os": "a"}, UNKNOWN]
    for exclude in (UNKNOWN, [UNKNOWN], [{"os": UNKNOWN}], OneOf(([], UNKNOWN))):
        taken = combinations({"os": ["a"], "exclude": exclude})
        assert (taken.rows, taken.certain) == ([{"os": "a"}], False)
    open_ended = combinations(Partial({"os": ["a"]}))
    assert (open_ended.rows, open_ended.certain) == ([{"os": "a"}, UNKNOWN], False)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("x", "the matrix is no mapping"),
        ({}, "the matrix has no values"),
        ({"include": []}, "the matrix has no values"),
        ({"os": []}, "os of the matrix is no list with values"),
        ({"os": "a"}, "os of the matrix is no list with values"),
        ({"os": ["a"], "include": "x"}, "include of the matrix is no list of mappings"),
        ({"os": ["a"], "exclude": ["x"]}, "exclude of the matrix is no list of mappings"),
        ({"a": list(range(17)), "b": list(range(16))}, "more than 256 jobs"),
        ({name: list(range(100)) for name in "abcdef"}, "more than 256 jobs"),
    ],
)
def test_what_github_refuses(matrix: object, message: str) -> None:
    """A matrix that makes no jobs, or too many, is refused without making them."""
    with pytest.raises(MatrixMalformed, match=message):
        combinations(matrix)


VECTORS = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))


@given(VECTORS.filter(bool), st.lists(st.dictionaries(st.sampled_from("abcx"), st.integers(0, 3)), max_size=4))
def test_include_overwrites_nothing(vectors: dict[str, list[int]], include: list[dict[str, int]]) -> None:
    """Every combination of the vectors is there once, with its own values, whatever is included."""
    rows = combinations({**vectors, "include": include}).rows
    originals = list(combinations(vectors).rows)
    for row, original in zip(rows, originals, strict=False):
        assert {name: row[name] for name in original} == original
    assert len(originals) <= len(rows) <= len(originals) + len(include)
