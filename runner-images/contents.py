#!/usr/bin/env python3
"""Prints what is in an image, and how large it is: `contents.py IMAGE [podman]`.

The size is that of the image as it lies on a node; what is pulled is compressed.
"""

import json
import re
import shlex
import subprocess
import sys

# What prints a version; its first line is shown.
PROGRAMS = (
    "az version --query '\"azure-cli\"' --output tsv",
    "bash --version",
    "cc --version",
    "curl --version",
    "docker --version",
    "docker buildx version",
    "file --version",
    "gh --version",
    "git --version",
    "git lfs version",
    "gpg --version",
    "java --version",
    "jq --version",
    "make --version",
    "node --version",
    "npm --version",
    "pwsh --version",
    "python --version",
    "python3 -m pip --version",
    "rsync --version",
    "ssh -V",
    "tar --version",
    "unzip -v",
    "wget --version",
    "xz --version",
    "zip --version | tail -n +2",
    "zstd --version",
    "/opt/runner/bin/Runner.Listener --version",
)


def main(image: str, engine: str = "docker") -> int:
    """Print the table."""
    found = json.loads(subprocess.check_output([engine, "image", "inspect", image]))[0]
    print(f"{image}: {found['Size'] / 1e6:.0f} MB", flush=True)
    lines = [
        f"printf '  %-36s' {shlex.quote(re.split(' --?[vVq]', program)[0])}; "
        f"said=$({program} 2>&1 | head -n 1 | cut -c 1-80); "
        'case "$said" in *"not found"* | *"No module"*) said=-;; esac; echo "${said:--}"'
        for program in PROGRAMS
    ]
    command = [engine, "run", "--rm", "--entrypoint", "/bin/bash", image, "-c", "\n".join(lines)]
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
