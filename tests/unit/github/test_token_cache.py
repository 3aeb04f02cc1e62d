"""Tokens that expire, kept until well before they do."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import TransientError
from orchestrator.github.token_cache import ExpiringToken, TokenCache

START = datetime(2026, 1, 1, tzinfo=UTC)


class Issuer:
    """Gives out numbered tokens that live for an hour, on a clock of its own."""

    def __init__(self, life: timedelta = timedelta(hours=1)) -> None:
        self.life = life
        self.now = START
        self.issued: list[str] = []

    def fetch(self, key: str) -> ExpiringToken:
        """Issue one."""
        self.issued.append(key)
        return ExpiringToken(f"{key}-{len(self.issued)}", self.now + self.life)

    def cache(self) -> TokenCache[str]:
        """Return a cache that asks this issuer."""
        return TokenCache(self.fetch, lambda: self.now)


def test_one_token_per_key() -> None:
    """A second caller gets the first one's token; another key has its own."""
    cache = Issuer().cache()
    assert [cache.get("a").value, cache.get("a").value, cache.get("b").value] == ["a-1", "a-1", "b-2"]


def test_used_for_half_its_life() -> None:
    """A token handed to a task that may wait for a machine has half an hour left at least."""
    issuer = Issuer()
    cache = issuer.cache()
    cache.get("a")
    issuer.now = START + timedelta(minutes=29, seconds=59)
    assert cache.get("a").value == "a-1"
    issuer.now = START + timedelta(minutes=30)
    assert cache.get("a").value == "a-2"


@pytest.mark.parametrize(("minutes_left", "reused"), [(5.1, True), (5, False), (4, False)])
def test_never_with_less_than_five_minutes(minutes_left: float, reused: bool) -> None:
    """However short its life, a token is used again only with more than five minutes left."""
    issuer = Issuer(timedelta(minutes=8))
    cache = issuer.cache()
    cache.get("a")
    issuer.now = START + timedelta(minutes=8 - minutes_left)
    assert (cache.get("a").value == "a-1") is reused


def test_drop() -> None:
    """A token that was refused is forgotten, unless another thread has replaced it already."""
    cache = Issuer().cache()
    cache.drop("a", "a-1")
    refused = cache.get("a")
    cache.drop("a", refused.value)
    assert cache.get("a").value == "a-2"
    cache.drop("a", refused.value)
    assert cache.get("a").value == "a-2"


def test_a_failure_is_not_kept() -> None:
    """What the issuer raises reaches the caller, and the next caller asks again."""
    fails = iter([True, False])

    def fetch(_: str) -> ExpiringToken:
        if next(fails):
            raise TransientError("down")
        return ExpiringToken("t", START + timedelta(hours=1))

    cache = TokenCache(fetch, lambda: START)
    with pytest.raises(TransientError):
        cache.get("a")
    assert cache.get("a").value == "t"


def test_one_thread_fetches() -> None:
    """Of many threads that need a token at once one fetches it, and the others get the same."""
    issuer = Issuer()
    arrived = threading.Barrier(8)
    release = threading.Event()

    def slow(key: str) -> ExpiringToken:
        release.wait(5)
        return issuer.fetch(key)

    cache = TokenCache(slow, lambda: START)
    found: list[str] = []

    def ask() -> None:
        arrived.wait(5)
        found.append(cache.get("a").value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join(5)
    assert found == ["a-1"] * 8
    assert issuer.issued == ["a"]


@pytest.mark.parametrize("moment", ["2026-01-01T01:00:00Z", "2025-12-31T17:00:00-08:00", "2026-01-01T01:00:00"])
def test_read(moment: str) -> None:
    """GitHub's JSON of a token is read, whatever zone its end is written in."""
    assert ExpiringToken.read({"token": "t", "expires_at": moment}) == ExpiringToken("t", START + timedelta(hours=1))


@pytest.mark.parametrize("token", [None, "", "two\nlines", "line end\n", "a b", "ü", 7, ["t"]])
def test_read_what_is_no_token(token: object) -> None:
    """What neither a header nor a runner takes for a token is transient trouble, and reaches no runner."""
    with pytest.raises(TransientError, match="no token"):
        ExpiringToken.read({"token": token, "expires_at": "2026-01-01T01:00:00Z"})


@pytest.mark.parametrize("answer", [None, [], {}, {"token": "t"}, {"token": "t", "expires_at": "soon"}])
def test_read_something_else(answer: object) -> None:
    """An answer of another shape is transient trouble."""
    with pytest.raises(TransientError, match="no token"):
        ExpiringToken.read(answer)


def test_a_token_does_not_show() -> None:
    """The value of a token is in no repr."""
    assert "s3cret" not in repr(ExpiringToken("s3cret", START))
