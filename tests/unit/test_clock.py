"""How times are read."""

from datetime import UTC, datetime

import pytest

from orchestrator.clock import moment_of


@pytest.mark.parametrize("text", ["2027-01-31T12:00:00Z", "2027-01-31T14:00:00+02:00", "2027-01-31T12:00:00"])
def test_a_time_is_read_in_utc(text: str) -> None:
    """Whatever its zone is; one without a zone is UTC's, wherever the process runs."""
    moment = moment_of(text)
    assert (moment, moment.tzinfo) == (datetime(2027, 1, 31, 12, tzinfo=UTC), UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00+01:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text of another form, and a moment that UTC has no year for, are the same error."""
    with pytest.raises(ValueError, match=r"Invalid isoformat|out of range"):
        moment_of(text)
