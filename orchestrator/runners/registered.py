"""A runner as GitHub lists it (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Runner:
    """A registered runner.

    Attributes:
        labels: in lower case.
    """

    id: int
    name: str
    online: bool
    busy: bool
    labels: frozenset[str]
