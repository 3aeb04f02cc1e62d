"""How our own calls leave the network: by which proxy, and whose certificates are believed (pure).

Source: curl's manual, "Environment", for what `HTTPS_PROXY` and `NO_PROXY` mean.
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
# Line ends as portals, JSON and pipelines write them.
_LINE_END = re.compile(r"\\[rn]|\s")


@dataclass(frozen=True)
class Egress:
    """The way out.

    Attributes:
        proxy: URL of the HTTP proxy for calls by HTTPS; None for none. It may hold a password.
        no_proxy: what is called without it: hosts, which stand for what is below them too, networks, or `*` for all.
        ca_certificates: certificate authorities that are believed beside the public ones, in PEM form.
    """

    proxy: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()
    ca_certificates: str = field(default="", repr=False)

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy for a call; None for a call that goes straight to its host.

        The node's own addresses never go by a proxy: an identity's tokens come from one of them.
        """
        if self.proxy is None:
            return None
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname is None:
            return None
        host, port = parts.hostname, parts.port or 443
        address = _address(host)
        if host == "localhost" or (address is not None and (address.is_loopback or address.is_link_local)):
            return None
        return None if any(_covers(entry, host, port, address) for entry in self.no_proxy) else self.proxy


# No proxy, and the public certificate authorities alone.
DIRECT = Egress()


def proxy_url(text: str) -> str:
    """Read `HTTPS_PROXY`.

    Raises:
        ValueError: It is not the URL of an HTTP proxy. The message does not repeat it.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("is not the URL of an HTTP proxy, like http://HOST:PORT")
    return url.rstrip("/")


def no_proxy_entries(text: str) -> tuple[str, ...]:
    """Read `NO_PROXY`: hosts, networks or `*`, separated by commas."""
    return tuple(entry.strip().lower() for entry in text.split(",") if entry.strip())


def certificates(text: str) -> str:
    """Read `CaCertificates`; return its certificates in PEM form.

    Args:
        text: one certificate or more in PEM form, whatever became of the line ends; or that in base64.

    Raises:
        ValueError: There is none, or something that is none. The message says no more of it.
    """
    found = _PEM.findall(text) or _PEM.findall(_decoded(text).decode("ascii", "ignore"))
    if not found:
        raise ValueError("holds no certificate in PEM form (as it is, or in base64)")
    # Imported here, as most have no authority of their own.
    import ssl  # noqa: PLC0415

    pems = [ssl.DER_cert_to_PEM_cert(_decoded(body)) for body in found]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        for pem in pems:
            context.load_verify_locations(cadata=pem)
    except ssl.SSLError:
        raise ValueError("holds a certificate that is damaged or cut off") from None
    return "".join(pems)


def _decoded(text: str) -> bytes:
    """Decode base64, whatever became of its line ends; nothing comes of what is none."""
    try:
        return base64.b64decode(_LINE_END.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _covers(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    name, _, only_port = entry.partition(":")
    name = name.removeprefix("*").removeprefix(".")
    return (not only_port or only_port == str(port)) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
