"""Plays the Docker client for tasks that call it themselves, on pools that are not made for containers."""

import itertools
import shlex
from collections.abc import Mapping


def container_environment(command_line: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the container of a `docker run` sees of a task's environment: the variables passed with `-e NAME`.

    Anything else than `docker run` sees nothing: as with Batch there is no shell, and there is nothing else to run.
    """
    words = shlex.split(command_line)
    if words[:2] != ["docker", "run"]:
        return {}
    names = [after for word, after in itertools.pairwise(words) if word == "-e"]
    return {name: environment[name] for name in names if name in environment}
