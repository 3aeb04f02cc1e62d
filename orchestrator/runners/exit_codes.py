"""The runner image's exit codes: what each means, and whether a job had begun (pure).

Source: the contract in `runner-images/README.md`.
"""

from collections.abc import Mapping
from enum import IntEnum


class ImageExitCode(IntEnum):
    """How a runner's container ended. A test holds these against the image's own."""

    JOB_RAN = 0
    VERSION_REFUSED = 7
    NO_JOB = 69
    BROKEN = 70
    JOB_BROKEN_OFF = 71
    NOT_REGISTERED = 75
    CLAIM_USED = 77
    BAD_SETTINGS = 78


# Beyond this a container was stopped by a signal.
SIGNALLED = 128

MEANINGS: Mapping[int, str] = {
    ImageExitCode.JOB_RAN: "a job ran",
    ImageExitCode.VERSION_REFUSED: "GitHub refuses this version of the runner",
    ImageExitCode.NO_JOB: "no job came in time, or its registration was removed",
    ImageExitCode.BROKEN: "the runner's program does not start",
    ImageExitCode.JOB_BROKEN_OFF: "a job began and was broken off",
    ImageExitCode.NOT_REGISTERED: "it could not register, or got no session",
    ImageExitCode.CLAIM_USED: "another container had used its claim",
    ImageExitCode.BAD_SETTINGS: "a variable of its environment is missing or malformed",
}

# With these a job had begun. BROKEN does not tell.
AFTER_A_JOB = frozenset({ImageExitCode.JOB_RAN, ImageExitCode.JOB_BROKEN_OFF})
# With these none had.
BEFORE_A_JOB = frozenset(
    {
        ImageExitCode.VERSION_REFUSED,
        ImageExitCode.NO_JOB,
        ImageExitCode.NOT_REGISTERED,
        ImageExitCode.CLAIM_USED,
        ImageExitCode.BAD_SETTINGS,
    }
)


def meaning(exit_code: int) -> str:
    """Return what a runner task's exit code means.

    Args:
        exit_code: as Batch says it.
    """
    known = MEANINGS.get(exit_code)
    if known is None:
        signal = exit_code - SIGNALLED
        known = f"stopped by signal {signal} before a job came" if signal > 0 else "not one of the runner image's"
    return f"exit code {exit_code} ({known})"
