"""YAML as GitHub reads it, with the line and column of everything (pure).

GitHub's own reader refuses what a YAML library lets pass: keys that differ in case alone, merge keys, keys that are no
text. Source: actions/runner, `TemplateReader.cs` (keys are compared without case) and issue 1182 (anchors, but no merge
keys).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

# Characters of a file that are read. GitHub's contents API gives no larger file.
MOST_CHARACTERS = 1024 * 1024
# Values of a file, those that aliases repeat counted each time. Ten lines of aliases can stand for billions.
MOST_VALUES = 200_000
# Values inside values.
MOST_LEVELS = 100

# A line: its indentation, and the rest.
_LINE = re.compile(r"^([ \t]*)([^\r\n]*)", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
type Scalar = bool | int | float | str | None


class Place(NamedTuple):
    """Where something stands in a file; the first line and column are 1."""

    line: int
    column: int


class Malformed(Exception):
    """GitHub cannot read the file.

    Attributes:
        place: where it says so.
        message: why.
        is_yaml: whether it is YAML that makes no workflow.
    """

    def __init__(self, place: Place, message: str, *, is_yaml: bool = False) -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.is_yaml = is_yaml


@dataclass(frozen=True, eq=False)
class Value:
    """A text, number, truth value or null."""

    place: Place
    value: Scalar


@dataclass(frozen=True, eq=False)
class List:
    """A sequence."""

    place: Place
    items: "Sequence[Element]"


@dataclass(frozen=True, eq=False)
class Table:
    """A mapping.

    Attributes:
        place: where it begins.
        entries: the values by their keys.
        keys: where each key stands.
    """

    place: Place
    entries: "Mapping[str, Element]"
    keys: Mapping[str, Place]

    def get(self, key: str) -> "Element | None":
        """Return the value of a key, None if there is none."""
        return self.entries.get(key)


type Element = Value | List | Table


def read(text: str) -> Element | None:
    """Read one document; None for an empty one.

    Args:
        text: the file's content.

    Raises:
        Malformed: It is no YAML, or none that GitHub takes.
    """
    if len(text) > MOST_CHARACTERS:
        raise Malformed(Place(1, 1), "the file is larger than 1 MiB")
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        node = yaml.compose(_without_tabs(text))
        return None if node is None else _Converter().element(node, 1)
    except RecursionError:
        raise Malformed(Place(1, 1), "its values are nested too deeply") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
        raise Malformed(place, _why(error)) from None
    except ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Malformed(place, "a control character, which YAML does not allow") from None
    except YAMLError as error:
        raise Malformed(Place(1, 1), " ".join(str(error).split())[:200]) from None


def _without_tabs(text: str) -> str:
    """Put spaces for tabs that YAML takes for white space and the library does not: those behind other text.

    A tab at the beginning of a line stays, because it may be no indentation. Inside a text it makes no difference here.
    """
    return _LINE.sub(lambda line: line[1] + line[2].replace("\t", " ") if line[2] else "", text)


class _Converter:
    """Makes elements of the library's nodes. What an alias repeats is made once."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Element, int]] = {}
        self._open: set[int] = set()

    def element(self, node: Node, level: int) -> Element:
        return self._sized(node, level)[0]

    def _sized(self, node: Node, level: int) -> tuple[Element, int]:
        """Return an element, and how many values it holds."""
        place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
        if (made := self._made.get(id(node))) is not None:
            return made
        if id(node) in self._open:
            raise Malformed(place, "an anchor is used inside itself")
        if level > MOST_LEVELS:
            raise Malformed(place, "its values are nested too deeply")
        self._open.add(id(node))
        made = self._make(node, place, level)
        self._open.remove(id(node))
        if made[1] > MOST_VALUES:
            raise Malformed(place, f"its aliases stand for more than {MOST_VALUES} values")
        self._made[id(node)] = made
        return made

    def _make(self, node: Node, place: Place, level: int) -> tuple[Element, int]:
        if isinstance(node, ScalarNode):
            return Value(place, _scalar(str(node.tag), str(node.value))), 1
        if not isinstance(node, MappingNode):
            items = [self._sized(item, level + 1) for item in node.value]
            return List(place, [item for item, _ in items]), 1 + sum(size for _, size in items)
        entries: dict[str, Element] = {}
        keys: dict[str, Place] = {}
        size = 1
        for key, key_place, value in _pairs(node):
            entries[key], own = self._sized(value, level + 1)
            keys[key] = key_place
            size += own
        return Table(place, entries, keys), size


def _pairs(node: MappingNode) -> Iterator[tuple[str, Place, Node]]:
    seen: dict[str, Place] = {}
    for key, value in node.value:
        place = Place(key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(key, ScalarNode):
            raise Malformed(place, "a key must be a text")
        if str(key.tag) == f"{_TAG}merge":
            raise Malformed(place, "GitHub takes anchors and aliases, but no merge key (<<)")
        name = str(key.value)
        if name.lower() in seen:
            first = seen[name.lower()]
            raise Malformed(place, f"{name} is defined already, in line {first.line} (GitHub ignores case)")
        seen[name.lower()] = place
        yield name, place, value


def _scalar(tag: str, text: str) -> Scalar:
    """Read a scalar by the type that the library gives it."""
    try:
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() in ("true", "yes", "on")
            case "int":
                return int(text, 0 if text.lstrip("+-")[:2] in ("0x", "0o") else 10)
            case "float":
                return float(text)
    except ValueError:
        pass  # too long a number, or a form that means nothing to GitHub either
    return text


def _why(error: MarkedYAMLError) -> str:
    problem: Any = error.problem or error.context or "no YAML"
    return " ".join(str(problem).split()) + (f", {error.context}" if error.problem and error.context else "")
