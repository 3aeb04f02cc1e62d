"""The tree of exceptions as it is drawn, and as it is."""

import inspect
import re

from orchestrator import errors


def drawn() -> set[tuple[str, str]]:
    """Return (class, base) of each exception that the module's docstring draws."""
    found, path = set(), {0: "Exception"}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( +)(?:· )?([A-Z]\w+)", line)
        if match:
            depth = len(match[1])
            base = path[max(level for level in path if level < depth)]
            path = {level: name for level, name in path.items() if level < depth} | {depth: match[2]}
            found.add((match[2], base))
    return found


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every exception stands in the drawing below its base class, and nothing else does."""
    classes = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, Exception)]
    assert drawn() == {(found.__name__, found.__bases__[0].__name__) for found in classes}
