"""YAML as GitHub reads it, with places, and what is refused where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from orchestrator.cli.workflow_lint import document
from orchestrator.cli.workflow_lint.document import Element, List, Malformed, Place, Table, Value, read


def plain(element: Element | None) -> object:
    """Return an element as Python's own values."""
    match element:
        case Table():
            return {key: plain(value) for key, value in element.entries.items()}
        case List():
            return [plain(item) for item in element.items]
        case Value():
            return element.value
    return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("on: push\nyes: no\n", {"on": "push", "yes": "no"}),  # YAML 1.2, as at GitHub
        ("a: true\nb: False\nc: ~\nd:\n", {"a": True, "b": False, "c": None, "d": None}),
        ("a: 12\nb: 0x10\nc: 0o10\nd: -3\ne: 1.50\nf: 1e3\n", {"a": 12, "b": 16, "c": 8, "d": -3, "e": 1.5, "f": 1000}),
        (f"a: {'9' * 5000}\n", {"a": "9" * 5000}),
        ("a: '12'\nb: \"x\\n\"\nc: |\n  x\n", {"a": "12", "b": "x\n", "c": "x\n"}),
        ("a: 2026-01-01\nb: !mine x\n", {"a": "2026-01-01", "b": "x"}),
        ("a: [1, {b: c}]\r\nd: e\r\n", {"a": [1, {"b": "c"}], "d": "e"}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("a: 1\t\nb:\t2\t# x\n\t\nc: [1,\t2]\r\n\t\r\n", {"a": 1, "b": 2, "c": [1, 2]}),
        ("a: |\n\t\t\n  x\n  \ty\n\t\n  z\n", {"a": "\nx\n\ty\n\nz\n"}),
        ("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
        ("'<<': 1\n", {"<<": 1}),
    ],
)
def test_read(text: str, expected: object) -> None:
    """Values have the types of YAML 1.2; aliases stand for what they name."""
    assert plain(read(text)) == expected


def test_places() -> None:
    """Lines and columns count from 1, also those of keys."""
    root = read("on: push\njobs:\n  build:\n    runs-on: [a,\n      b]\n")
    assert isinstance(root, Table)
    jobs = root.get("jobs")
    assert isinstance(jobs, Table)
    build = jobs.get("build")
    assert isinstance(build, Table)
    runs_on = build.get("runs-on")
    assert isinstance(runs_on, List)
    assert (root.keys["jobs"], jobs.keys["build"]) == (Place(2, 1), Place(3, 3))
    assert (runs_on.place, [item.place for item in runs_on.items]) == (Place(4, 14), [Place(4, 15), Place(5, 7)])
    assert build.get("none") is None


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a:\n\tb: 1\n", (2, 1), "'\\t' that cannot start any token, while scanning for the next token"),
        ("a: 'x", (1, 6), "found unexpected end of stream"),
        ("a: b: c\n", (1, 5), "mapping values are not allowed here"),
        ("a: *b\n", (1, 4), "found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", (2, 1), "but found another document"),
        ("a:\n  b: \x07\n", (2, 6), "a control character"),
        ("\x00", (1, 1), "a control character"),
        ("a: 1\nA: 2\n", (2, 1), "A is defined already, in line 1 (GitHub ignores case)"),
        ("a:\n  <<: *b\n", (2, 7), "undefined alias"),
        ("b: &b {c: 1}\na:\n  <<: *b\n", (3, 3), "no merge key (<<)"),
        ("? [a]\n: b\n", (1, 3), "a key must be a text"),
        ("a: &a [*a]\n", (1, 4), "an anchor is used inside itself"),
        ("a: &a {b: *a}\n", (1, 4), "an anchor is used inside itself"),
        ("[" * 101 + "]" * 101, (1, 101), "its values are nested too deeply"),
        ("[\n" * 5_000, (1, 1), "its values are nested too deeply"),
        ("#" * (document.MOST_CHARACTERS + 1), (1, 1), "the file is larger than 1 MiB"),
        (LAUGHS, (6, 5), "its aliases stand for more than 200000 values"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, place: tuple[int, int], message: str) -> None:
    """Each fault is said with its line and column, whatever the file does to exhaust the reader."""
    with pytest.raises(Malformed) as caught:
        read(text)
    assert (caught.value.place, message in caught.value.message, caught.value.is_yaml) == (place, True, False)


def test_an_error_without_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library refuses without a place is said at the file's beginning, in one line."""
    for error, said in (
        (YAMLError("odd\n thing"), "odd thing"),
        (MarkedYAMLError(context="odd"), "odd"),
        (MarkedYAMLError(), "no YAML"),
    ):

        def refuse(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(YAML, "compose", refuse)
        with pytest.raises(Malformed) as caught:
            read("a")
        assert (caught.value.place, caught.value.message) == (Place(1, 1), said)


@given(st.text(alphabet="ab:-[]{}&*<!|>'\"#%?, \n\t\r\ufeff\x00${}", max_size=60))
def test_anything(text: str) -> None:
    """Whatever a file holds, it is read or refused with a place inside it."""
    problem = None
    try:
        read(text)
    except Malformed as error:
        problem = error
    assert problem is None or (problem.place >= (1, 1) and problem.message)
