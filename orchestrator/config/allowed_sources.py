"""Which callers are let in: the setting `AllowedSources`, and GitHub's ranges as shipped with the release (pure)."""

import ipaddress
from dataclasses import dataclass

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `hooks` of GitHub's /meta as published in 2026-03: in force from a cold start until GitHub answers for itself.
SHIPPED_HOOK_RANGES: tuple[Network, ...] = tuple(
    ipaddress.ip_network(cidr)
    for cidr in (
        "192.30.252.0/22",
        "185.199.108.0/22",
        "140.82.112.0/20",
        "143.55.64.0/20",
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
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if not entries:
            raise ValueError("is empty; use github or CIDRs")
        networks = []
        for place, entry in enumerate(entries, start=1):
            if entry.lower() == "github":
                continue
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                raise ValueError(f"entry {place} is neither github nor an IP network in CIDR notation") from None
        return cls(github=len(networks) < len(entries), networks=tuple(networks))

    @property
    def anywhere(self) -> bool:
        """Whether the check is switched off, by a network that holds every address of its kind."""
        return any(network.prefixlen == 0 for network in self.networks)
