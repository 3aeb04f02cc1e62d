"""When a timer fires."""

from datetime import UTC, datetime

import pytest

from sandbox.functions.ncrontab import Schedule

FRIDAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * * *", "2026-01-02 03:04:06"),
        ("0 */5 * * * *", "2026-01-02 03:05:00"),
        ("*/5 * * * *", "2026-01-02 03:05:00"),
        ("5 4 3 * * *", "2026-01-03 03:04:05"),
        ("0 30 9 * * Mon-Fri", "2026-01-02 09:30:00"),
        ("0 30 2 * * 1-5", "2026-01-05 02:30:00"),
        ("0 0 0 1 mar *", "2026-03-01 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("15,45 10-12/2 * * * *", "2026-01-02 03:10:15"),
        ("0 0 12 * * 7", "2026-01-04 12:00:00"),
        ("30/10 4 3 * * *", "2026-01-02 03:04:30"),
    ],
)
def test_after(expression: str, expected: str) -> None:
    """The next time is the first match later than now."""
    assert Schedule.parse(expression).after(FRIDAY) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("expression", ["", "* * * *", "60 * * * * *", "* * * * * x", "5-1 * * * * *", "* * * 0 * *"])
def test_wrong(expression: str) -> None:
    """What is no schedule is refused."""
    with pytest.raises(ValueError, match=r"six fields|out of bounds|invalid literal"):
        Schedule.parse(expression)


def test_never() -> None:
    """A schedule that cannot match says so."""
    with pytest.raises(ValueError, match="never fires"):
        Schedule.parse("0 0 0 30 2 *").after(FRIDAY)
