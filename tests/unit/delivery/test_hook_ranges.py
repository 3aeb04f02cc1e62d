"""GitHub's webhook source ranges, kept current."""

import ipaddress
import logging

import pytest

from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES, Network
from orchestrator.delivery.hook_ranges import FRESH_FOR, RETRY_AFTER, HookRanges, PublishedRanges
from orchestrator.errors import TransientError
from tests.fakes import ManualClock

NEW: tuple[Network, ...] = (ipaddress.ip_network("203.0.113.0/24"),)


class Meta:
    """A `/meta` that answers as told, and counts."""

    def __init__(self) -> None:
        self.answer: PublishedRanges | TransientError = PublishedRanges(NEW, '"1"')
        self.etags: list[str | None] = []
        self.clock = ManualClock()

    def fetch(self, etag: str | None) -> PublishedRanges:
        """Answer once."""
        self.etags.append(etag)
        if isinstance(self.answer, TransientError):
            raise self.answer
        return self.answer

    def ranges(self) -> HookRanges:
        """Return ranges that ask this."""
        return HookRanges(self.fetch, self.clock)


def test_shipped_until_the_first_answer() -> None:
    """A new process starts with the shipped list, which counts as stale, and takes GitHub's first answer."""
    ranges = Meta().ranges()
    assert (ranges.networks, ranges.stale, ranges.shipped) == (SHIPPED_HOOK_RANGES, True, True)
    ranges.refresh()
    assert (ranges.networks, ranges.stale, ranges.shipped) == (NEW, False, False)


def test_asked_once_an_hour_with_the_etag() -> None:
    """A fresh list is not asked for again; a stale one is, with the ETag of the last answer."""
    meta = Meta()
    ranges = meta.ranges()
    ranges.refresh()
    ranges.refresh()
    assert meta.etags == [None]
    meta.clock.advance(FRESH_FOR)
    meta.answer = PublishedRanges(None, '"1"')
    ranges.refresh()
    assert meta.etags == [None, '"1"']
    assert ranges.networks == NEW
    assert not ranges.stale


def test_last_good_list_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """When GitHub does not answer, the last list stays in force, the log says so, and it is asked again soon."""
    meta = Meta()
    meta.answer = TransientError("GitHub is not reachable")
    ranges = meta.ranges()
    ranges.refresh()
    assert (ranges.networks, ranges.trouble) == (SHIPPED_HOOK_RANGES, "GitHub is not reachable")
    assert 'shipped with the release is used on", "reason": "GitHub is not reachable"' in caplog.text
    before = ranges.stale
    meta.clock.advance(RETRY_AFTER)
    assert (before, ranges.stale) == (False, True)
    meta.answer = PublishedRanges(NEW, None)
    ranges.refresh()
    assert ranges.trouble is None
    meta.clock.advance(FRESH_FOR)
    meta.answer = TransientError("again")
    ranges.refresh()
    assert ranges.networks == NEW
    assert 'last published is used on", "reason": "again"' in caplog.text


def test_a_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A list that differs from the one in force is logged, the same one again is not."""
    caplog.set_level(logging.INFO)
    meta = Meta()
    ranges = meta.ranges()
    ranges.refresh()
    assert "203.0.113.0/24" in caplog.text
    caplog.clear()
    meta.clock.advance(FRESH_FOR)
    ranges.refresh()
    assert caplog.text == ""
