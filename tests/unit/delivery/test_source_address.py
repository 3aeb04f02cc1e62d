"""Who really called, and may they?"""

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES, Address, AllowedSources, networks
from orchestrator.delivery.source_address import caller_address, is_within

ADDRESSES = st.ip_addresses().filter(lambda a: a.version == 4 or (a.ipv4_mapped is None and a.scope_id is None))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("93.165.250.148", "93.165.250.148"),
        ("93.165.250.148:37627", "93.165.250.148"),
        ("2a0a:a440::1", "2a0a:a440::1"),
        ("[2a0a:a440::1]", "2a0a:a440::1"),
        ("[2a0a:a440::1]:443", "2a0a:a440::1"),
        ("::ffff:140.82.115.10", "140.82.115.10"),
        ("[::ffff:140.82.115.10]:80", "140.82.115.10"),
        (" 10.0.0.1 ,  93.165.250.148:1 ", "93.165.250.148"),
    ],
)
def test_the_forms_of_an_address(header: str, expected: str) -> None:
    """Every form in which a proxy writes an address is read."""
    assert str(caller_address(header, ())) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "unknown",
        "10.0.0.1,",
        "10.0.0.1:port",
        "10.0.0.1:٣",
        "[10::1",
        "[10::1]80",
        "fe80::1%eth0",
        "300.1.1.1",
        "1.2.3.4:5:6",
    ],
)
def test_what_is_no_address(header: str | None) -> None:
    """A header that does not end in an address proves nothing."""
    assert caller_address(header, ()) is None


@given(address=ADDRESSES, forged=st.text(max_size=60), port=st.integers(0, 65535))
def test_a_forged_left_hand_entry_does_not_help(address: Address, forged: str, port: int) -> None:
    """Whatever the caller wrote to the left, the right-most entry decides."""
    seen = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert caller_address(f"{forged},{seen}", ()) == address


@given(address=ADDRESSES, proxies=st.lists(ADDRESSES, min_size=1, max_size=4), forged=st.text(max_size=60))
def test_trusted_proxies_are_skipped(address: Address, proxies: list[Address], forged: str) -> None:
    """The right-most entry that is no proxy of one's own is the caller, whatever stands to its left."""
    assume(address not in proxies)
    header = ",".join([forged, str(address), *map(str, proxies)])
    assert caller_address(header, map(ipaddress.ip_network, proxies)) == address


@given(address=ADDRESSES, forged=st.lists(ADDRESSES, max_size=4), proxy=ADDRESSES)
def test_nobody_forges_an_address_past_the_proxy(address: Address, forged: list[Address], proxy: Address) -> None:
    """Who reaches the site directly is known by the address that App Service saw, even with a proxy's among his own."""
    assume(address != proxy)
    header = ",".join(map(str, [*forged, proxy, address]))
    assert caller_address(header, [ipaddress.ip_network(proxy)]) == address


@given(st.text(max_size=200))
def test_no_header_raises(header: str) -> None:
    """Nothing that a caller can send makes the parser fail."""
    caller_address(header, ())
    caller_address(header, [ipaddress.ip_network("10.0.0.0/8")])


@pytest.mark.parametrize(
    "header",
    [
        "10.0.0.4:80",
        "10.0.0.5, 10.0.0.4",
        "140.82.115.10, unknown, 10.0.0.4",
        "140.82.115.10, , 10.0.0.4",
        "140.82.115.10, 10.0.0.4:port",
        "140.82.115.10, [::ffff:10.0.0.4",
    ],
)
def test_proxies_that_prove_no_caller(header: str) -> None:
    """Proxies alone, and entries that are no address, prove nobody's address."""
    assert caller_address(header, [ipaddress.ip_network("10.0.0.0/8")]) is None


@pytest.mark.parametrize("proxy", ["10.0.0.4:8080", "::ffff:10.0.0.4", "[::ffff:10.0.0.4]:1", "[2001:db8::7]:443"])
def test_the_forms_of_a_proxys_address(proxy: str) -> None:
    """A trusted proxy is known in every form in which its address is written."""
    trusted = networks("10.0.0.4, 2001:db8::/64")
    assert str(caller_address(f"6.6.6.6, 140.82.115.10:1, {proxy}", trusted)) == "140.82.115.10"


@pytest.mark.parametrize(
    ("text", "github", "networks"),
    [
        ("github", True, []),
        (" GitHub ", True, []),
        ("10.0.0.0/8, 192.168.1.1", False, ["10.0.0.0/8", "192.168.1.1/32"]),
        ("github,2001:db8::/32", True, ["2001:db8::/32"]),
    ],
)
def test_allowed_sources(text: str, github: bool, networks: list[str]) -> None:
    """The setting holds github, networks of one's own, or both."""
    assert AllowedSources.parse(text) == AllowedSources(github, tuple(map(ipaddress.ip_network, networks)))


@pytest.mark.parametrize("text", ["", " , ", "gitlab", "10.0.0.1/8", "github,10.0.0.0/33"])
def test_wrong_sources(text: str) -> None:
    """What is neither github nor a network is refused without repeating it."""
    with pytest.raises(ValueError, match=r"is empty|entry \d is neither"):
        AllowedSources.parse(text)


def test_anywhere() -> None:
    """Only a network of every address switches the check off."""
    assert AllowedSources.parse("0.0.0.0/0").anywhere
    assert AllowedSources.parse("10.0.0.0/8,::/0").anywhere
    assert not AllowedSources.parse("github,10.0.0.0/8").anywhere


def test_shipped_ranges() -> None:
    """The list shipped with the release holds GitHub's senders and nobody else."""
    assert is_within(ipaddress.ip_address("140.82.115.10"), SHIPPED_HOOK_RANGES)
    assert is_within(ipaddress.ip_address("2606:50c0::5"), SHIPPED_HOOK_RANGES)
    assert not is_within(ipaddress.ip_address("8.8.8.8"), SHIPPED_HOOK_RANGES)
    assert not is_within(ipaddress.ip_address("::1"), SHIPPED_HOOK_RANGES)
