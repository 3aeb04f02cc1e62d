"""What the runner image's exit codes mean; see its contract in `runner-images/README.md` (pure)."""

from collections.abc import Mapping

# A test holds these against the image's table.
EXIT_CODES: Mapping[int, str] = {
    0: "a job ran",
    7: "GitHub refuses this version of the runner",
    69: "no job came in time, or its registration was removed",
    70: "the runner's program does not start",
    71: "a job began and was broken off",
    75: "it could not register, or got no session",
    77: "another container had used its claim",
    78: "a variable of its environment is missing or malformed",
}
# Beyond this a container was stopped by a signal.
_SIGNALLED = 128


def meaning(exit_code: int) -> str:
    """Return what a runner task's exit code means.

    Args:
        exit_code: as Batch says it.
    """
    known = EXIT_CODES.get(exit_code)
    if known is None:
        signal = exit_code - _SIGNALLED
        known = f"stopped by signal {signal} before a job came" if signal > 0 else "not one of the runner image's"
    return f"exit code {exit_code} ({known})"
