"""The environment variables that an operator gives to runners' containers (pure)."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

# The variables that the runner's image, the runner and Batch read, and no job sees.
_RESERVED = ("GHR_", "ACTIONSRUNNER_", "ACTIONS_RUNNER_INPUT_", "AZ_BATCH_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _checked(variables: dict[str, str]) -> dict[str, str]:
    """Take variables that can be handed over by name, and that nobody but a job reads."""
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise ValueError("a name may hold letters, digits and _, and does not begin with a digit")
        if name.upper().startswith(_RESERVED):
            raise ValueError(f"{name} is refused: names that begin with {', '.join(_RESERVED)} are the runner's own")
        if not value.isprintable():
            raise ValueError(f"{name}: a value is one line, without control characters")
    return variables


type Environment = Annotated[
    dict[str, Annotated[str, Field(max_length=2000)]], Field(max_length=50), AfterValidator(_checked)
]


def misleads_docker(names: Iterable[str]) -> bool:
    """Whether Docker's client would obey one of these, where the task itself calls it: it has the task's variables."""
    return any(name.upper() == "PATH" or name.upper().startswith("DOCKER_") for name in names)
