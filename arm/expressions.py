"""The language of ARM templates, as far as ours and its form use it: expressions, copy loops, nested deployments.

What only Azure knows, like `reference`, becomes a text that says what it is. So a template can be looked at without
Azure, as a list of bodies. A property that is not there raises `Refused`, as Azure refuses it.
"""

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/runners"

type Json = Any
type Function = Callable[..., Json]

_TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|(-?\d+)|([A-Za-z_]\w*)|([()\[\],.]))")


class Refused(ValueError):
    """The template asks for something that is not there: Azure would not deploy it."""


class Later(str):
    """A value that only Azure knows, as a text that says which."""

    __slots__ = ()


@dataclass(frozen=True)
class Call:
    """A function and its arguments, not yet evaluated."""

    name: str
    arguments: Sequence["Tree"]


@dataclass(frozen=True)
class Part:
    """A property or element of something."""

    whole: "Tree"
    key: "Tree"


type Tree = Call | Part | str | int


def _tokens(expression: str) -> list[tuple[str, str]]:
    """Return kinds and texts of what an expression consists of, the last first."""
    found: list[tuple[str, str]] = []
    end = 0
    for match in _TOKEN.finditer(expression):
        if match.start() != end:
            break
        text, number, name, sign = match.groups()
        kind = "text" if text is not None else "number" if number else "name" if name else "sign"
        found.append((kind, text.replace("''", "'") if text is not None else number or name or sign))
        end = match.end()
    if expression[end:].strip():
        raise ValueError(f"not an expression: {expression[end : end + 40]}")
    return found[::-1]


@cache
def parsed(expression: str) -> Tree:
    """Return the tree of an expression without its brackets.

    Raises:
        ValueError: It is no expression.
    """
    tokens = _tokens(expression)

    def next_is(sign: str) -> bool:
        return bool(tokens) and tokens[-1] == ("sign", sign)

    def tree() -> Tree:
        kind, text = tokens.pop()
        value: Tree = int(text) if kind == "number" else text
        if kind == "name":
            arguments: list[Tree] = []
            while tokens.pop()[1] != ")":
                if not next_is(")"):
                    arguments.append(tree())
            value = Call(text.lower(), arguments)
        while next_is(".") or next_is("["):
            if tokens.pop()[1] == ".":
                value = Part(value, tokens.pop()[1])
            else:
                value = Part(value, tree())
                tokens.pop()
        return value

    return tree()


def part(whole: Json, key: Json) -> Json:
    """Return a property or element.

    Raises:
        Refused: It is not there.
    """
    if isinstance(whole, Later):
        return Later(f"{whole}.{key}")
    if isinstance(whole, dict):
        found = [name for name in whole if name.lower() == str(key).lower()]
        if found:
            return whole[found[0]]
    elif isinstance(whole, list) and isinstance(key, int) and key < len(whole):
        return whole[key]
    raise Refused(f"no {key!r} in {json.dumps(whole)[:200]}")


def text(value: Json) -> str:
    """Return a value as `string()` and `concat()` write it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _concat(*values: Json) -> Json:
    return [item for value in values for item in value] if isinstance(values[0], list) else "".join(map(text, values))


def _union(*values: Json) -> Json:
    whole: dict[str, Json] = {}
    for value in values:
        for key, new in value.items():
            old = whole.get(key)
            whole[key] = _union(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return whole


def _contains(within: Json, item: Json) -> bool:
    if isinstance(within, Later):
        return True  # what Azure has is taken to hold what it is asked for
    return item.lower() in {key.lower() for key in within} if isinstance(within, dict) else item in within


def _resource_id(*values: str) -> str:
    start = next(number for number, value in enumerate(values) if "." in value and "/" in value)
    provider, *kinds = values[start].split("/")
    path = "".join(f"/{kind}/{name}" for kind, name in zip(kinds, values[start + 1 :], strict=True))
    return f"{GROUP}/providers/{provider}{path}"


def _subnet(prefix: str, size: int, index: int) -> str:
    return str(list(ipaddress.ip_network(prefix).subnets(new_prefix=size))[index])


def _later(name: str) -> Function:
    return lambda *values: Later(f"{name}({', '.join(map(text, values))})")


FUNCTIONS: Mapping[str, Function] = {
    "add": lambda one, other: one + other,
    "and": lambda *values: all(values),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "bool": lambda value: text(value).lower() == "true",
    "cidrsubnet": _subnet,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": _concat,
    "contains": _contains,
    "createarray": lambda *values: list(values),
    "createobject": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "datetimeadd": _later("dateTimeAdd"),
    "datetimetoepoch": _later("dateTimeToEpoch"),
    "empty": lambda value: not value,
    "environment": lambda: {"suffixes": {"acrLoginServer": ".azurecr.io", "storage": "core.windows.net"}},
    "equals": lambda one, other: one == other,
    "false": lambda: False,
    "guid": _later("guid"),
    "indexof": lambda within, item: within.index(item) if item in within else -1,
    "int": int,
    "join": lambda values, between: between.join(values),
    "last": lambda values: values[-1],
    "length": len,
    "newguid": lambda: "00000000-0000-4000-8000-000000000000",
    "not": lambda value: not value,
    "null": lambda: None,
    "or": lambda *values: any(values),
    "reference": _later("reference"),
    "mul": lambda one, other: one * other,
    "replace": lambda value, old, new: value.replace(old, new),
    "resourcegroup": lambda: {"id": GROUP, "name": GROUP.rpartition("/")[2], "location": "westeurope"},
    "resourceid": _resource_id,
    "extensionresourceid": _later("extensionResourceId"),
    "split": lambda value, between: value.split(between),
    "startswith": lambda value, start: value.lower().startswith(start.lower()),
    "string": lambda value: value if isinstance(value, Later) else text(value),
    "subscription": lambda: {"subscriptionId": SUBSCRIPTION.rpartition("/")[2], "tenantId": "tenant"},
    "subscriptionresourceid": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
    "take": lambda value, count: value[:count],
    "tolower": str.lower,
    "true": lambda: True,
    "union": _union,
    "uniquestring": lambda *_: "uniquestring1",
    "utcnow": lambda: "20260101T000000Z",
}


def value_of(tree: Tree, functions: Mapping[str, Function]) -> Json:
    """Evaluate a tree; of an `if`, like Azure, only the branch that is taken.

    Raises:
        Refused: A property is not there.
    """
    if isinstance(tree, Part):
        return part(value_of(tree.whole, functions), value_of(tree.key, functions))
    if not isinstance(tree, Call):
        return tree
    if tree.name == "if":
        condition, then, otherwise = tree.arguments
        return value_of(then if value_of(condition, functions) else otherwise, functions)
    return functions[tree.name](*(value_of(argument, functions) for argument in tree.arguments))


def evaluated(value: Json, functions: Mapping[str, Function]) -> Json:
    """Evaluate every expression within a value, with its property loops."""
    if isinstance(value, str):
        if value.startswith("[") and value.endswith("]") and not value.startswith("[["):
            return value_of(parsed(value[1:-1]), functions)
        return value
    if isinstance(value, list):
        return [evaluated(item, functions) for item in value]
    if not isinstance(value, dict):
        return value
    found = {
        evaluated(key, functions): evaluated(item, functions)
        for key, item in value.items()
        if key != "copy" or not isinstance(item, list)
    }
    loops = value.get("copy")
    for loop in loops if isinstance(loops, list) else ():
        found[loop["name"]] = [
            evaluated(loop["input"], {**functions, "copyindex": lambda *_, number=number: number})
            for number in range(evaluated(loop["count"], functions))
        ]
    return found


@dataclass
class Scope:
    """A template with its parameters' values.

    Attributes:
        template: as it is written.
        given: values of parameters; the others have their defaults.
    """

    template: dict[str, Json]
    given: Mapping[str, Json]
    functions: dict[str, Function] = field(init=False)
    _known: dict[str, Json] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Add the functions that look into this template."""
        self.functions = {**FUNCTIONS, "parameters": self.parameter, "variables": self.variable}

    def parameter(self, name: str) -> Json:
        """Return a parameter's value."""
        return self.given[name] if name in self.given else evaluated(
            part(self.template["parameters"], name)["defaultValue"], self.functions
        )  # fmt: skip

    def variable(self, name: str) -> Json:
        """Return a variable's value."""
        if name not in self._known:
            variables = self.template["variables"]
            loops = [loop for loop in variables.get("copy", ()) if loop["name"] == name]
            value = evaluated({"copy": loops}, self.functions)[name] if loops else part(variables, name)
            self._known[name] = value if loops else evaluated(value, self.functions)
        return self._known[name]


def resources(template: dict[str, Json], given: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """Return what a template deploys: every resource with its values, those of nested deployments too.

    Args:
        template: as it is written.
        given: values of its parameters; the others have their defaults.

    Raises:
        Refused: Azure would not deploy it.
    """
    scope = Scope(template, given)
    for resource in template["resources"]:
        loop = resource.get("copy")
        for number in range(evaluated(loop["count"], scope.functions) if loop else 1):
            functions = {**scope.functions, "copyindex": lambda *_, number=number: number}
            if not evaluated(resource.get("condition", True), functions):
                continue
            plain = {key: value for key, value in resource.items() if key not in ("copy", "condition", "comments")}
            if resource["type"] != "Microsoft.Resources/deployments":
                yield evaluated(plain, functions)
                continue
            properties = plain["properties"]
            inner = evaluated(properties.get("parameters", {}), functions)
            yield evaluated({**plain, "properties": {"parameters": inner}}, functions)
            yield from resources(properties["template"], {name: each["value"] for name, each in inner.items()})
