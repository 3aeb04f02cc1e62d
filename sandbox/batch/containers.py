"""Carries out runs of tasks as containers of one image, by podman."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.batch.executor import ProcessExecutor
from sandbox.batch.model import TaskRun


class ContainerExecutor(ProcessExecutor):
    """Runs each task as a container, on the network of this machine, where the stand-ins are.

    Args:
        image: what every task runs, whatever it asks for: a runner image with the fake runner in it.
    """

    def __init__(self, image: str) -> None:
        super().__init__()
        self._image = image

    def command(
        self,
        run: TaskRun,
        folder: Path,  # noqa: ARG002 - the image has the runner
        environment: Mapping[str, str],
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """Return the command that runs a container: it names the variables, whose values are in its environment."""
        names = [part for name in environment for part in ("--env", name)]
        options = ["--network", "host", *run.container_run_options.split()]
        return ["podman", "run", *options, *names, self._image], {**os.environ, **environment}
