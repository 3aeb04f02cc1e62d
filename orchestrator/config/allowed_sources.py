"""Networks in settings, and GitHub's hook ranges as shipped with the release (pure).

`AllowedSources` says who may send deliveries, `OperatorSources` who may call the operators' routes, `TrustedProxies`
whose word on a caller's address is believed, and `SiteHookRanges` what App Service lets in.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `hooks` of GitHub's /meta since 2026-10-29 (its changelog of that day): in force until GitHub answers for itself.
SHIPPED_HOOK_RANGES: tuple[Network, ...] = tuple(
    ipaddress.ip_network(cidr)
    for cidr in (
        "192.30.252.0/22",
        "185.199.108.0/22",
        "140.82.112.0/20",
        "143.55.64.0/20",
        "9.234.98.160/28",
        "9.234.98.176/28",
        "9.234.106.48/28",
        "2a0a:a440::/29",
        "2606:50c0::/32",
    )
)


@dataclass(frozen=True)
class AllowedSources:
    """Which callers are let in: GitHub's own hook ranges, networks of your own, or both."""

    github: bool
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowedSources":
        """Read the setting: comma-separated, each `github` or a CIDR (a bare address is a network of one).

        Raises:
            ValueError: An entry is neither; the message says which, by its place.
        """
        entries = _entries(text, "github or CIDRs")
        numbered = [(place, entry) for place, entry in enumerate(entries, start=1) if entry.lower() != "github"]
        found = tuple(_network(entry, place, "neither github nor an IP network") for place, entry in numbered)
        return cls(github=len(found) < len(entries), networks=found)

    @property
    def anywhere(self) -> bool:
        """Whether the check is switched off, by a network that holds every address of its kind."""
        return holds_everybody(self.networks)


def networks(text: str) -> tuple[Network, ...]:
    """Read a setting of comma-separated CIDRs (a bare address is a network of one).

    Raises:
        ValueError: An entry is none; the message says which, by its place.
    """
    return tuple(_network(entry, place, "no IP network") for place, entry in enumerate(_entries(text, "CIDRs"), 1))


def site_networks(text: str) -> tuple[Network, ...]:
    """Read `SiteHookRanges`: as `networks`, but an address within a network may stand for it, as App Service has it.

    Raises:
        ValueError: as `networks`.
    """
    return tuple(
        _network(entry, place, "no IP network", strict=False) for place, entry in enumerate(_entries(text, "CIDRs"), 1)
    )


def proxy_networks(text: str) -> tuple[Network, ...]:
    """Read `TrustedProxies`: as `networks`, but never everybody.

    Raises:
        ValueError: as `networks`, or an entry holds every address.
    """
    found = networks(text)
    if holds_everybody(found):
        raise ValueError("would believe everybody: name the addresses of your proxies alone")
    return found


def holds_everybody(networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds every address of its kind."""
    return any(network.prefixlen == 0 for network in networks)


def _entries(text: str, what: str) -> list[str]:
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise ValueError(f"is empty; use {what}")
    return entries


def _network(entry: str, place: int, otherwise: str, *, strict: bool = True) -> Network:
    try:
        return ipaddress.ip_network(entry, strict)
    except ValueError:
        raise ValueError(f"entry {place} is {otherwise} in CIDR notation") from None
