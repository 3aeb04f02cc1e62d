"""How our own calls leave the network."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.settings import Settings
from orchestrator.egress import DIRECT, Egress, certificates, no_proxy_entries, proxy_url
from orchestrator.errors import SettingsError
from tests.builders import environment, settings

PROXY = "http://proxy.corp:3128"


def authority(name: str) -> str:
    """Return the certificate of an authority in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


ONE, TWO = authority("one"), authority("two")


@pytest.mark.parametrize(
    ("url", "no_proxy", "by_proxy"),
    [
        ("https://api.github.com/meta", "", True),
        ("https://api.github.com/meta", "github.com", False),
        ("https://api.github.com/meta", ".github.com", False),
        ("https://api.github.com/meta", "*.github.com", False),
        ("https://API.github.com/meta", "Api.GitHub.com", False),
        ("https://api.github.com/meta", "hub.com, example.org", True),
        ("https://api.github.com/meta", "*", False),
        ("https://api.github.com/meta", "api.github.com:443", False),
        ("https://api.github.com:8443/meta", "api.github.com:443", True),
        ("https://api.github.com/meta", ".,:443,10.0.0.0/8", True),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://10.1.2.3/", "10.1.2.4, 11.0.0.0/8, corp", True),
        ("https://[2001:db8::1]/", "[2001:db8::1]", False),
        ("http://api.github.com/meta", "", False),
        ("https:///nowhere", "", False),
        ("https://localhost:7071/", "", False),
        ("https://127.0.0.1:7071/", "", False),
        ("https://[::1]/", "", False),
        ("https://169.254.169.254/metadata/identity", "", False),
    ],
)
def test_which_calls_go_by_the_proxy(url: str, no_proxy: str, by_proxy: bool) -> None:
    """Calls by HTTPS do, but for what `NO_PROXY` names and the machine's own addresses."""
    egress = Egress(PROXY, no_proxy_entries(no_proxy))
    assert egress.proxy_for(url) == (PROXY if by_proxy else None)
    assert DIRECT.proxy_for(url) is None


@pytest.mark.parametrize("text", [PROXY, f"{PROXY}/", "proxy.corp:3128"])
def test_a_proxys_url(text: str) -> None:
    """The scheme and a slash at the end may be missing or there."""
    assert proxy_url(text) == PROXY


@pytest.mark.parametrize(
    "text", ["https://p:1", "socks5://p:1", "http://", "http://p:port", "http://p:99999", "http://p:1/a", "http://[p"]
)
def test_no_proxys_url(text: str) -> None:
    """What is no URL of an HTTP proxy is refused by the setting's name, and not repeated."""
    with pytest.raises(SettingsError) as caught:
        settings(HTTPS_PROXY=text)
    assert caught.value.problems == (("HTTPS_PROXY", "is not the URL of an HTTP proxy, like http://HOST:PORT"),)


@given(st.text(max_size=80), st.text(max_size=40))
def test_no_text_is_too_odd(proxy: str, no_proxy: str) -> None:
    """Any text is read or refused, and nothing that was read fails later."""
    try:
        url = proxy_url(proxy)
    except ValueError:
        url = PROXY
    Egress(url, no_proxy_entries(no_proxy)).proxy_for("https://api.github.com/")


def test_the_settings_give_the_way_out() -> None:
    """The environment is read once, in either case of the letters; an empty setting is none."""
    assert settings().egress == DIRECT
    found = settings(https_proxy=PROXY, HTTPS_PROXY="", NO_PROXY="upper.example", no_proxy="lower.example").egress
    assert (found.proxy, found.no_proxy) == (PROXY, ("lower.example",))


def test_a_password_shows_nowhere() -> None:
    """A proxy's URL may hold a password, so it is in no `repr`."""
    found = Settings.from_environment(environment(HTTPS_PROXY="http://me:s3cret@proxy.corp:3128"))
    assert "s3cret" in str(found.egress.proxy)
    assert "s3cret" not in repr(found) + repr(found.egress)


@pytest.mark.parametrize(
    "given",
    [
        ONE + TWO,
        f"# our roots\n{ONE}\n# and\n{TWO}",
        (ONE + TWO).replace("\n", "\\n"),
        (ONE + TWO).replace("\n", "\\r\\n"),
        (ONE + TWO).replace("\n", " "),
        base64.b64encode((ONE + TWO).encode()).decode(),
        base64.encodebytes((ONE + TWO).encode()).decode(),
    ],
)
def test_certificates(given: str) -> None:
    """Certificates are read as PEM, whatever became of its line ends, and as base64 of it."""
    assert certificates(given) == ONE + TWO
    assert settings(CaCertificates=given).egress == Egress(ca_certificates=ONE + TWO)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("corp.crt", "holds no certificate"),
        ("aGVsbG8gd29ybGQ=", "holds no certificate"),
        ("ü", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----", "damaged"),
        ("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----", "damaged"),
        (ONE + TWO.replace("MII", "AII", 1), "damaged"),
        (ONE.replace("\n-----END", "AAAA!\n-----END"), "damaged"),
        (TWO.replace("-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----"), "holds no certificate"),
    ],
)
def test_no_certificates(given: str, problem: str) -> None:
    """What is no certificate is refused at the start, by the setting's name."""
    with pytest.raises(SettingsError, match=problem) as caught:
        settings(CaCertificates=given)
    assert [setting for setting, _ in caught.value.problems] == ["CaCertificates"]
