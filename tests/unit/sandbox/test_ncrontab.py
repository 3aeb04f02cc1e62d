"""When a timer fires."""

from datetime import UTC, datetime

import pytest

from sandbox.functions.ncrontab import Schedule

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */5 * * * *", "2026-01-02 03:05:00"),
        ("0 */1 * * * *", "2026-01-02 03:05:00"),
        ("0 */7 * * * *", "2026-01-02 03:07:00"),
        ("0 */59 * * * *", "2026-01-02 03:59:00"),
        ("30 * * * * *", "2026-01-02 03:04:30"),
        ("5 * * * * *", "2026-01-02 03:05:05"),
        ("6 */4 * * * *", "2026-01-02 03:04:06"),
    ],
)
def test_after(expression: str, expected: str) -> None:
    """The next time is the first match later than now."""
    assert Schedule.parse(expression).after(NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_every_hour_begins_anew() -> None:
    """A step that does not divide the hour is counted from the hour's first minute, as NCRONTAB does it."""
    assert Schedule.parse("0 */40 * * * *").after(NOW.replace(minute=40)) == NOW.replace(hour=4, minute=0, second=0)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "*/5 * * * *",
        "60 * * * * *",
        "0 */0 * * * *",
        "0 */60 * * * *",
        "0 0 9 * * Mon-Fri",
        "* * * * * *",
    ],
)
def test_not_understood(expression: str) -> None:
    """Anything but the two forms is refused, and the error says which they are."""
    with pytest.raises(ValueError, match=r"neither `S \*/N \* \* \* \*` nor `S \* \* \* \* \*`"):
        Schedule.parse(expression)
