"""Who really called, and may they (pure)?

Behind App Service the right-most entry of `X-Forwarded-For` is the peer that App Service itself saw, as `address:port`;
everything to its left is whatever that peer sent. A proxy of your own appends the peer that it saw. So an entry is
believed only if everything to its right is the address of such a proxy: whoever reaches the site past the proxies
stands right-most.
"""

import functools
import ipaddress
from collections.abc import Iterable

from orchestrator.config.allowed_sources import Address, Network


def caller_address(forwarded_for: str | None, trusted_proxies: Iterable[Network]) -> Address | None:
    """Return the caller's address, or None where the header does not prove one.

    That is the right-most entry which is not one of the trusted proxies. An entry that is no address ends the search,
    and proxies alone prove no caller.

    Args:
        forwarded_for: `X-Forwarded-For` as received (repeated headers joined by commas).
        trusted_proxies: where your own proxies in front of App Service are.

    Source: Microsoft's App Service front end appends the peer with its port; see the module's docstring.
    """
    trusted = tuple(trusted_proxies)
    for entry in reversed((forwarded_for or "").split(",")):
        address = _address(entry)
        if address is None or not is_within(address, trusted):
            return address
    return None


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """Parse `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`; a v4 address in v6 clothes comes out as v4."""
    text = text.strip()
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        well_formed = bool(closed) and (not port or (port[0] == ":" and _is_port(port[1:])))
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        well_formed = _is_port(port)
    else:
        well_formed = True
    if not well_formed or "%" in text:  # a zone index has no meaning on another machine
        return None
    try:
        address = _parsed(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# GitHub calls from a few addresses again and again.
_parsed = functools.lru_cache(maxsize=256)(ipaddress.ip_address)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal()
