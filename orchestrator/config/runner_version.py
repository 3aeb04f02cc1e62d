"""Which versions of the runner GitHub still takes (pure).

An image does not say which runner is in it before it runs, so the app settings record that: `RunnerVersion`, or a
profile's `runnerVersion`. Starting an image that GitHub will refuse costs a machine and tells nobody; refusing to start
it tells everybody.
"""

from typing import Annotated

from pydantic import Field

from orchestrator.errors import SettingsError

# GitHub registers none below (changelog of 2026: "Self-hosted runner minimum version enforcement").
MINIMUM = "2.329.0"
# What runner-images/versions.json pins; an image of this release has it.
PINNED = "2.338.0"

type RunnerVersion = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$", max_length=20)]


def require_accepted(version: str, setting: str) -> None:
    """Check that GitHub registers a runner of this version.

    Args:
        version: what the setting records.
        setting: where it is recorded.

    Raises:
        SettingsError: It does not; the setting is named.
    """
    if _parts(version) < _parts(MINIMUM):
        problem = f"is below {MINIMUM}, the oldest runner that GitHub registers: build newer images, record that"
        raise SettingsError.of(setting, problem)


def is_behind(version: str) -> bool:
    """Whether a version is older than what this release pins: GitHub stops a runner 30 days after its successor."""
    return _parts(version) < _parts(PINNED)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
