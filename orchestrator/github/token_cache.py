"""Tokens that expire, kept until well before they do."""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestrator.clock import Clock, moment_of
from orchestrator.github.client import expecting
from orchestrator.runtime import MakeLock

# A token with no more time left than this is not handed out.
SHORTEST_TIME_LEFT = timedelta(minutes=5)
# What a header, and the runner's image, take for a secret.
_SECRET = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class ExpiringToken:
    """A token of GitHub's.

    Attributes:
        value: the token, which never shows in a repr.
        expires_at: when it does.
    """

    value: str = field(repr=False)
    expires_at: datetime

    @classmethod
    def read(cls, answer: Any) -> "ExpiringToken":
        """Read GitHub's JSON of a new token.

        Raises:
            TransientError: The JSON holds no token.
        """
        with expecting("GitHub's answer holds no token"):
            return cls(secret(answer["token"]), moment_of(answer["expires_at"]))


def secret(value: Any) -> str:
    """Return a secret of GitHub's as text.

    Raises:
        ValueError: It is not printable ASCII without blanks, so neither a header nor a runner takes it.
        TypeError: It is not text.
    """
    if _SECRET.fullmatch(value) is None:
        raise ValueError
    return str(value)


class TokenCache[K: Hashable]:
    """One token per key. Safe under threads: one fetches a key's new token while the others wait for it.

    Args:
        fetch: gets a new token for a key. An error that it raises reaches the caller, and nothing is kept.
        clock: tells the time.
        lock: makes a lock.
    """

    def __init__(self, fetch: Callable[[K], ExpiringToken], clock: Clock, *, lock: MakeLock = threading.Lock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = lock()
        self._key_locks: defaultdict[K, AbstractContextManager[object]] = defaultdict(lock)
        # Each token, and until when it is handed out. A token goes into a task that may wait for a machine to start.
        # So it is used for half its life at most, and never with less than SHORTEST_TIME_LEFT left.
        self._tokens: dict[K, tuple[ExpiringToken, datetime]] = {}

    def get(self, key: K) -> ExpiringToken:
        """Return the key's token; fetch a new one if there is none with enough time left."""
        with self._lock:
            key_lock = self._key_locks[key]
        with key_lock:
            token, use_until = self._tokens.get(key, (None, None))
            if token is None or use_until is None or self._clock() >= use_until:
                token = self._fetch(key)
                life = token.expires_at - self._clock()
                self._tokens[key] = (token, token.expires_at - max(SHORTEST_TIME_LEFT, life / 2))
            return token

    def drop(self, key: K, value: str) -> None:
        """Forget the key's token if it still has this value; another thread may have replaced it."""
        with self._lock:
            key_lock = self._key_locks[key]
        with key_lock:
            token, _ = self._tokens.get(key, (None, None))
            if token is not None and token.value == value:
                del self._tokens[key]
