"""What a runner's container gets beside its image: environment variables, and a folder of certificates (pure)."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

# The variables that the runner's image, the runner and Batch read, and no job sees.
_RESERVED = ("GHR_", "ACTIONSRUNNER_", "ACTIONS_RUNNER_INPUT_", "AZ_BATCH_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Where a node has its certificate authorities, and its containers find them: Windows mounts folders only, no files.
_FOLDERS = {"linux": "/etc/runner-ca", "windows": r"C:\runner-ca"}
_BUNDLES = {"linux": "/etc/runner-ca/ca-bundle.pem", "windows": r"C:\runner-ca\ca-bundle.pem"}
# What programs read the path of such a file from. NODE_EXTRA_CA_CERTS adds to what Node.js believes; each of the others
# takes the place of a program's own list, so the file on a Linux node also holds the public authorities. On Windows the
# programs use the system's store, which a file cannot change.
_PROGRAMS = {
    "linux": ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
    "windows": ("NODE_EXTRA_CA_CERTS",),
}


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


def ca_mount(system: Literal["linux", "windows"]) -> str:
    """Return the option of `docker create` that gives a container its node's certificate authorities, to read."""
    return f"--volume {_FOLDERS[system]}:{_FOLDERS[system]}:ro"


def ca_variables(system: Literal["linux", "windows"]) -> dict[str, str]:
    """Return the variables by which programs in the container find them."""
    return dict.fromkeys(_PROGRAMS[system], _BUNDLES[system])
