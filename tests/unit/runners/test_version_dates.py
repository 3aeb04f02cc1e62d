"""Until when GitHub takes a runner."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.runners.version_dates import VersionDates

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("registration", "runtime", "urgency", "sentence"),
    [
        (None, None, "none", "GitHub names no day on which it stops runner 2.330.0"),
        (None, 14, "none", "GitHub takes runner 2.330.0 until 2026-12-09, for 14 more days"),
        (30, 13, "soon", "GitHub takes runner 2.330.0 until 2026-12-08, for 13 more days"),
        (3, 30, "soon", "GitHub takes runner 2.330.0 until 2026-11-28, for 3 more days"),
        (2, None, "now", "GitHub takes runner 2.330.0 until 2026-11-27, for 2 more days"),
        (0, None, "now", "GitHub takes no runner 2.330.0 since 2026-11-25"),
    ],
)
def test_dates(registration: int | None, runtime: int | None, urgency: str, sentence: str) -> None:
    """The first of the two dates decides: two weeks before it is a warning, three days before it an alarm."""
    dates = VersionDates("2.330.0", *(None if days is None else NOW + days * DAY for days in (registration, runtime)))
    assert (dates.urgency(NOW), dates.sentence(NOW)) == (urgency, sentence)
