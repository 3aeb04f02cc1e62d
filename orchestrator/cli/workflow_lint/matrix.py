"""The combinations of a matrix (pure).

Source: GitHub docs, "Running variations of jobs in a workflow": `exclude` comes before `include`. An entry of `include`
goes to every combination in which it overwrites no original value, and is one of its own where there is none.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.workflow_lint.expression import UNKNOWN, Data, OneOf, Partial, Unknown, equal

# Jobs that GitHub makes of one matrix at most (documented).
MOST_JOBS = 256
# Combinations that are made before `exclude` takes some away.
_MOST_MADE = 10_000


class MatrixMalformed(Exception):
    """GitHub makes no jobs of it."""


@dataclass(frozen=True)
class Combinations:
    """What a matrix comes to.

    Attributes:
        rows: the context `matrix` of each job; `UNKNOWN` where nothing is known of it.
        certain: whether there are these jobs, as far as the matrix is concerned.
    """

    rows: Sequence[Data]
    certain: bool = True


def combinations(matrix: Data) -> Combinations:
    """Return the jobs that a matrix makes.

    Args:
        matrix: the value of `strategy.matrix`.

    Raises:
        MatrixMalformed: GitHub refuses it.
    """
    if isinstance(matrix, Unknown):
        return Combinations([UNKNOWN])
    if not isinstance(matrix, dict):
        raise MatrixMalformed("the matrix is no mapping")
    include, exclude = (_entries(matrix, name) for name in ("include", "exclude"))
    vectors = {name: _vector(name, value) for name, value in matrix.items() if name not in ("include", "exclude")}
    if math.prod(map(len, vectors.values())) > _MOST_MADE:
        raise MatrixMalformed(f"the matrix makes more than {MOST_JOBS} jobs")
    kind = Partial if isinstance(matrix, Partial) else dict
    made: list[dict[str, Data]] = [kind(zip(vectors, row, strict=True)) for row in itertools.product(*vectors.values())]
    outcomes = [{_matches(row, entry) for entry in exclude or ()} for row in made]
    originals = [row for row, outcome in zip(made, outcomes, strict=True) if True not in outcome] if vectors else []
    certain = exclude is not None and not any(None in outcome for outcome in outcomes)
    rows = _included(originals, include or ())
    if include is None:
        rows = [*map(Partial, rows), UNKNOWN]
    if len(rows) > MOST_JOBS:
        raise MatrixMalformed(f"the matrix makes more than {MOST_JOBS} jobs")
    if not vectors and not rows:
        raise MatrixMalformed("the matrix has no values")
    return Combinations(rows, certain)


def _entries(matrix: dict[str, Data], name: str) -> Sequence[Data] | None:
    """Return the entries of `include` or `exclude`; None if they are unknown."""
    found: Any = matrix.get(name, UNKNOWN if isinstance(matrix, Partial) else [])
    if isinstance(found, (Unknown, OneOf)):
        return None
    if not isinstance(found, list) or not all(isinstance(entry, (dict, Unknown)) for entry in found):
        raise MatrixMalformed(f"{name} of the matrix is no list of mappings")
    return found


def _vector(name: str, value: Data) -> Sequence[Data]:
    if isinstance(value, Unknown):
        return [UNKNOWN]
    if not isinstance(value, list) or not value:
        raise MatrixMalformed(f"{name} of the matrix is no list with values")
    return value


def _matches(row: dict[str, Data], entry: Data) -> bool | None:
    """Whether `exclude` takes a combination away; None if that is unknown."""
    if isinstance(entry, Unknown):
        return None
    outcomes = {_same(row[name], value) if name in row else False for name, value in entry.items()}
    return False if False in outcomes else (None if None in outcomes else True)


def _same(own: Data, other: Data) -> bool | None:
    if isinstance(own, dict) and isinstance(other, dict):
        return _matches(own, other)
    return own == other if isinstance(own, (list, dict)) else equal(own, other)


def _included(originals: Sequence[dict[str, Data]], include: Sequence[Data]) -> list[Data]:
    rows: list[Data] = [type(row)(row) for row in originals]
    own: list[Data] = []
    for entry in include:
        if isinstance(entry, Unknown):
            own.append(UNKNOWN)
            continue
        fitting = [
            row for row, original in zip(rows, originals, strict=True)
            if all(_same(original[name], value) for name, value in entry.items() if name in original)
        ]  # fmt: skip
        for row in fitting:
            row.update(entry)
        if not fitting:
            own.append(dict(entry))
    return [*rows, *own]
