"""Addresses that are given on the command line (pure)."""

import re
from urllib.parse import urlsplit

from orchestrator.errors import SettingsError


def plain_url(what: str, url: str, *, query: bool = False) -> str:
    """Return an address that secrets may be sent to.

    Args:
        what: names it in an error.
        url: the address.
        query: whether it may have a query.

    Raises:
        SettingsError: It is none.
    """
    try:
        parts = urlsplit(url)
        loopback = parts.hostname in ("127.0.0.1", "localhost")
        good = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:
        good, loopback = False, False
    if not good or parts.username or parts.fragment or (parts.query and not query):
        raise SettingsError.of(what, "is not an https:// address")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise SettingsError.of(what, "is not an https:// address")
    return url
