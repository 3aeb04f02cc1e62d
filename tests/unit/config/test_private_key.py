"""In which forms the private key of a GitHub App may be pasted."""

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.private_key import normalized

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET = BestAvailableEncryption(b"passphrase")
PKCS1, PKCS8, OPENSSH = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8, PrivateFormat.OpenSSH
RSA_PEM = KEY.private_bytes(Encoding.PEM, PKCS1, NoEncryption()).decode()
PEM = KEY.private_bytes(Encoding.PEM, PKCS8, NoEncryption()).decode()


def base64_of(pem: str) -> str:
    """Encode a text in base64, on one line."""
    return base64.b64encode(pem.encode()).decode()


PASTED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "without its last line end": str.strip,
    "CRLF": lambda pem: pem.replace("\n", "\r\n"),
    "CR": lambda pem: pem.replace("\n", "\r"),
    "blank lines": lambda pem: pem.replace("\n", "\n\n"),
    "blanks": lambda pem: pem.replace("\n", " "),
    "tabs": lambda pem: pem.replace("\n", "\t"),
    "nothing": lambda pem: pem.replace("\n", ""),
    "no white space at all": lambda pem: "".join(pem.split()),
    "indented": lambda pem: pem.replace("\n", "\n    "),
    "awk": lambda pem: pem.replace("\n", "\\n"),
    "awk of CRLF": lambda pem: pem.replace("\n", "\\r\\n"),
    "escaped without the last one": lambda pem: pem.strip().replace("\n", "\\n"),
    "escaped twice": lambda pem: pem.replace("\n", "\\\\n"),
    "a real line end after the escaped one": lambda pem: pem.replace("\n", "\\n\n"),
    "jq": json.dumps,
    "jq twice": lambda pem: json.dumps(json.dumps(pem)),
    "single quotes": lambda pem: f"'{pem}'",
    "double quotes": lambda pem: f'"{pem}"',
    "a pipeline's command": lambda pem: pem.replace("\n", "%0A"),
    "a pipeline's command with CRLF": lambda pem: pem.replace("\n", "%0D%0A"),
    "BOM": lambda pem: "\ufeff" + pem,
    "BOM, misread": lambda pem: "\ufeff".encode().decode("latin-1") + pem,
    "base64": base64_of,
    "base64 in lines": lambda pem: base64.encodebytes(pem.encode()).decode(),
    "base64 in lines of CRLF": lambda pem: base64.encodebytes(pem.encode()).decode().replace("\n", "\r\n"),
    "base64 without padding": lambda pem: base64_of(pem).rstrip("="),
    "base64 with a line end that is escaped": lambda pem: base64_of(pem) + "\\n",
    "base64 in quotes": lambda pem: f'"{base64_of(pem)}"',
    "base64 of CRLF": lambda pem: base64_of(pem.replace("\n", "\r\n")),
    "base64 of escaped": lambda pem: base64_of(pem.replace("\n", "\\n")),
    "base64 of escaped CRLF": lambda pem: base64_of(pem.replace("\n", "\\r\\n")),
    "base64 of quoted": lambda pem: base64_of(json.dumps(pem)),
    "base64 behind a BOM": lambda pem: "\ufeff" + base64_of(pem),
    "base64 of BOM": lambda pem: base64_of("\ufeff" + pem),
    "base64 of UTF-16": lambda pem: base64.b64encode(pem.encode("utf-16")).decode(),
}


@pytest.mark.parametrize("pem", [RSA_PEM, PEM], ids=["PKCS#1", "PKCS#8"])
@pytest.mark.parametrize("pasted", PASTED)
def test_every_form_that_is_pasted(pasted: str, pem: str) -> None:
    """However a key was copied, what comes out is the key, as a PEM that the signing library reads."""
    found = load_pem_private_key(normalized(PASTED[pasted](pem)).encode(), password=None)
    assert isinstance(found, rsa.RSAPrivateKey)
    assert found.private_numbers() == KEY.private_numbers()


def test_the_kind_is_what_the_key_is() -> None:
    """A key under the label of the other form is read as what it is."""
    swapped = RSA_PEM.replace("RSA PRIVATE", "PRIVATE"), PEM.replace("PRIVATE", "RSA PRIVATE")
    assert tuple(map(normalized, swapped)) == (RSA_PEM, PEM)


def test_a_certificate_beside_the_key() -> None:
    """Of several PEMs in one text, the private key is taken."""
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert normalized(public + RSA_PEM) == RSA_PEM


EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_DER = base64.encodebytes(EC_KEY.private_bytes(Encoding.DER, PKCS1, NoEncryption())).decode()
REFUSED = {
    "an EC key (SEC 1)": (EC_KEY.private_bytes(Encoding.PEM, PKCS1, NoEncryption()), "EC key"),
    "an EC key (PKCS#8)": (EC_KEY.private_bytes(Encoding.PEM, PKCS8, NoEncryption()), "EC key"),
    "an EC key under another label": (
        f"-----BEGIN PRIVATE KEY-----\n{EC_DER}-----END PRIVATE KEY-----".encode(),
        "EC key",
    ),
    "an encrypted key (PKCS#1)": (KEY.private_bytes(Encoding.PEM, PKCS1, SECRET), "encrypted"),
    "an encrypted key (PKCS#8)": (KEY.private_bytes(Encoding.PEM, PKCS8, SECRET), "encrypted"),
    "an encrypted key under another label": (
        KEY.private_bytes(Encoding.PEM, PKCS8, SECRET).replace(b"ENCRYPTED ", b""),
        "encrypted",
    ),
    "an OpenSSH key": (KEY.private_bytes(Encoding.PEM, OPENSSH, NoEncryption()), "not an RSA key in PKCS#1"),
    "an Ed25519 key": (
        ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PKCS8, NoEncryption()),
        "not an RSA key",
    ),
    "a DSA key": (
        dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PKCS1, NoEncryption()),  # noqa: S505 - refused
        "not an RSA key",
    ),
    "a public key": (KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), "not a private key"),
    "a key without its end": (RSA_PEM[:-6].encode().replace(b"-----END", b""), "not a private key"),
    "a key without a line": (RSA_PEM.encode().replace(RSA_PEM.split("\n")[4].encode(), b""), "damaged"),
    "a key whose line ends became the letter n": (PEM.replace("\n", "n").encode(), "damaged"),
    "more than a key": (
        f"-----BEGIN PRIVATE KEY-----{base64.b64encode(b'0\x06\x02\x01\0\x02\x01\0' * 2).decode()}-----END".encode(),
        "damaged",
    ),
    "no content": (b"-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----", "damaged"),
    "a public key under another label": (
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).replace(b"PUBLIC", b"PRIVATE"),
        "not an RSA key",
    ),
    "another word": (b"secret", "not a private key"),
    "a word in base64": (base64.b64encode(b"secret"), "not a private key"),
    "one digit of base64": (b"A", "not a private key"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("pasted", ["as it is", "base64 of escaped CRLF"])
def test_what_no_app_can_have(case: str, pasted: str) -> None:
    """What cannot work is refused, and the reason names the kind of key that it is."""
    pem, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        normalized(PASTED[pasted](pem.decode()))


@given(st.binary(max_size=80), st.sampled_from(["", "RSA ", "EC ", "ENCRYPTED "]))
def test_nothing_else_passes(content: bytes, kind: str) -> None:
    """Whatever stands in a PEM, the only failure is the refusal."""
    pem = f"-----BEGIN {kind}PRIVATE KEY-----{base64.b64encode(content).decode()}-----END {kind}PRIVATE KEY-----"
    for text in (pem, base64_of(pem), content.decode("latin-1")):
        try:
            normalized(text)
        except ValueError as error:
            assert str(error).startswith("is ")  # noqa: PT017 - most contents are refused, but not all
