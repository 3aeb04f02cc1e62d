"""What GitHub's answers say about when to ask again."""

from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from orchestrator.github.client import rate_limit_wait

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("status", "headers", "text", "wait"),
    [
        (403, {"retry-after": "7"}, "", 7),
        (429, {"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000100"}, "", 7),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000100"}, "", 100),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1789999000"}, "", 1),
        (403, {"x-ratelimit-remaining": "0"}, "", 60),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, "", 60),
        (429, {}, "", 60),
        (403, {}, '{"message": "You have exceeded a Secondary Rate Limit."}', 60),
        (429, {"retry-after": formatdate(NOW + 30, usegmt=True)}, "", 30),
        (429, {"retry-after": formatdate(NOW - 30, usegmt=True)}, "", 1),
        (403, {}, '{"message": "You have triggered an abuse detection mechanism."}', 60),
        (403, {}, '{"message": "API rate limit exceeded for installation ID 7."}', 60),
        (401, {}, '{"message": "API rate limit exceeded"}', None),
        (429, {"retry-after": "soon"}, "", 60),
        (429, {"retry-after": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, "", 60),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 +99999999999999"}, "", 60),
        (403, {"x-ratelimit-remaining": "4999"}, '{"message": "Resource not accessible by integration"}', None),
        (401, {"retry-after": "7"}, "", None),
        (503, {"retry-after": "7"}, "", None),
        (200, {"x-ratelimit-remaining": "0"}, "", None),
    ],
)
def test_wait(status: int, headers: dict[str, str], text: str, wait: float | None) -> None:
    """`retry-after` wins, then the reset of a used-up budget, then a minute; any other refusal is no rate limit."""
    assert rate_limit_wait(status, headers, text, datetime.fromtimestamp(NOW, UTC)) == wait
