"""Until when GitHub takes a version of the runner, by its own dates (pure).

Source: GitHub changelog of 2026-09-03, "New REST API for runner version deprecations". A date may be missing: so far
there is no such day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

# With less time left a person is told, and then alarmed: building and rolling out images takes days.
SOON = timedelta(days=14)
NOW = timedelta(days=3)

type Urgency = Literal["none", "soon", "now"]


@dataclass(frozen=True)
class VersionDates:
    """GitHub's dates for one version of the runner.

    Attributes:
        version: the runner's.
        registration_ends: from when on no runner of it can register.
        runtime_ends: from when on its runners get no jobs.
    """

    version: str
    registration_ends: datetime | None = None
    runtime_ends: datetime | None = None

    @property
    def end(self) -> datetime | None:
        """The first of the two dates: both end the use of an image."""
        return min((date for date in (self.registration_ends, self.runtime_ends) if date is not None), default=None)

    def urgency(self, now: datetime) -> Urgency:
        """Return how soon newer images are needed."""
        if self.end is None or self.end - now >= SOON:
            return "none"
        return "soon" if self.end - now >= NOW else "now"

    def sentence(self, now: datetime) -> str:
        """Return what the dates mean, for an operator."""
        if self.end is None:
            return f"GitHub names no day on which it stops runner {self.version}"
        day = f"{self.end:%Y-%m-%d}"
        if self.end <= now:
            return f"GitHub takes no runner {self.version} since {day}"
        return f"GitHub takes runner {self.version} until {day}, for {(self.end - now).days} more days"
