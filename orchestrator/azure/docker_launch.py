"""The command line of a runner task that starts its container itself (pure).

Batch runs containers only on pools that were made for them, and refuses container settings on any other. Where no image
with containers is to be had (Windows Server 2022), the pool's start task installs Docker, and the task calls it.
"""

from collections.abc import Mapping

from orchestrator.runners.task import RunnerTask

# Where the pool's start task leaves the client's configuration: how to log in to the registry as the pool's identity.
CLIENT_CONFIG: Mapping[str, str] = {"linux": "/etc/docker/client", "windows": r"C:\ProgramData\docker\client"}


def docker_command(task: RunnerTask) -> str:
    """Return `docker run` for a task, to be run without a shell, as Batch does.

    Variables are passed by name, so that Docker takes their values from the task's own environment and no secret stands
    in a command line. The container bears the task's id: the node's guard ends containers whose task is over.

    Nothing here needs quotes: ids, variables and images are of characters that no parser of command lines minds
    (`Profile.image`), and the run options are an administrator's own arguments.
    """
    variables = [argument for name in task.environment for argument in ("-e", name)]
    options = [task.run_options.strip()] if task.run_options.strip() else []
    return " ".join(["docker", "run", "--rm", "--name", task.task_id, *variables, *options, task.image])


def docker_environment(task: RunnerTask) -> dict[str, str]:
    """Return the environment of the command: the task's own, and where Docker's client finds its configuration."""
    return {**task.environment, "DOCKER_CONFIG": CLIENT_CONFIG[task.os]}
